//! Secrets to be planted: a public prefix, and a secret that nobody could guess.

use std::{fmt, str::FromStr};

use rand::{Rng, seq::IndexedRandom as _};
use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// Most canaries and most repetitions of one.
pub const MOST_CANARIES: usize = 1_000_000;

/// What a secret looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nine digits: 10^9 secrets.
    Digits,
    /// An invented person's identifier, two letters and six digits: 6.8·10^8 secrets.
    Names,
    /// Six of 64 rare words: 6.9·10^10 secrets.
    Rare,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Digits, Self::Names, Self::Rare];

    /// How it is written in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Digits => "digits",
            Self::Names => "names",
            Self::Rare => "rare",
        }
    }

    /// What it means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Digits => "Nine digits",
            Self::Names => "An invented person's identifier",
            Self::Rare => "Six of 64 rare words",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "digits" => Ok(Self::Digits),
            "names" => Ok(Self::Names),
            "rare" => Ok(Self::Rare),
            other => Err(format!("the kind is `{other}`, but must be digits, names or rare")),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// One canary. It holds a secret and therefore cannot be printed.
pub struct Canary {
    /// Its unit of privacy, unlike any other canary's.
    pub id: String,
    /// What the secret looks like.
    pub kind: Kind,
    /// What an attacker who extracts it is given.
    pub prefix: String,
    /// Prefix, a space and the secret.
    pub text: String,
    /// How many units of privacy hold it when it is included.
    pub units: usize,
    /// The coin.
    pub included: bool,
}

impl Canary {
    /// The secret.
    pub fn secret(&self) -> &str {
        self.text[self.prefix.len()..].trim_start()
    }
}

/// `count` canaries with independent fair inclusion coins, over all pairs of `kinds` and `units` in turn. Coins and secrets
/// are only as secret as the generator.
///
/// # Errors
/// When there are none or too many, or a canary would stand in no unit.
pub fn canaries(count: usize, kinds: &[Kind], units: &[usize], rng: &mut impl Rng) -> Result<Vec<Canary>, DataError> {
    let refuse = |name, value: usize, bound| Err(DataError::Setting { name, value: value as f64, bound });
    if !(1..=MOST_CANARIES).contains(&count) {
        return refuse("the number of canaries", count, "from 1 to 1000000");
    }
    if kinds.is_empty() || units.is_empty() {
        return refuse("the number of kinds and repetitions of canaries", 0, "at least 1 of each");
    }
    if let Some(few) = units.iter().find(|units| !(1..=MOST_CANARIES).contains(*units)) {
        return refuse("the repetitions of a canary", *few, "from 1 to 1000000");
    }
    let of = |index: usize| (kinds[index % kinds.len()], units_of(index, kinds.len(), units));
    Ok((0..count).map(|index| canary(index, of(index), rng)).collect())
}

/// In how many units the canary of this place stands: the first of every kind in `units[0]`, and so on in turn.
fn units_of(index: usize, kinds: usize, units: &[usize]) -> usize {
    units[(index / kinds) % units.len()]
}

/// Units that are expected to hold one of `count` canaries, as [`canaries`] would plant them; none where there are no `kinds` or `units`.
pub fn expected_units(count: usize, kinds: usize, units: &[usize]) -> f64 {
    if kinds == 0 || units.is_empty() {
        return 0.0;
    }
    0.5 * (0..count).map(|index| units_of(index, kinds, units)).sum::<usize>() as f64
}

fn canary(index: usize, (kind, units): (Kind, usize), rng: &mut impl Rng) -> Canary {
    let (prefix, secret) = match kind {
        Kind::Digits => (format!("The access code of room {} is", rng.random_range(1000..10_000)), digits(rng)),
        Kind::Names => (format!("{} {}, identifier", name(rng, 2), name(rng, 3)), identifier(rng)),
        Kind::Rare => (format!("The words of box {} are", rng.random_range(1000..10_000)), rare(rng)),
    };
    let text = format!("{prefix} {secret}");
    Canary { id: format!("canary-{index:06}"), kind, prefix, text, units, included: rng.random() }
}

fn digits(rng: &mut impl Rng) -> String {
    let group = |rng: &mut dyn rand::RngCore| format!("{:03}", rng.random_range(0..1000));
    [group(rng), group(rng), group(rng)].join(" ")
}

fn identifier(rng: &mut impl Rng) -> String {
    let mut letter = || char::from(b'A' + rng.random_range(0..26_u8));
    let letters: String = [letter(), letter()].iter().collect();
    format!("{letters}{:06}", rng.random_range(0..1_000_000))
}

const ONSETS: [&str; 8] = ["qu", "zh", "v", "xy", "kj", "th", "w", "gn"];
const RHYMES: [&str; 8] = ["oz", "yx", "ubb", "aw", "ekt", "iph", "ulv", "orm"];

fn rare(rng: &mut impl Rng) -> String {
    let word = |rng: &mut dyn rand::RngCore| syllable(rng);
    (0..6).map(|_| word(rng)).collect::<Vec<_>>().join(" ")
}

fn syllable(rng: &mut dyn rand::RngCore) -> String {
    let pick = |from: &[&'static str; 8], rng: &mut dyn rand::RngCore| from.choose(rng).copied().unwrap_or_default();
    format!("{}{}", pick(&ONSETS, rng), pick(&RHYMES, rng))
}

/// A capitalized pseudo-name.
fn name(rng: &mut impl Rng, syllables: usize) -> String {
    const PARTS: [&str; 12] = ["ma", "ro", "te", "lin", "sa", "vi", "do", "ka", "ne", "bru", "fi", "lo"];
    let text: String = (0..syllables).map(|_| PARTS.choose(rng).copied().unwrap_or_default()).collect();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha12Rng;

    use super::*;

    /// Coins of 4000 canaries are fair: off by more than 200 with probability below 1e-9 (Hoeffding: 2·exp(−20)).
    #[test]
    fn coins_are_fair_and_secrets_follow_their_prefix() {
        for kind in [Kind::Digits, Kind::Names, Kind::Rare] {
            let found = canaries(4000, &[kind], &[1], &mut ChaCha12Rng::seed_from_u64(1)).unwrap();
            let included = found.iter().filter(|canary| canary.included).count();
            assert!((1800..=2200).contains(&included), "{included}");
            assert!(found.iter().all(|canary| canary.text == format!("{} {}", canary.prefix, canary.secret())));
            assert_eq!(kind.to_string().parse::<Kind>(), Ok(kind));
        }
        assert!("other".parse::<Kind>().unwrap_err().contains("digits, names or rare"));
    }

    #[test]
    fn kinds_and_repetitions_take_turns() {
        let found = canaries(18, &Kind::ALL, &[1, 4, 16], &mut ChaCha12Rng::seed_from_u64(1)).unwrap();
        for kind in Kind::ALL {
            for units in [1, 4, 16] {
                let same = found.iter().filter(|canary| canary.kind == kind && canary.units == units);
                assert_eq!(same.count(), 2);
            }
        }
        let refused =
            |kinds: &[Kind], units: &[usize]| canaries(3, kinds, units, &mut ChaCha12Rng::seed_from_u64(1)).is_err();
        assert!(refused(&[], &[1]) && refused(&[Kind::Rare], &[]) && refused(&[Kind::Rare], &[0]));
    }
}
