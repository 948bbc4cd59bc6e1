//! Commands in the documentation are commands: what stands in a `sh` block and begins with `rldp` is understood.

use std::path::Path;

use clap::Parser as _;

use super::Arguments;

/// Words of a shell line: white space separates, double quotes hold together, `#` and redirections end it.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            '#' | '>' if !quoted && word.is_empty() => break,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn pages() -> Vec<std::path::PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = |name: &str| {
        let entries = fs_err::read_dir(root.join(name)).expect("the folder is there");
        entries
            .map(|entry| entry.expect("it can be listed").path())
            .filter(|path| path.extension().is_some_and(|e| e == "md"))
    };
    folder("docs").chain(folder("docs/cookbook")).chain([root.join("README.md")]).collect()
}

#[test]
fn documented_commands_are_understood() {
    let mut count = 0;
    for page in pages() {
        let text = fs_err::read_to_string(&page).expect("it can be read").replace("\\\n", " ");
        for (index, block) in text.split("```").enumerate() {
            let Some(block) = block.strip_prefix("sh\n").or_else(|| block.strip_prefix("console\n")) else { continue };
            assert!(index % 2 == 1, "{}: fences do not match", page.display());
            for line in block.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line)) {
                let line = line.replace("cargo run --release -- ", "rldp ");
                if line.starts_with("rldp ") {
                    let parsed = Arguments::try_parse_from(words(&line));
                    assert!(
                        parsed.is_ok(),
                        "{}: `{line}`\n{}",
                        page.display(),
                        parsed.err().map_or(String::new(), |e| e.to_string())
                    );
                    count += 1;
                }
            }
        }
    }
    assert!(count > 30, "only {count} commands were found");
}
