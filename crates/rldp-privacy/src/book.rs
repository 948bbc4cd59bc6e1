//! A budget book: what was spent on one data set, over all runs.
//!
//! A run's ledger counts that run. Whoever trains ten times on the same people and hands out what pleases has spent ten times. A
//! book is an append-only, hash-chained file that belongs to the data set. Its first line has a limit; every run enters before it
//! starts, and one that would pass the limit is refused. What entered stays entered, also when the run failed.

use serde::{Deserialize, Serialize};

use crate::{
    chain::{Chain, LedgerSink, Lines, read_lines},
    claim::Claim,
    decimals::at_most,
    error::PrivacyError,
    joint::{Joint, joint, joint_epsilon},
};

/// What the first line's `previous` says.
const GENESIS: &str = "rldp-book";

/// How runs are added up, as it stands in the first line of every book.
const RULE: &str = "runs whose noise was fixed before their first step are composed by privacy loss distributions, which asks that \
                    no run's noise, rate or steps were chosen by what an earlier one released; runs behind a filter are added";

/// The most that may be spent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Epsilon of everything together.
    pub epsilon: f64,
    /// Delta that goes with it.
    pub delta: f64,
}

/// A line after the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Item {
    /// A run, a trial of a tuning, or a run that learns a policy: whatever is released under a claim.
    Run {
        /// Number of the run, as in its manifest.
        id: String,
        /// Its folder, for people.
        run: String,
        /// When it entered.
        time: String,
        /// What it may spend.
        claim: Box<Claim>,
    },
    /// A policy of another private run, with which a run began. What that run spent is counted where it was spent: in this book, if
    /// it was on these people.
    Policy {
        /// Number of the run that begins with it.
        id: String,
        /// Number of the run that learned it.
        learned_by: String,
        /// What that run promised.
        statement: String,
        /// When it entered.
        time: String,
    },
    /// An audit that read who was held out or planted. What it printed has no guarantee and is not for release.
    Audit {
        /// Folder of the run that was audited.
        run: String,
        /// When it entered.
        time: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum First {
    Open {
        #[serde(flatten)]
        limit: Limit,
        rule: String,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    First(First),
    Item(Item),
}

/// A book as far as it was read.
#[derive(Clone, Debug)]
pub struct Book {
    /// The most that may be spent.
    pub limit: Limit,
    /// What entered, in order.
    pub items: Vec<Item>,
    hashes: Vec<String>,
}

impl Book {
    /// Begins a book.
    ///
    /// # Errors
    /// When the limit is out of range, or the line cannot be made durable.
    pub fn open(limit: Limit, sink: Box<dyn LedgerSink>) -> Result<(), PrivacyError> {
        if !(limit.epsilon > 0.0 && limit.epsilon.is_finite()) {
            return Err(PrivacyError::Book(format!(
                "its limit is epsilon {:?}, but must be positive and finite",
                limit.epsilon
            )));
        }
        if !(limit.delta > 0.0 && limit.delta < 1.0) {
            return Err(PrivacyError::Book(format!(
                "its limit is delta {:?}, but must be strictly between 0 and 1, far below 1 over the number of units",
                limit.delta
            )));
        }
        Chain::new(sink, GENESIS).append(&First::Open { limit, rule: RULE.to_owned() })
    }

    /// Reads a book and checks its chain.
    ///
    /// # Errors
    /// When it is damaged, or no book.
    pub fn read(text: &str) -> Result<Self, PrivacyError> {
        let Lines { entries, hashes, torn } = read_lines::<Line>(text, GENESIS).map_err(PrivacyError::Book)?;
        if torn {
            return Err(PrivacyError::Book(
                "its last line is not whole: whether that run entered cannot be told; restore the file, or count the run by hand \
                 and cut the line off"
                    .into(),
            ));
        }
        let mut entries = entries.into_iter();
        let Some(Line::First(First::Open { limit, .. })) = entries.next() else {
            return Err(PrivacyError::Book(
                "it does not begin with a limit; `rldp privacy book FILE` makes one".into(),
            ));
        };
        let items = entries.map(|line| match line {
            Line::Item(item) => Ok(item),
            Line::First(_) => Err(PrivacyError::Book("a second limit stands in it".into())),
        });
        Ok(Self { limit, items: items.collect::<Result<_, _>>()?, hashes })
    }

    fn claims(&self) -> Vec<&Claim> {
        let claims = self.items.iter().filter_map(|item| match item {
            Item::Run { claim, .. } => Some(&**claim),
            Item::Policy { .. } | Item::Audit { .. } => None,
        });
        claims.collect()
    }

    /// Whether the run of this number has entered.
    pub fn has_run(&self, number: &str) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Run { id, .. } if id == number))
    }

    /// What all runs so far have spent together.
    ///
    /// # Errors
    /// When an accountant refuses.
    pub fn spent(&self) -> Result<Joint, PrivacyError> {
        joint(&self.claims())
    }

    /// Epsilon of all runs so far at the limit's delta.
    ///
    /// # Errors
    /// When an accountant refuses.
    pub fn epsilon(&self) -> Result<f64, PrivacyError> {
        self.epsilon_with(&[])
    }

    fn epsilon_with(&self, next: &[&Claim]) -> Result<f64, PrivacyError> {
        let claims: Vec<&Claim> = self.claims().into_iter().chain(next.iter().copied()).collect();
        if claims.is_empty() {
            return Ok(0.0);
        }
        let together = joint(&claims)?;
        let basic = if together.delta <= self.limit.delta { together.basic_epsilon } else { f64::INFINITY };
        Ok(joint_epsilon(&claims, self.limit.delta)?.min(basic))
    }

    /// What runs with these claims would bring all of them to.
    ///
    /// # Errors
    /// When that passes the limit, or a claim is about other units or neighbours than those before: then they may not enter.
    pub fn would(&self, claims: &[&Claim]) -> Result<f64, PrivacyError> {
        let before = self.epsilon()?;
        let after = self.epsilon_with(claims)?;
        if after <= self.limit.epsilon {
            return Ok(after);
        }
        Err(PrivacyError::Book(format!(
            "this run would bring epsilon from {} to {} at delta {:?}, above the limit {}; ask for less, or for a \
             higher limit from whoever set it",
            at_most(before, 4),
            at_most(after, 4),
            self.limit.delta,
            self.limit.epsilon
        )))
    }

    /// Appends a line. A run must have been admitted by [`Self::would`] while nobody else could write the book.
    ///
    /// # Errors
    /// When the line cannot be made durable.
    pub fn enter(&mut self, item: Item, sink: Box<dyn LedgerSink>) -> Result<(), PrivacyError> {
        if let Item::Run { claim, .. } = &item {
            self.would(&[&**claim])?;
        }
        let mut chain = Chain::after(sink, GENESIS, &self.hashes);
        chain.append(&item)?;
        self.hashes.push(chain.place().1.to_owned());
        self.items.push(item);
        Ok(())
    }
}
