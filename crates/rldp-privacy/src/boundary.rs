//! Three kinds of values, told apart by the compiler.
//!
//! - [`Sensitive`]: a function of records to which no noise was added. It cannot be printed, compared, cloned or
//!   serialised, and becomes a [`Released`] value only inside a charged mechanism of this crate.
//! - [`Released`]: the output of a charged mechanism, or a function of such outputs (post-processing).
//! - [`Public`]: a value that the caller declares to be independent of the records.
//!
//! A controller sees [`Observable`] values, which come from the last two only; in a run that claims nothing, also from raw
//! ones, by [`NoGuarantee`].

use serde::Serialize;

/// A value computed from records without noise.
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// Marks a value as sensitive.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// Computes on the value without leaving the boundary.
    ///
    /// The closure must have no side effect that leaves the process; the type system cannot check that.
    pub fn map<U>(self, function: impl FnOnce(T) -> U) -> Sensitive<U> {
        Sensitive(function(self.0))
    }

    /// The value, for mechanisms only.
    pub(crate) fn expose(self) -> T {
        self.0
    }
}

impl<T: Copy> Sensitive<T> {
    /// The value, for mechanisms only, where several stand in a row.
    pub(crate) fn peek(&self) -> T {
        self.0
    }
}

/// A value that left a charged mechanism, or was computed from such values alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Released<T>(T);

impl<T> Released<T> {
    /// Only mechanisms make released values.
    pub(crate) fn mint(value: T) -> Self {
        Self(value)
    }

    /// A value that an earlier process of the same run released, read back from its checkpoint; whoever writes this call
    /// vouches for it. `proof` says that the run's ledger, with the charges that paid for the value, was taken over.
    pub fn restore(value: T, _proof: TakenOver) -> Self {
        Self(value)
    }

    /// The value.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// A reference that is released as well.
    pub fn as_ref(&self) -> Released<&T> {
        Released(&self.0)
    }

    /// Post-processing.
    pub fn map<U>(self, function: impl FnOnce(T) -> U) -> Released<U> {
        Released(function(self.0))
    }

    /// Two released values as one.
    pub fn zip<U>(self, other: Released<U>) -> Released<(T, U)> {
        Released((self.0, other.0))
    }
}

impl<T> Released<Option<T>> {
    /// What there is of an optional value. Whether there is one was released with it.
    pub fn transpose(self) -> Option<Released<T>> {
        self.0.map(Released)
    }
}

/// Proof that a run was taken over with a ledger that reaches the saved state. Only a resumed
/// [`Spender`](crate::Spender) gives it.
#[derive(Clone, Copy, Debug)]
pub struct TakenOver(());

impl TakenOver {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

/// A value that does not depend on the records.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Public<T>(T);

impl<T> Public<T> {
    /// Declares that `value` does not depend on the records; whoever writes this call vouches for it.
    pub fn declare(value: T) -> Self {
        Self(value)
    }

    /// The value.
    pub fn get(&self) -> &T {
        &self.0
    }
}

/// Evidence that a run claims no guarantee. Only such a claim gives it out, by [`crate::Claim::no_guarantee`].
#[derive(Clone, Copy, Debug)]
pub struct NoGuarantee(());

impl NoGuarantee {
    /// For claims only.
    pub(crate) fn admitted() -> Self {
        Self(())
    }
}

/// A number that a controller may see: released or public; in a run without guarantee, raw.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Observable(f64);

impl Observable {
    /// The number.
    pub fn value(self) -> f64 {
        self.0
    }

    /// Numbers computed from records without noise, in a run that says of itself that it guarantees nothing.
    pub fn unsafe_raw(values: Sensitive<Vec<f64>>, _: NoGuarantee) -> Vec<Self> {
        values.expose().into_iter().map(Self).collect()
    }

    /// Post-processing of two observable numbers.
    #[must_use]
    pub fn combine(self, other: Self, function: impl FnOnce(f64, f64) -> f64) -> Self {
        Self(function(self.0, other.0))
    }
}

impl From<Released<f64>> for Observable {
    fn from(value: Released<f64>) -> Self {
        Self(value.0)
    }
}

impl From<Public<f64>> for Observable {
    fn from(value: Public<f64>) -> Self {
        Self(value.0)
    }
}
