//! Programs that call commands: their words are made of names and values, and what commands print, tell and ask goes to the program.
//!
//! The words are read by the command line itself, so settings, bounds and messages are the same.

use std::{cell::RefCell, ffi::OsString, panic::AssertUnwindSafe, rc::Rc};

use clap::ArgAction;
use rldp_privacy::accounting::{AccountantKind, Event};
use rldp_train::settings::{self, Reader};
use serde_json::Value;

use crate::{cli, commands, exit, shield};

/// A program that calls commands.
pub trait Host {
    /// A line of what the command line prints to standard output.
    fn data(&self, line: &str);
    /// What the command line tells beside it.
    fn note(&self, label: &str, text: &str);
    /// How a run goes: released and public values as an object, and in words. One event in about ten is a milestone, for those who do
    /// not show them all.
    fn progress(&self, event: &Value, words: &str, milestone: bool);
    /// Asked between steps, and between pieces of other long work: `true` ends a run after saving it, and other work with an error.
    fn should_stop(&self) -> bool;
}

/// Why a command failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code of the command line: 1 refused, 2 called wrongly, 3 a defect.
    pub code: u8,
    /// Its message.
    pub message: String,
}

/// The value of a named argument.
#[derive(Clone, Debug)]
pub enum Word {
    /// Given or not, where a flag takes no value.
    Switch(bool),
    /// A value as the command line reads it.
    Text(OsString),
    /// Several.
    Several(Vec<OsString>),
}

thread_local! {
    static HOSTS: RefCell<Vec<Rc<dyn Host>>> = const { RefCell::new(Vec::new()) };
}

/// The program whose call is at work in this thread.
pub(crate) fn current() -> Option<Rc<dyn Host>> {
    HOSTS.with_borrow(|hosts| hosts.last().cloned())
}

/// Whether that program wants long work to end.
pub(crate) fn wants_to_stop() -> bool {
    current().is_some_and(|host| host.should_stop())
}

/// While it lives, the host stands for the terminal.
struct Calling;

impl Calling {
    fn begin(host: Rc<dyn Host>) -> Self {
        HOSTS.with_borrow_mut(|hosts| hosts.push(host));
        Self
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        HOSTS.with_borrow_mut(|hosts| drop(hosts.pop()));
    }
}

/// Runs a command, such as `["privacy", "epsilon"]`, on behalf of `host`. Positional words stand as they are; each option is named like
/// its flag, with underscores.
///
/// # Errors
/// What the command line would say, with its exit code.
pub fn call(
    command: &[String],
    positional: &[OsString],
    options: &[(String, Word)],
    host: Rc<dyn Host>,
) -> Result<(), Failure> {
    let words = words(command, positional, options);
    let arguments = cli::read(words).map_err(|error| Failure { code: 2, message: said(&error) })?;
    let _calling = Calling::begin(host);
    let _shield = shield::raise_for_call(commands::reads_private_records(&arguments));
    match std::panic::catch_unwind(AssertUnwindSafe(|| commands::run(arguments))) {
        // A check that found something has told it; that is no error of the call.
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Failure { code: exit::code_of(&error), message: format!("{error:#}") }),
        Err(_) => Err(Failure { code: 3, message: "a defect of rldp; standard error says where".into() }),
    }
}

/// Epsilon of steps of several kinds, as `rldp privacy epsilon --segments` computes it: sampling rate, noise multiplier and steps of each.
///
/// # Errors
/// What the command line would say.
pub fn epsilon_of(segments: &[(f64, f64, u64)], delta: f64, accountant: &str) -> Result<f64, Failure> {
    use rldp_privacy::Choice as _;
    let kind = AccountantKind::named(accountant).map_err(|message| Failure { code: 2, message })?;
    let events: Vec<Event> = segments.iter().map(|(q, z, steps)| Event::new(*q, *z, *steps)).collect();
    commands::epsilon_of(&events, delta, kind)
        .map_err(|error| Failure { code: exit::code_of(&error), message: format!("{error:#}") })
}

