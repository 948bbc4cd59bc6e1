//! Whether a run is any good: its adapter against what it began with, on records that were declared public.

use crate::{number::short, run::RunFolder};

/// Perplexities above this many times the base's are told as a factor, not in percent.
const FACTOR: f64 = 2.0;

/// A run's adapter against the base.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Perplexity before the first private step.
    pub before: f64,
    /// Perplexity of the adapter; infinite when the model diverged.
    pub after: f64,
    /// Step of the last evaluation.
    pub step: f64,
    /// Public records, where the run said how many.
    pub records: Option<f64>,
    /// Whose perplexity `before` is.
    pub base: &'static str,
}

impl Quality {
    /// From the first and the last evaluation of a run; none when there are not two.
    pub fn of(run: &RunFolder) -> Option<Self> {
        let first = run.evals.first().filter(|line| line.step == 0.0)?;
        let last = run.evals.last().filter(|line| line.step > 0.0)?;
        let (before, after, step, records) = (first.perplexity, last.perplexity, last.step, last.records);
        let base = if run.warmed {
            "after the warm-up on public text"
        } else if run.config.get("model").is_some_and(|model| model.get("adapter").or(model.get("after")).is_some()) {
            "of the adapter it began with"
        } else {
            "of the base model"
        };
        Some(Self { before, after, step, records, base })
    }

    /// Whether somebody is better off without the adapter.
    pub fn is_worse(&self) -> bool {
        // Whatever is no number is no gain.
        self.after.is_nan() || self.before.is_nan() || self.after > self.before
    }

    /// Better or worse, in a few words.
    pub fn heading(&self) -> &'static str {
        match (self.is_worse(), self.after < self.before) {
            (true, _) => "WORSE THAN THE BASE",
            (false, true) => "Better than the base",
            (false, false) => "As good as the base",
        }
    }

    /// By how much.
    pub fn words(&self) -> String {
        let records = self.records.map_or(String::new(), |records| format!(" {records}"));
        let advice = if self.is_worse() {
            ": do not use this adapter; a smaller learning rate, more units or a larger epsilon would help"
        } else {
            ""
        };
        format!(
            "perplexity on{records} public records is {} after step {}, against {} {}, {}{advice}",
            shown(self.after),
            self.step,
            shown(self.before),
            self.base,
            self.change()
        )
    }

    fn change(&self) -> String {
        let ratio = self.after / self.before;
        if !ratio.is_finite() {
            "so the model diverged".to_owned()
        } else if ratio >= FACTOR {
            format!("{} times as high", short(ratio))
        } else {
            format!("{:+.1} %", 100.0 * (ratio - 1.0))
        }
    }

    /// How far this run got to where one without privacy did, in nats a token, where that one is better than the base.
    pub fn towards(&self, ceiling: &Self) -> Option<f64> {
        let room = self.before.ln() - ceiling.after.ln();
        let part = (self.before.ln() - self.after.ln()) / room;
        (room > 0.0 && part.is_finite()).then_some(part)
    }
}

/// How far `run` is to what `ceiling`, a run without privacy, reached on the same public file from the same model.
pub fn against_ceiling(run: &RunFolder, ceiling: &RunFolder) -> Option<String> {
    let same = |section: &str, key: &str| run.setting(section, key) == ceiling.setting(section, key);
    let is_ceiling = ceiling.setting("privacy", "unsafe_non_private") == "true";
    if !is_ceiling || run.without_guarantee().is_some() || !same("model", "model") || !same("data", "eval") {
        return None;
    }
    let (own, other) = (Quality::of(run)?, Quality::of(ceiling)?);
    let words = match own.towards(&other) {
        Some(part) => format!(
            "Without privacy, {} reaches {}: this run goes {:.0} % of the way there, in nats a token.",
            ceiling.title(),
            shown(other.after),
            100.0 * part
        ),
        None => format!("Without privacy, {} reaches {}.", ceiling.title(), shown(other.after)),
    };
    Some(words)
}

fn shown(perplexity: f64) -> String {
    if perplexity.is_finite() { short(perplexity) } else { "not a number".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quality(before: f64, after: f64) -> Quality {
        Quality { before, after, step: 40.0, records: Some(60.0), base: "of the base model" }
    }

    #[test]
    fn better_and_worse_are_told_apart() {
        let better = quality(50.0, 40.0);
        assert!(!better.is_worse() && better.heading() == "Better than the base");
        assert_eq!(
            better.words(),
            "perplexity on 60 public records is 40 after step 40, against 50 of the base model, -20.0 %"
        );
        let worse = quality(65.0, 56_743.0);
        assert!(
            worse.is_worse() && worse.words().contains("873 times as high: do not use this adapter"),
            "{}",
            worse.words()
        );
        for diverged in [f64::INFINITY, f64::NAN] {
            let diverged = quality(65.0, diverged);
            assert!(diverged.is_worse() && diverged.words().contains("diverged"), "{}", diverged.words());
        }
        assert!(!quality(3.0, 3.0).is_worse());
    }

    /// By hand: of ln 64 − ln 16 = 2 ln 2, ln 64 − ln 32 is half.
    #[test]
    fn the_way_to_the_ceiling_is_counted_in_nats() {
        let part = quality(64.0, 32.0).towards(&quality(64.0, 16.0)).unwrap();
        assert!((part - 0.5).abs() < 1e-12);
        assert_eq!(quality(64.0, 32.0).towards(&quality(64.0, 70.0)), None);
    }
}
