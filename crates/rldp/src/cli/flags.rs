//! Flags of settings, made from the library's own description of them: names, help, possible values, completion.

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueHint,
    builder::{PossibleValue, PossibleValuesParser, RangedU64ValueParser, TypedValueParser as _, ValueParser},
    parser::ValueSource,
};
use rldp_privacy::Choice;
use rldp_train::settings::{self, Given, MemorySize, Preset, Reader, Setting};
use toml::Value;

/// What was given of the settings on the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingFlags(pub(crate) Given);

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let command = settings::all().iter().filter_map(flag).fold(command, Command::arg);
        command
            .mut_arg("learning-rate", |arg| arg.alias("lr"))
            .mut_arg("text-column", |arg| {
                arg.conflicts_with_all(["prompt-column", "completion-column", "messages-column"])
            })
            .mut_arg("prompt-column", |arg| arg.requires("completion-column"))
            .mut_arg("completion-column", |arg| arg.requires("prompt-column"))
            .mut_arg("messages-column", |arg| arg.conflicts_with("prompt-column"))
            .mut_arg("canary-kinds", |arg| arg.requires("canaries"))
            .mut_arg("canary-repetitions", |arg| arg.requires("canaries"))
            .mut_arg("hold-out-members", |arg| arg.num_args(0..=1).default_missing_value("0.5"))
            .mut_arg("steps", |arg| arg.conflicts_with("epochs"))
            .mut_arg("public", |arg| arg.value_delimiter(None))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in settings::all() {
            let Some(flag) = setting.flag.as_deref() else { continue };
            if matches.value_source(flag) == Some(ValueSource::CommandLine) {
                let mut values = matches.get_many::<Value>(flag).into_iter().flatten().cloned();
                let value = match setting.reader {
                    Reader::List(_) => Some(values.collect::<Vec<_>>().into()),
                    Reader::Paths => {
                        let mut files: Vec<Value> = values.collect();
                        if files.len() > 1 { Some(files.into()) } else { files.pop() }
                    }
                    _ => values.next_back(),
                };
                value.into_iter().for_each(|value| self.0.set_described(setting, value));
            }
        }
        Ok(())
    }
}

/// The flag of a setting, when it has one.
fn flag(setting: &Setting) -> Option<Arg> {
    let name = setting.flag.as_deref()?.to_owned();
    let help = match &setting.default {
        Preset::Required | Preset::Unset => setting.sentence.clone(),
        Preset::Value(value) => format!("{} [default: {}]", setting.sentence, shown(value)),
        Preset::Derived(how) => format!("{} [default: {how}]", setting.sentence),
    };
    let arg = Arg::new(name.clone()).long(name).help(help).help_heading(setting.group);
    let (arg, reader) = match &setting.reader {
        Reader::List(one) => (arg.value_delimiter(',').action(ArgAction::Append), &**one),
        Reader::Paths => (arg.action(ArgAction::Append), &setting.reader),
        Reader::Switch => (arg.num_args(0..=1).default_missing_value("true"), &setting.reader),
        reader => (arg, reader),
    };
    Some(read(arg, reader))
}

/// How a value is read, named and completed.
fn read(arg: Arg, reader: &Reader) -> Arg {
    match reader {
        Reader::Text => arg.value_name("TEXT").value_parser(parsed(|text: String| text)),
        Reader::Escaped => {
            let parse = |text: &str| settings::unescaped(text).map(Value::String);
            arg.value_name("TEXT").allow_hyphen_values(true).value_parser(parse)
        }
        Reader::Path | Reader::Paths => {
            arg.value_name("PATH").value_hint(ValueHint::AnyPath).value_parser(parsed(|text: String| text))
        }
        Reader::Number => arg.value_name("X").allow_negative_numbers(true).value_parser(parsed(|x: f64| x)),
        Reader::Whole => {
            let range = RangedU64ValueParser::<u64>::new().range(..=i64::MAX.unsigned_abs());
            arg.value_name("N").value_parser(range.map(|number| Value::Integer(number as i64)))
        }
        Reader::Memory => arg.value_name("SIZE").value_parser(parsed(|size: MemorySize| size.to_string())),
        Reader::Switch => {
            let values = PossibleValuesParser::new(["true", "false"]);
            arg.value_name("BOOL")
                .hide_possible_values(true)
                .value_parser(values.map(|text| Value::Boolean(text == "true")))
        }
        Reader::Choice(choices) => {
            arg.value_name("NAME").value_parser(PossibleValuesParser::new(possible(choices)).map(Value::String))
        }
        Reader::List(one) => read(arg, one),
    }
}

/// A parser of what has a text form, as a value of settings.
fn parsed<T, V>(to_value: fn(T) -> V) -> ValueParser
where
    T: std::str::FromStr + Clone + Send + Sync + 'static,
    T::Err: Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
    V: Into<Value> + 'static,
{
    let parse = move |text: &str| text.parse::<T>().map(|value| to_value(value).into());
    let parse = move |text: &str| -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        parse(text).map_err(Into::into)
    };
    ValueParser::new(parse)
}

fn possible(choices: &[(&'static str, &'static str)]) -> Vec<PossibleValue> {
    let value =
        |(name, meaning): &(&'static str, &'static str)| PossibleValue::new(*name).help(meaning.trim_end_matches('.'));
    choices.iter().map(value).collect()
}

/// A default as one would write it on the command line.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The parser of a choice that is no setting: its names with what they mean.
pub(crate) fn chosen<T: Choice + Send + Sync>() -> ValueParser {
    let choices: Vec<_> = T::ALL.iter().map(|choice| (choice.name(), choice.meaning())).collect();
    let parser = PossibleValuesParser::new(possible(&choices));
    ValueParser::new(parser.try_map(|name| T::named(&name)))
}
