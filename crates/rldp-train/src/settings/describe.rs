//! What is known of a setting beside its type: its default, its bound, its sentence. Written once, in [`settings!`], and read
//! by whoever needs it: the command line, settings files, checks.

use std::{borrow::Cow, path::PathBuf};

use rldp_data::UnitIds;
use rldp_privacy::{Choice, Scaling, accounting::AccountantKind};
use toml::Value;

use super::{
    ClippingKind, Decay, EngineKind, GeometryKind, Initialization, MemorySize, OptimizerKind, PrecisionKind,
    RegimeKind, Trainable,
};
use crate::{RecordFiles, error::TrainError};

/// A setting, as files, the command line and their help know it.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Tables of the settings file around it, outermost first, with dots between them; empty at the top.
    pub section: &'static str,
    /// Its key there.
    pub key: &'static str,
    /// Its flag without the dashes; none when only files have it.
    pub flag: Option<Cow<'static, str>>,
    /// Heading in the help.
    pub group: &'static str,
    /// What it is, in a sentence.
    pub sentence: String,
    /// How a flag's value is read.
    pub reader: Reader,
    /// What it is when nobody gives it.
    pub default: Preset,
}

/// What a setting is when nobody gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Preset {
    /// There is none: it must be given.
    Required,
    /// It is left out.
    Unset,
    /// This.
    Value(Value),
    /// It follows from others, from the model or from the processor, as the sentence says.
    Derived(&'static str),
}

/// How text on the command line becomes a value.
#[derive(Clone, Debug)]
pub enum Reader {
    /// As it stands.
    Text,
    /// Text in which `\n`, `\t` and `\\` stand for what they mean elsewhere.
    Escaped,
    /// A file or folder.
    Path,
    /// A file; the flag may be given several times.
    Paths,
    /// A number.
    Number,
    /// A whole number of at most 63 bits, as TOML holds them.
    Whole,
    /// An amount of memory.
    Memory,
    /// Yes or no.
    Switch,
    /// One of these, with what each means.
    Choice(Vec<(&'static str, &'static str)>),
    /// Several, with commas between them.
    List(Box<Reader>),
}

/// The type of a setting.
pub(crate) trait SettingType {
    /// How it is read from the command line.
    fn reader() -> Reader;

    /// As a number, when it is one.
    fn number(&self) -> Option<f64> {
        None
    }
}

macro_rules! setting_types {
    ($($type:ty: $reader:ident $(, $number:expr)?;)*) => {$(
        impl SettingType for $type {
            fn reader() -> Reader {
                Reader::$reader
            }

            $(fn number(&self) -> Option<f64> {
                let number: fn(Self) -> f64 = $number;
                Some(number(*self))
            })?
        }
    )*};
}

setting_types! {
    f64: Number, |x| x;
    u64: Whole, |x| x as f64;
    usize: Whole, |x| x as f64;
    bool: Switch;
    String: Text;
    PathBuf: Path;
    RecordFiles: Paths;
    char: Escaped;
    rldp_model::DeviceChoice: Text;
    MemorySize: Memory;
}

macro_rules! choice_types {
    ($($type:ty),*) => {$(
        impl SettingType for $type {
            fn reader() -> Reader {
                Reader::Choice(<$type>::ALL.iter().map(|choice| (choice.name(), choice.meaning())).collect())
            }
        }
    )*};
}

choice_types!(
    AccountantKind,
    ClippingKind,
    Decay,
    EngineKind,
    GeometryKind,
    Initialization,
    OptimizerKind,
    PrecisionKind,
    RegimeKind,
    Scaling,
    Trainable,
    rldp_control::ControllerKind
);

impl SettingType for UnitIds {
    fn reader() -> Reader {
        Reader::Choice(Self::ALL.iter().map(|ids| (ids.name(), ids.meaning())).collect())
    }
}

impl<T: SettingType> SettingType for Option<T> {
    fn reader() -> Reader {
        T::reader()
    }

    fn number(&self) -> Option<f64> {
        self.as_ref().and_then(T::number)
    }
}

impl<T: SettingType> SettingType for Vec<T> {
    fn reader() -> Reader {
        Reader::List(Box::new(T::reader()))
    }
}

/// What numbers are admitted, and in words.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    holds: fn(f64, f64, f64) -> bool,
    low: f64,
    high: f64,
    words: String,
}

/// Above zero.
pub(super) fn positive() -> Bound {
    let holds = |value: f64, _, _| value > 0.0 && value.is_finite();
    Bound { holds, low: 0.0, high: f64::INFINITY, words: "positive and finite".into() }
}

/// From `low` to `high`, both admitted.
pub(super) fn within(low: f64, high: f64) -> Bound {
    let holds = |value: f64, low: f64, high: f64| (low..=high).contains(&value);
    Bound { holds, low, high, words: format!("between {low:?} and {high:?}") }
}

/// Between `low` and `high`, neither admitted.
pub(super) fn strictly_between(low: f64, high: f64, words: &str) -> Bound {
    let holds = |value: f64, low: f64, high: f64| value > low && value < high;
    Bound { holds, low, high, words: format!("strictly between {low} and {high}{words}") }
}

