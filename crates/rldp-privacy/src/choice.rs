//! Choices between named things, each written once: the type, its names and what they mean.

/// A setting with a few named values. Made by [`choices!`](crate::choices).
pub trait Choice: Copy + PartialEq + 'static {
    /// What is chosen, as errors name it.
    const WHAT: &'static str;
    /// All values, in the order of their declaration.
    const ALL: &'static [Self];

    /// How it is written in files and on the command line.
    fn name(self) -> &'static str;

    /// What it means, in a sentence.
    fn meaning(self) -> &'static str;

    /// The value of a name.
    ///
    /// # Errors
    /// A sentence with all names, when there is no such value.
    fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().copied().find(|choice| choice.name() == name);
        found.ok_or_else(|| format!("{} is `{name}`, but must be one of {}", Self::WHAT, Self::names()))
    }

    /// All names, with commas between them.
    fn names() -> String {
        Self::ALL.iter().map(|choice| choice.name()).collect::<Vec<_>>().join(", ")
    }
}

/// Declares an enumeration whose values have names: it is written and read by them, and implements
/// [`Choice`], `Display` and `FromStr`.
///
/// ```
/// use rldp_privacy::Choice as _;
///
/// rldp_privacy::choices! {
///     /// How it ends.
///     pub enum Ending as "ending" {
///         /// As it should.
///         Good = "good",
///         /// Otherwise.
///         Bad = "bad",
///     }
/// }
/// assert_eq!("good".parse(), Ok(Ending::Good));
/// assert_eq!(Ending::Bad.meaning(), "Otherwise.");
/// assert_eq!("odd".parse::<Ending>().unwrap_err(), "ending is `odd`, but must be one of good, bad");
/// ```
#[macro_export]
macro_rules! choices {
    (
        $(#[doc = $about:literal])+
        pub enum $kind:ident as $what:literal {
            $($(#[doc = $meaning:literal])+ $variant:ident = $name:literal,)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $kind {
            $($(#[doc = $meaning])+ #[serde(rename = $name)] $variant,)+
        }

        impl $crate::Choice for $kind {
            const WHAT: &'static str = $what;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($meaning),+).trim(),)+
                }
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str($crate::Choice::name(*self))
            }
        }

        impl std::str::FromStr for $kind {
            type Err = String;

            fn from_str(name: &str) -> Result<Self, String> {
                $crate::Choice::named(name)
            }
        }
    };
}
