//! The command line as it is seen: help that fits, values that complete, hints that name what was meant.

use clap::{Command, Parser as _, error::ErrorKind};
use rldp_train::settings;

use super::{Arguments, with_hint};

/// A narrow terminal.
const COLUMNS: usize = 60;

fn visit(command: &mut Command, name: &str, look: &mut dyn FnMut(&str, &mut Command)) {
    look(name, command);
    for inner in command.get_subcommands_mut() {
        let name = format!("{name} {}", inner.get_name());
        visit(inner, &name, look);
    }
}

#[test]
fn help_fits_a_narrow_terminal() {
    let mut command = arguments();
    command.build();
    visit(&mut command, "rldp", &mut |name, command| {
        let mut command = command.clone().term_width(COLUMNS);
        for text in [command.render_help().to_string(), command.render_long_help().to_string()] {
            let wide = text.lines().find(|line| line.chars().count() > COLUMNS);
            assert!(wide.is_none(), "{name} --help: {wide:?}");
        }
    });
}

fn arguments() -> Command {
    super::command()
}

#[test]
fn the_command_line_is_consistent_and_says_defaults_and_values() {
    arguments().debug_assert();
    let mut command = arguments();
    command.build();
    let help = command.find_subcommand_mut("train").map(|train| train.clone().render_long_help().to_string());
    let help = help.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["Privacy:", "Optimizer:", "[default: 0.1]", "[default: 1.6/(lora_alpha", "- committed:", "NO PRIVACY:"]
    {
        assert!(help.contains(part), "{part} is missing in\n{help}");
    }
    assert!(!help.contains("--lr "), "the alias is hidden");
}

#[test]
fn every_choice_completes_in_bash_and_zsh() {
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut arguments(), "rldp", &mut script);
        let script = String::from_utf8(script).expect("scripts are text");
        let one = |reader: &settings::Reader| match reader {
            settings::Reader::Choice(values) => values.clone(),
            _ => Vec::new(),
        };
        for setting in settings::all() {
            let values = match &setting.reader {
                settings::Reader::List(inner) => one(inner),
                reader => one(reader),
            };
            for (name, _) in values {
                assert!(script.contains(name), "{shell}: {name} of {}", setting.key);
            }
        }
        assert!(shell == clap_complete::Shell::Zsh || script.contains("compgen -W \"committed deck adaptive\""));
    }
}

#[test]
fn aliases_and_hints() {
    let rate = Arguments::try_parse_from(["rldp", "train", "--lr", "0.5"]).expect("the alias is known");
    let super::Command::Train(train) = rate.command else { panic!("another command") };
    assert_eq!(train.settings.0.number("learning_rate"), Some(0.5));
    for (given, meant) in
        [("verify", "rldp privacy verify"), ("epsilon", "rldp privacy epsilon"), ("show", "rldp policy show")]
    {
        let error = with_hint(Arguments::try_parse_from(["rldp", given]).expect_err("it is no command"));
        assert_eq!(error.kind(), ErrorKind::InvalidSubcommand);
        assert!(error.to_string().contains(meant), "{error}");
    }
    let switch = |words: &[&str]| {
        let parsed = Arguments::try_parse_from(["rldp", "train"].iter().chain(words)).expect("it is understood");
        let super::Command::Train(train) = parsed.command else { panic!("another command") };
        train.settings.0.to_toml().expect("it has a form")
    };
    assert_eq!(switch(&["--rate-search", "false"]), "[control]\nrate_search = false\n");
    assert_eq!(switch(&["--public-probe"]), "[control]\npublic_probe = true\n");
    assert_eq!(switch(&["--target-modules", "a,b"]), "[model]\ntarget_modules = [\n    \"a\",\n    \"b\",\n]\n");
}
