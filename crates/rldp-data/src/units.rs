//! Privacy units: what one person can hide behind.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha12Rng;

use crate::{
    blocks::Block,
    error::DataError,
    tokenize::{TokenRecord, digest},
};

/// How records become units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitPolicy {
    /// Block size in tokens.
    pub max_length: usize,
    /// At most this many records of a unit are used, chosen by secret randomness.
    pub max_records: Option<usize>,
    /// Chooses them from this seed instead, for tests and paired research runs: **without privacy**.
    pub unsafe_seed: Option<u64>,
}

/// One unit: all its blocks, weighted so that their summed loss is the mean over its records of the record's mean token
/// loss.
pub struct Unit {
    /// The blocks; empty when nothing of the unit can be scored.
    pub blocks: Vec<Block>,
}

/// All units of the training data. N is public, what a unit holds is not.
pub struct PrivacyUnits {
    units: Vec<Unit>,
    /// Rows of each unit's records.
    rows: Vec<Vec<usize>>,
    /// What decides each unit's class.
    keys: Vec<u64>,
    /// Who is trained on; a unit that is held out stays a unit, and contributes nothing.
    included: Vec<bool>,
    /// Expected number of included units, public.
    expected: f64,
    records: usize,
    duplicates: usize,
}

impl PrivacyUnits {
    /// Every record is a unit of its own.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn by_record(records: &[TokenRecord], policy: &UnitPolicy) -> Result<Self, DataError> {
        Self::group(records.iter().map(|record| vec![record]).collect(), keys_of_records(records), policy)
    }

    /// Records with the same value in the unit column are one unit, wherever they stand in the file.
    ///
    /// # Errors
    /// When a record names no unit, or the operating system gives no randomness.
    pub fn by_column(records: &[TokenRecord], policy: &UnitPolicy) -> Result<Self, DataError> {
        let mut order: HashMap<&str, usize> = HashMap::new();
        let (mut groups, mut keys): (Vec<Vec<&TokenRecord>>, Vec<u64>) = (Vec::new(), Vec::new());
        for record in records {
            let key = record.unit.as_deref().unwrap_or_default();
            let group = *order.entry(key).or_insert_with(|| {
                groups.push(Vec::new());
                keys.push(class_key(&[key.as_bytes()]));
                groups.len() - 1
            });
            groups[group].push(record);
        }
        Self::group(groups, keys, policy)
    }

    fn group(mut groups: Vec<Vec<&TokenRecord>>, keys: Vec<u64>, policy: &UnitPolicy) -> Result<Self, DataError> {
        let duplicates = duplicates_across(&groups);
        if let Some(most) = policy.max_records {
            let mut rng = match policy.unsafe_seed {
                Some(seed) => ChaCha12Rng::seed_from_u64(seed),
                None => ChaCha12Rng::try_from_os_rng().map_err(|error| DataError::Randomness(error.to_string()))?,
            };
            for group in groups.iter_mut().filter(|group| group.len() > most) {
                group.shuffle(&mut rng);
                group.truncate(most);
            }
        }
        let records = groups.iter().map(Vec::len).sum();
        let units: Vec<Unit> = groups.iter().map(|group| unit(group, policy.max_length)).collect();
        let rows = groups.iter().map(|group| group.iter().map(|record| record.row).collect()).collect();
        let (included, expected) = (vec![true; units.len()], units.len() as f64);
        Ok(Self { units, rows, keys, included, expected, records, duplicates })
    }

    /// Units that another process of the run drew and sent here, to be summed. All of them take part.
    pub fn dealt(units: Vec<Unit>) -> Self {
        let count = units.len();
        let (rows, keys, included) = (vec![Vec::new(); count], vec![0; count], vec![true; count]);
        Self { units, rows, keys, included, expected: count as f64, records: 0, duplicates: 0 }
    }

    /// Keeps the units whose coin is true. Each fell so with probability `chance`, on its own and in secret.
    ///
    /// A unit that is held out stays a unit of N and may be sampled, but contributes nothing: how many were kept shows
    /// nowhere.
    ///
    /// # Panics
    /// When there is not one coin a unit: a defect of the caller.
    #[must_use]
    pub fn kept_by(mut self, coins: &[bool], chance: f64) -> Self {
        assert_eq!(coins.len(), self.units.len(), "one coin a unit");
        self.included.copy_from_slice(coins);
        self.expected = chance * coins.len() as f64;
        self
    }

    /// These units and those of `others`, planted secrets, which repeat on purpose and are counted as no duplicates.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.units.extend(others.units);
        self.rows.extend(others.rows);
        self.keys.extend(others.keys);
        self.included.extend(others.included);
        self.expected += others.expected;
        self.records += others.records;
        self
    }

    /// These units and `absent` more that hold nothing: the number of units is then one that was declared, and shows nothing of how many
    /// there are. Each counts as one that is trained on with probability `chance`, like those that are there.
    #[must_use]
    pub fn with_absent(mut self, absent: u64, chance: f64) -> Self {
        let all = self.units.len() + usize::try_from(absent).unwrap_or(usize::MAX - self.units.len());
        self.units.resize_with(all, || Unit { blocks: Vec::new() });
        self.rows.resize_with(all, Vec::new);
        self.keys.resize(all, 0);
        self.included.resize(all, false);
        self.expected += chance * absent as f64;
        self
    }

    /// Whether a unit is trained on. Secret when coins decided.
    pub fn includes(&self, index: usize) -> bool {
        self.included[index]
    }

    /// The class of a unit among `classes`. It depends on the unit alone, not on who else is there nor on a secret, so that it is the
    /// same in every process of a run, also with another tokenizer or template: on the name in the unit column, or where records
    /// are units, on what the record holds in its file and on how many alike stand before it, which of those that are alike being all
    /// the same.
    pub fn class(&self, index: usize, classes: u64) -> u64 {
        self.keys[index] % classes
    }

    /// Rows of the records of a unit.
    pub fn rows(&self, index: usize) -> &[usize] {
        &self.rows[index]
    }

    /// How many units are expected to be trained on, before any coin fell; as public as N.
    pub fn expected(&self) -> f64 {
        self.expected
    }

    /// N, the number of units; assumed public.
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether there are no units.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Records in use.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Records whose tokens also stand in another unit: a guarantee for one unit says less about what many share.
    /// An exact count of private data: for the person who runs the training, not for release.
    pub fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// Unit `index`.
    pub fn unit(&self, index: usize) -> &Unit {
        &self.units[index]
    }
}