/// A call as the words of a command line.
fn words(command: &[String], positional: &[OsString], options: &[(String, Word)]) -> Vec<OsString> {
    let mut described = cli::command();
    described.build();
    let mut inner = &described;
    for name in command {
        inner = inner.find_subcommand(name).unwrap_or(inner);
    }
    let mut words: Vec<OsString> = std::iter::once("rldp".into()).chain(command.iter().map(Into::into)).collect();
    for (name, value) in options {
        let flag = name.replace('_', "-");
        let takes_none = inner
            .get_arguments()
            .any(|arg| arg.get_long() == Some(&*flag) && matches!(arg.get_action(), ArgAction::SetTrue));
        let with = |value: &OsString| {
            let mut word = OsString::from(format!("--{flag}="));
            word.push(escaped(&flag, value));
            word
        };
        match value {
            Word::Switch(true) => words.push(format!("--{flag}").into()),
            Word::Switch(false) if takes_none => {}
            Word::Switch(false) => words.push(with(&"false".into())),
            Word::Text(text) => words.push(with(text)),
            Word::Several(values) if values.is_empty() => words.push(with(&OsString::new())),
            Word::Several(values) => words.extend(values.iter().map(with)),
        }
    }
    words.extend((!positional.is_empty()).then(|| "--".into()));
    words.extend(positional.iter().cloned());
    words
}

/// A text that means itself: where the command line lets `\n` stand for a line break, a backslash is written twice.
fn escaped(flag: &str, value: &OsString) -> OsString {
    let is_escaped = |setting: &&settings::Setting| {
        setting.flag.as_deref() == Some(flag)
            && (matches!(setting.reader, Reader::Escaped) || setting.key == "delimiter")
    };
    match (settings::all().iter().find(is_escaped), value.to_str()) {
        (Some(_), Some(text)) => text.replace('\\', "\\\\").into(),
        _ => value.clone(),
    }
}

/// What the command line says of wrong words, without its usage.
fn said(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let end = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|mark| text.find(mark)).min();
    text[..end.unwrap_or(text.len())].trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Ear(RefCell<Vec<String>>);

    impl Host for Ear {
        fn data(&self, line: &str) {
            self.0.borrow_mut().push(line.to_owned());
        }
        fn note(&self, _label: &str, _text: &str) {}
        fn progress(&self, _event: &Value, _words: &str, _milestone: bool) {}
        fn should_stop(&self) -> bool {
            false
        }
    }

    fn called(command: &[&str], options: &[(&str, Word)]) -> Result<Vec<String>, Failure> {
        let ear = Rc::new(Ear::default());
        let command: Vec<String> = command.iter().map(ToString::to_string).collect();
        let options: Vec<_> = options.iter().map(|(name, word)| ((*name).to_owned(), word.clone())).collect();
        call(&command, &[], &options, ear.clone()).map(|()| ear.0.take())
    }

    fn text(value: &str) -> Word {
        Word::Text(value.into())
    }

    #[test]
    fn a_call_prints_into_the_program() {
        let options = [
            ("sampling_rate", text("0.01")),
            ("noise_multiplier", text("1.0")),
            ("steps", text("10")),
            ("delta", text("1e-5")),
            ("json", Word::Switch(true)),
        ];
        let lines = called(&["privacy", "epsilon"], &options).unwrap();
        let found: Value = serde_json::from_str(&lines.concat()).unwrap();
        let other = epsilon_of(&[(0.01, 1.0, 10)], 1e-5, "pld").unwrap();
        assert!((found["epsilon"].as_f64().unwrap() - other).abs() < 1e-12);
        assert!(current().is_none());
    }

    #[test]
    fn wrong_words_are_told_as_on_the_command_line() {
        let failure = called(&["train"], &[("stepz", text("3"))]).unwrap_err();
        assert_eq!(failure.code, 2);
        assert!(
            failure.message.starts_with("unexpected argument '--stepz' found") && !failure.message.contains("Usage")
        );
        let failure = called(&["train"], &[("epsilon", text("4"))]).unwrap_err();
        assert_eq!(failure.message, "missing --model, --train, --delta, --out; give it as a flag or in --config");
    }

    #[test]
    fn texts_mean_themselves() {
        let words = words(
            &["train".into()],
            &[],
            &[
                ("prompt_end".into(), text("\\n")),
                ("delimiter".into(), text("\t")),
                ("quiet".into(), Word::Switch(false)),
                ("frozen_policy".into(), Word::Switch(false)),
                ("target_modules".into(), Word::Several(vec!["a".into(), "b".into()])),
            ],
        );
        let expected = [
            "rldp",
            "train",
            "--prompt-end=\\\\n",
            "--delimiter=\t",
            "--frozen-policy=false",
            "--target-modules=a",
            "--target-modules=b",
        ];
        assert_eq!(words, expected);
    }
}