/// Whole numbers from `low` to `high`.
pub(super) fn whole(low: u64, high: u64) -> Bound {
    Bound { words: format!("between {low} and {high}"), ..within(low as f64, high as f64) }
}

/// At least `low`, and what `words` say.
pub(super) fn at_least(low: u64, words: &str) -> Bound {
    Bound { words: format!("at least {low}{words}"), ..within(low as f64, f64::INFINITY) }
}

/// Everything about a setting but its type, key and sentence.
pub(super) struct Spec {
    default: Preset,
    bound: Option<Bound>,
    flag: Option<&'static str>,
    group: Option<&'static str>,
    reader: Option<Reader>,
}

/// A setting that must be given.
pub(super) fn required() -> Spec {
    Spec { default: Preset::Required, bound: None, flag: None, group: None, reader: None }
}

/// A setting that may be left out.
pub(super) fn unset() -> Spec {
    Spec { default: Preset::Unset, ..required() }
}

/// A setting that is `value` when it is left out.
pub(super) fn default(value: impl Into<Value>) -> Spec {
    Spec { default: Preset::Value(value.into()), ..required() }
}

/// The same for a choice.
pub(super) fn choice(value: impl Choice) -> Spec {
    default(value.name())
}

/// A setting that follows from others when it is left out: how, in a few words.
pub(super) fn derived(words: &'static str) -> Spec {
    Spec { default: Preset::Derived(words), ..required() }
}

impl Spec {
    /// Admits only some numbers.
    pub(super) fn bound(self, bound: Bound) -> Self {
        Self { bound: Some(bound), ..self }
    }

    /// Has a flag of another name than its key.
    pub(super) fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }

    /// Stands in another group of the help than its section's.
    pub(super) fn group(self, group: &'static str) -> Self {
        Self { group: Some(group), ..self }
    }

    /// Is read from the command line in another way than its type is.
    pub(super) fn reader(self, reader: Reader) -> Self {
        Self { reader: Some(reader), ..self }
    }

    /// The setting as others see it.
    pub(super) fn describe<T: SettingType>(
        self,
        (section, group): (&'static str, &'static str),
        key: &'static str,
        sentence: &[&str],
    ) -> Setting {
        let flag = self.flag.map_or_else(|| key.replace('_', "-").into(), Cow::Borrowed);
        let sentence = sentence.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        Setting {
            section,
            key,
            flag: Some(flag),
            group: self.group.unwrap_or(group),
            sentence: sentence.trim_end_matches('.').to_owned(),
            reader: self.reader.unwrap_or_else(T::reader),
            default: self.default,
        }
    }

    /// Refuses a value out of bounds.
    pub(super) fn check(
        &self,
        key: &'static str,
        value: &(impl SettingType + std::fmt::Debug),
    ) -> Result<(), TrainError> {
        let (Some(bound), Some(number)) = (&self.bound, value.number()) else { return Ok(()) };
        if (bound.holds)(number, bound.low, bound.high) {
            return Ok(());
        }
        let name = self.flag.map_or_else(|| key.replace('_', "-"), str::to_owned);
        // Whole numbers as they are, others so that 1 reads 1.0.
        let value = format!("{value:?}");
        let value = value.strip_prefix("Some(").and_then(|inner| inner.strip_suffix(')')).unwrap_or(&value);
        Err(TrainError::setting(name, value, &bound.words))
    }
}

/// Declares a section of the settings: the struct, with a table of what is known of each of its fields.
///
/// A field is written as its sentence, its name and type, and what is known of it: `required()`, `default(value)`,
/// `unset()` or `derived("how")`, and a `bound(…)`. A `nested` field is a section of its own.
macro_rules! settings {
    (
        $(#[doc = $about:literal])+
        #[section($section:literal, $group:literal)]
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($serde:tt)+)])?
                $field:ident: $type:ty = $spec:expr,
            )*
            $(
                nested
                $(#[doc = $nested_doc:literal])+
                $(#[serde($($nested_serde:tt)+)])?
                $nested:ident: $nested_type:ty,
            )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                $(#[serde($($serde)+)])?
                pub $field: $type,
            )*
            $(
                $(#[doc = $nested_doc])+
                $(#[serde($($nested_serde)+)])?
                pub $nested: $nested_type,
            )*
        }

        impl $name {
            /// What is known of each field.
            pub(super) fn described() -> Vec<$crate::settings::describe::Setting> {
                vec![$(
                    $spec.describe::<$type>(($section, $group), stringify!($field), &[$($doc),+]),
                )*]
            }

            /// Checks the bound of each field by itself.
            pub(super) fn check_bounds(&self) -> Result<(), $crate::error::TrainError> {
                $($spec.check(stringify!($field), &self.$field)?;)*
                Ok(())
            }
        }
    };
}
pub(super) use settings;

/// Text in which `\n`, `\t` and `\\` stand for what they mean elsewhere.
///
/// # Errors
/// When a backslash stands before something else.
pub fn unescaped(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some('\\')) => out.push('\\'),
            ('\\', other) => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!("`\\{other}` is none of \\n, \\t and \\\\"));
            }
            (c, _) => out.push(c),
        }
    }
    Ok(out)
}