fn unit(records: &[&TokenRecord], max_length: usize) -> Unit {
    let blocks = records.iter().flat_map(|record| {
        let weight = 1.0 / (records.len() * record.scored_tokens().max(1)) as f32;
        record.blocks(max_length).into_iter().map(move |block| Block { weight, ..block })
    });
    Unit { blocks: blocks.collect() }
}

/// What decides the class of every record that is a unit of its own.
fn keys_of_records(records: &[TokenRecord]) -> Vec<u64> {
    let mut alike: HashMap<[u8; 32], u64> = HashMap::new();
    let keys = records.iter().map(|record| {
        let before = alike.entry(record.content).or_insert(0);
        *before += 1;
        class_key(&[&record.content, &before.to_le_bytes()])
    });
    keys.collect()
}

/// Eight bytes of the digest of parts.
fn class_key(parts: &[&[u8]]) -> u64 {
    digest(parts.iter().copied()).iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
}

fn duplicates_across(groups: &[Vec<&TokenRecord>]) -> usize {
    let mut first: HashMap<u64, usize> = HashMap::new();
    let mut count = 0;
    for (group, records) in groups.iter().enumerate() {
        for record in records {
            let mut hasher = DefaultHasher::new();
            record.tokens.hash(&mut hasher);
            if *first.entry(hasher.finish()).or_insert(group) != group {
                count += 1;
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(unit: &str, tokens: std::ops::Range<u32>) -> TokenRecord {
        TokenRecord {
            row: 0,
            unit: Some(unit.to_owned()),
            content: std::array::from_fn(|i| (tokens.start + tokens.end * i as u32) as u8),
            prefix: 0,
            left_out: 0,
            scored: std::iter::once(0..tokens.len()).collect(),
            tokens: tokens.collect(),
        }
    }

    fn total_weight(unit: &Unit) -> f64 {
        unit.blocks.iter().map(|block| f64::from(block.weight) * block.scored().count() as f64).sum()
    }

    #[test]
    fn a_long_record_stays_one_unit_of_weight_one() {
        let records = [record("a", 0..100), record("b", 0..2), record("a", 5..9)];
        let policy = UnitPolicy { max_length: 16, max_records: None, unsafe_seed: None };
        let units = PrivacyUnits::by_record(&records, &policy).unwrap();
        assert_eq!(units.len(), 3);
        for index in 0..3 {
            assert!((total_weight(units.unit(index)) - 1.0).abs() < 1e-5);
        }
        let people = PrivacyUnits::by_column(&records, &policy).unwrap();
        assert_eq!(people.len(), 2);
        assert!((total_weight(people.unit(0)) - 1.0).abs() < 1e-5);
        assert!(people.unit(0).blocks.len() > people.unit(1).blocks.len());
    }

    #[test]
    fn contributions_are_bounded_and_duplicates_counted() {
        let mut records: Vec<TokenRecord> = (0..10).map(|i| record("a", i..i + 5)).collect();
        records.push(record("b", 0..5));
        let units =
            PrivacyUnits::by_column(&records, &UnitPolicy { max_length: 8, max_records: Some(3), unsafe_seed: None })
                .unwrap();
        assert_eq!(units.unit(0).blocks.len(), 3);
        assert_eq!(units.records(), 4);
        assert_eq!(units.duplicates(), 1);
    }

    /// Who is in which class does not change for others when a unit leaves, wherever it stood, nor when it has a twin.
    #[test]
    fn a_unit_that_leaves_moves_nobody() {
        let all_but = |gone: Option<u32>| -> Vec<TokenRecord> {
            (0..60).filter(|i| Some(*i) != gone).map(|i| record("a", i % 20..i % 20 + 5)).collect()
        };
        let policy = UnitPolicy { max_length: 8, max_records: None, unsafe_seed: None };
        let classes = |records: &[TokenRecord]| {
            let units = PrivacyUnits::by_record(records, &policy).unwrap();
            let mut held: Vec<_> =
                (0..units.len()).map(|i| (units.unit(i).blocks[0].tokens.clone(), units.class(i, 4))).collect();
            held.sort();
            held
        };
        let all = classes(&all_but(None));
        assert!((0..4).all(|class| all.iter().filter(|(_, of)| *of == class).count() >= 5), "{all:?}");
        for gone in [0, 25, 59] {
            let left = classes(&all_but(Some(gone)));
            let mut rest = all.clone();
            left.iter().for_each(|unit| drop(rest.remove(rest.iter().position(|other| other == unit).unwrap())));
            assert_eq!(rest.len(), 1);
        }
    }

    /// Another tokenizer must not give anybody a second turn in a round of a run that goes on.
    #[test]
    fn a_class_is_the_same_whatever_the_tokens() {
        let records: Vec<TokenRecord> = (0..40).map(|i| record("a", i..i + 5)).collect();
        let others = records.iter().map(|record| TokenRecord {
            row: record.row,
            unit: None,
            content: record.content,
            tokens: vec![7, 8],
            prefix: 0,
            left_out: 0,
            scored: std::iter::once(0..2).collect(),
        });
        let policy = UnitPolicy { max_length: 8, max_records: None, unsafe_seed: None };
        let classes = |records: &[TokenRecord]| {
            let units = PrivacyUnits::by_record(records, &policy).unwrap();
            (0..units.len()).map(|i| units.class(i, 4)).collect::<Vec<_>>()
        };
        assert_eq!(classes(&records), classes(&others.collect::<Vec<_>>()));
    }

    #[test]
    fn a_persons_class_follows_from_the_name() {
        let records: Vec<TokenRecord> = (0..40).map(|i| record(&format!("p{}", i / 2), i..i + 5)).collect();
        let policy = UnitPolicy { max_length: 8, max_records: Some(1), unsafe_seed: None };
        let classes = |records: &[TokenRecord]| {
            let units = PrivacyUnits::by_column(records, &policy).unwrap();
            (0..units.len()).map(|i| units.class(i, 4)).collect::<Vec<_>>()
        };
        assert_eq!(classes(&records), classes(&records));
        assert_eq!(classes(&records)[1..], classes(&records[2..]));
    }

    #[test]
    fn held_out_units_stay_units() {
        let records = [record("a", 0..5), record("b", 3..9), record("a", 7..9)];
        let policy = UnitPolicy { max_length: 8, max_records: None, unsafe_seed: None };
        let units = || PrivacyUnits::by_column(&records, &policy).unwrap();
        assert!(units().includes(0) && units().includes(1) && units().expected() == 2.0);
        let both = units().kept_by(&[false, true], 0.25).and(units());
        assert_eq!((both.len(), both.records(), both.rows(0).len()), (4, 6, 2));
        assert_eq!([0, 1, 2, 3].map(|unit| both.includes(unit)), [false, true, true, true]);
        assert_eq!(both.expected(), 2.5);
    }
}
