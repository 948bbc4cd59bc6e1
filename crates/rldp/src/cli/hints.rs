//! Flags that messages name are flags of the command that says them.

use std::path::{Path, PathBuf};

use super::Arguments;
use clap::CommandFactory as _;

/// Who says the messages of a file: the first prefix that fits.
const SPEAKERS: [(&str, &[&str]); 31] = [
    ("rldp-audit/", &["audit"]),
    ("rldp-control/", &["train"]),
    ("rldp-train/src/planning", &["train", "plan"]),
    ("rldp-train/", &["train"]),
    ("rldp-model/src/merge.rs", &["merge"]),
    // Words about models and records reach whoever opens them; what not all of them have, none is told.
    ("rldp-model/", &["evaluate", "generate", "audit"]),
    ("rldp-data/src/unit_ids.rs", &["train"]),
    ("rldp-data/", &["train", "evaluate", "audit"]),
    ("rldp/src/origin.rs", &["train", "audit"]),
    ("rldp/src/commands/audit/mod.rs", &["audit canaries", "audit"]),
    ("rldp/src/commands/audit/channel.rs", &["train"]),
    ("rldp/src/commands/audit/members.rs", &["train"]),
    ("rldp/src/commands/audit/attack.rs", &["audit", "train"]),
    ("rldp/src/commands/audit/", &["audit"]),
    ("rldp/src/commands/compare/export.rs", &["train"]),
    ("rldp/src/commands/compare/schedule.rs", &["train"]),
    ("rldp/src/commands/compare/", &["compare"]),
    ("rldp/src/commands/demo.rs", &["demo", "generate"]),
    ("rldp/src/commands/evaluate.rs", &["evaluate"]),
    ("rldp/src/commands/generate.rs", &["generate"]),
    ("rldp/src/commands/plan.rs", &["plan", "train"]),
    ("rldp/src/commands/policy.rs", &["policy train"]),
    ("rldp/src/commands/privacy", &["privacy epsilon", "privacy calibrate", "privacy verify", "train"]),
    ("rldp/src/commands/export.rs", &["export", "train"]),
    ("rldp/src/commands/ranks.rs", &["train"]),
    ("rldp/src/commands/report.rs", &["audit"]),
    ("rldp/src/hub/datasets.rs", &["train"]),
    ("rldp/src/models.rs", &["train", "evaluate", "generate", "audit"]),
    ("rldp/src/commands/resumed.rs", &["train"]),
    ("rldp/src/commands/train.rs", &["train"]),
    ("rldp/src/commands/utility.rs", &["evaluate"]),
];
/// Files whose flags need not be flags of all their speakers: each of them says a part.
const IN_PARTS: [&str; 7] = [
    "rldp-train/src/planning",
    "rldp/src/commands/audit/",
    "rldp/src/commands/demo.rs",
    "rldp/src/commands/plan.rs",
    "rldp/src/commands/privacy",
    "rldp/src/commands/export.rs",
    "rldp/src/models.rs",
];
/// Programs beside this one that messages tell people to use.
const OTHERS: [&str; 4] = ["`hf download", "`llama-gguf-split", "#SBATCH ", "srun --mpi="];

/// Files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Flags of `text`, without their dashes.
fn flags(text: &str) -> Vec<String> {
    let named = |(at, _): (usize, &str)| {
        let free = text[..at].chars().next_back().is_none_or(|before| !before.is_ascii_alphanumeric() && before != '-');
        let name: String = text[at + 2..].chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        (free && name.starts_with(|c: char| c.is_ascii_lowercase())).then(|| name.trim_end_matches('-').to_owned())
    };
    text.match_indices("--").filter_map(named).collect()
}

/// Whether a command, named by its words, has a flag.
fn has(command: &str, flag: &str) -> bool {
    let mut found = Arguments::command();
    for word in command.split(' ') {
        found = found.find_subcommand(word).unwrap_or_else(|| panic!("no command {command}")).clone();
    }
    let of = |command: &clap::Command| {
        command
            .get_arguments()
            .any(|argument| argument.get_long_and_visible_aliases().into_iter().flatten().any(|long| long == flag))
    };
    of(&found) || found.get_subcommands().any(of) || ["help", "version"].contains(&flag)
}

/// Lines of code before the first test, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    lines.filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn every_flag_that_a_message_names_exists_where_it_is_said() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut count, mut wrong) = (0, Vec::new());
    for krate in ["rldp-audit", "rldp-control", "rldp-data", "rldp-model", "rldp-train", "rldp"] {
        for path in sources(&root.join(krate).join("src")) {
            let name = format!("{krate}{}", path.display().to_string().split(krate).last().unwrap_or_default());
            if name.contains("/cli") || name.contains("test") {
                continue;
            }
            let text = fs_err::read_to_string(&path).expect("it can be read");
            for line in code(&text).filter(|line| !OTHERS.iter().any(|other| line.contains(other))) {
                for flag in flags(line) {
                    let speakers =
                        SPEAKERS.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, speakers)| *speakers);
                    let Some(speakers) = speakers else {
                        wrong.push(format!("{name}: nobody is known to say --{flag}"));
                        continue;
                    };
                    let mut lacking = speakers.iter().filter(|speaker| !has(speaker, &flag));
                    let parts = IN_PARTS.iter().any(|prefix| name.starts_with(prefix));
                    let fails = if parts { lacking.count() == speakers.len() } else { lacking.next().is_some() };
                    if fails {
                        wrong.push(format!("{name}: --{flag} is no flag of {speakers:?}: {}", line.trim()));
                    }
                    count += 1;
                }
            }
        }
    }
    assert!(count > 60, "only {count} flags were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The table of bad inputs shows who says what.
#[test]
fn answers_to_bad_input_name_flags_of_the_command_that_was_given() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/bad_inputs/expected.txt");
    let text = fs_err::read_to_string(path).expect("the table is there");
    let mut wrong = Vec::new();
    for case in text.split("\n== ") {
        let Some((_, rest)) = case.split_once("$ rldp ") else { continue };
        let (words, answer) = rest.split_once('\n').unwrap_or((rest, ""));
        let named: Vec<&str> = words.split(' ').take_while(|word| !word.starts_with('-')).collect();
        let depth = named.len().min(if ["privacy", "policy", "inspect"].contains(named.first().unwrap_or(&"")) {
            2
        } else {
            1
        });
        let command = named[..depth].join(" ");
        let answer: Vec<&str> =
            answer.lines().filter(|line| line.starts_with("error") && !line.contains("unexpected argument")).collect();
        // Flags of other programs: of the hub's, and of cargo.
        let own = |line: &&&str| !line.contains("`hf ") && !line.contains("a build with `");
        for flag in answer.iter().filter(own).flat_map(|line| flags(line)) {
            // Another command that is named in full has the flag.
            let other = answer.iter().any(|line| line.contains("`rldp ")) || command == "compare";
            let known = has(&command, &flag) || other && has("train", &flag);
            if !known {
                wrong.push(format!("rldp {command}: --{flag}: {}", answer.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
