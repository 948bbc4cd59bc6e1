//! Which method is better: results of many runs, grouped, paired by seed and summarised.

mod output;
mod tuning;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::statistics::{Estimate, median_with_never, sign_flip_test, steps_to_reach};

pub(crate) use output::{HEADS, rows};
pub use output::{csv, table};
pub use tuning::{Choice, Role, Rule, reduce};

/// One finished run: a line of `results.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Name of the run's folder.
    pub run: String,
    /// Method.
    pub method: String,
    /// Model's name in the grid.
    pub model: String,
    /// Dataset's name in the grid.
    pub dataset: String,
    /// Values of the grid's axes but the seed.
    pub axes: Map<String, Value>,
    /// Public seed.
    pub seed: u64,
    /// Perplexity on the public file before the first step; absent when it was not finite.
    pub perplexity_before: Option<f64>,
    /// After the last step; absent when it was not finite.
    pub perplexity_after: Option<f64>,
    /// Noisy steps made.
    pub steps: u64,
    /// Target epsilon; infinite without noise.
    #[serde(deserialize_with = "crate::run::infinite_when_null")]
    pub epsilon: f64,
    /// Upper bound on the epsilon spent; infinite without noise.
    #[serde(deserialize_with = "crate::run::infinite_when_null")]
    pub epsilon_spent: f64,
    /// Whether the ledger verifies.
    pub verified: bool,
    /// Whether the run promises anything at all.
    pub guarantee: bool,
    /// What the run is for under rules of tuning; empty when the grid declares none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// Wall-clock time of the run. A side channel like `timing.jsonl`: not to be handed out.
    pub seconds: f64,
}

impl RunResult {
    /// The axes but the seed as text, such as `epsilon=0.5`.
    pub fn axes_text(&self) -> String {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.axes.iter().map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(" ")
    }

    fn cell(&self) -> CellKey {
        (self.model.clone(), self.dataset.clone(), self.axes_text())
    }
}

/// A result with its learning curve.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The line of `results.jsonl`.
    pub result: RunResult,
    /// (step, perplexity) of every evaluation.
    pub curve: Vec<(f64, f64)>,
}

/// Model, dataset, axes.
type CellKey = (String, String, String);

/// Everything that shares model, dataset and all axes but the seed.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Model.
    pub model: String,
    /// Dataset.
    pub dataset: String,
    /// The axes but the seed, as text.
    pub axes: String,
    /// One for each method that has a run here.
    pub methods: Vec<MethodSummary>,
}

/// One method in one cell.
#[derive(Clone, Debug)]
pub struct MethodSummary {
    /// Method.
    pub method: String,
    /// Runs.
    pub runs: usize,
    /// Runs whose last perplexity is not a finite number; they are in no mean, so look at this number first.
    pub diverged: usize,
    /// Runs that promise privacy and whose ledger verifies.
    pub guaranteed: usize,
    /// Log-perplexity over seeds.
    pub log_perplexity: Option<Estimate>,
    /// Against the baseline; absent for the baseline itself and without common seeds.
    pub difference: Option<Difference>,
    /// Steps to the baseline's last perplexity.
    pub reach: Option<Reach>,
}

/// Paired by seed: this method's log-perplexity minus the baseline's.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Mean and interval, in nats a token.
    pub log_ratio: Estimate,
    /// Two-sided p-value of the sign-flip test, uncorrected for the number of comparisons.
    pub p: Option<f64>,
}

impl Difference {
    /// Mean relative difference in perplexity, in percent: 100 (e^d − 1) for the mean log ratio d. Negative is better.
    pub fn percent(&self) -> f64 {
        100.0 * self.log_ratio.mean.exp_m1()
    }

    /// Its 95 % interval: the t interval of the log ratio, transformed.
    pub fn percent_interval(&self) -> Option<(f64, f64)> {
        self.log_ratio.interval().map(|(low, high)| (100.0 * low.exp_m1(), 100.0 * high.exp_m1()))
    }
}

/// How soon a method is where the baseline of the same seed ends.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// Median over seeds; absent when half or more never get there.
    pub median: Option<f64>,
    /// Seeds that get there.
    pub reached: usize,
    /// Seeds that could be compared.
    pub of: usize,
}

/// Groups and summarises. `methods` gives the order of rows.
pub fn summarize(entries: &[Entry], methods: &[String], baseline: &str) -> Vec<Cell> {
    let mut cells: BTreeMap<CellKey, Vec<&Entry>> = BTreeMap::new();
    let mut order = Vec::new();
    for entry in entries {
        let key = entry.result.cell();
        if !cells.contains_key(&key) {
            order.push(key.clone());
        }
        cells.entry(key).or_default().push(entry);
    }
    let cell = |key: CellKey| {
        let members = &cells[&key];
        let summaries = methods.iter().filter_map(|method| summary(members, method, baseline)).collect();
        Cell { model: key.0, dataset: key.1, axes: key.2, methods: summaries }
    };
    order.into_iter().map(cell).collect()
}

fn summary(members: &[&Entry], method: &str, baseline: &str) -> Option<MethodSummary> {
    let own: Vec<&Entry> = members.iter().copied().filter(|entry| entry.result.method == method).collect();
    if own.is_empty() {
        return None;
    }
    let logs: Vec<f64> = own.iter().filter_map(|entry| last_log(entry)).collect();
    let base: BTreeMap<u64, &Entry> = members
        .iter()
        .filter(|entry| entry.result.method == baseline)
        .map(|entry| (entry.result.seed, *entry))
        .collect();
    Some(MethodSummary {
        method: method.to_owned(),
        runs: own.len(),
        diverged: own.len() - logs.len(),
        guaranteed: own.iter().filter(|entry| entry.result.guarantee && entry.result.verified).count(),
        log_perplexity: Estimate::of(&logs),
        difference: if method == baseline { None } else { difference(&own, &base) },
        reach: reach(&own, &base),
    })
}

fn last_log(entry: &Entry) -> Option<f64> {
    entry.result.perplexity_after.map(f64::ln).filter(|value| value.is_finite())
}

fn difference(own: &[&Entry], base: &BTreeMap<u64, &Entry>) -> Option<Difference> {
    let pair = |entry: &&Entry| Some(last_log(entry)? - last_log(base.get(&entry.result.seed)?)?);
    let differences: Vec<f64> = own.iter().filter_map(pair).collect();
    Some(Difference { log_ratio: Estimate::of(&differences)?, p: sign_flip_test(&differences) })
}

fn reach(own: &[&Entry], base: &BTreeMap<u64, &Entry>) -> Option<Reach> {
    // Where no curve was kept, nothing is known.
    let steps = |entry: &&Entry| {
        if entry.curve.is_empty() {
            return None;
        }
        let target = last_log(base.get(&entry.result.seed)?)?.exp();
        // The target went through a logarithm: the baseline itself must still reach it.
        Some(steps_to_reach(&entry.curve, target * (1.0 + 1e-12)))
    };
    let steps: Vec<Option<f64>> = own.iter().filter_map(steps).collect();
    if steps.is_empty() {
        return None;
    }
    Some(Reach { median: median_with_never(&steps), reached: steps.iter().flatten().count(), of: steps.len() })
}

/// Methods that have results, in the order of their first one.
pub fn methods_of(entries: &[Entry]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let names = entries.iter().map(|entry| entry.result.method.clone());
    names.filter(|method| seen.insert(method.clone())).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn entry(method: &str, seed: u64, logs: [f64; 3]) -> Entry {
        let axes = json!({"epsilon": 0.5}).as_object().cloned().unwrap();
        let curve: Vec<(f64, f64)> = logs.iter().enumerate().map(|(i, log)| (10.0 * i as f64, log.exp())).collect();
        let result = RunResult {
            run: format!("{method}-{seed}"),
            method: method.into(),
            model: "m".into(),
            dataset: "d".into(),
            axes,
            seed,
            perplexity_before: Some(logs[0].exp()),
            perplexity_after: Some(logs[2].exp()).filter(|value| value.is_finite()),
            steps: 20,
            epsilon: 0.5,
            epsilon_spent: 0.49,
            verified: true,
            guarantee: true,
            roles: Vec::new(),
            seconds: 1.0,
        };
        Entry { result, curve }
    }

    fn entries() -> Vec<Entry> {
        vec![
            entry("fixed", 1, [3.0, 2.5, 2.0]),
            entry("sac", 1, [3.0, 2.0, 1.9]),
            entry("fixed", 2, [3.0, 2.6, 2.2]),
            entry("sac", 2, [3.0, 2.4, 2.0]),
            entry("sac", 3, [3.0, 2.4, f64::INFINITY]),
        ]
    }

    /// By hand: differences −0.1 and −0.2, so mean −0.15, deviation 0.0707107, half width 12.7062 · 0.05 = 0.63531; two of
    /// the four sign assignments are as extreme; seed 1 reaches 2.0 at step 10, seed 2 reaches 2.2 half-way to 20.
    #[test]
    fn methods_are_paired_by_seed_with_the_baseline() {
        let cells = summarize(&entries(), &["fixed".into(), "sac".into()], "fixed");
        assert_eq!(cells.len(), 1);
        assert_eq!(cells[0].axes, "epsilon=0.5");
        let sac = &cells[0].methods[1];
        assert_eq!((sac.runs, sac.diverged, sac.guaranteed), (3, 1, 3));
        let difference = sac.difference.as_ref().unwrap();
        assert!((difference.log_ratio.mean + 0.15).abs() < 1e-12);
        assert!((difference.log_ratio.half_width.unwrap() - 0.635_310_2).abs() < 1e-6);
        assert!((difference.percent() - 100.0 * ((-0.15_f64).exp() - 1.0)).abs() < 1e-9);
        assert_eq!(difference.p, Some(0.5));
        let reach = sac.reach.unwrap();
        assert_eq!((reach.reached, reach.of), (2, 2));
        assert!((reach.median.unwrap() - 12.5).abs() < 1e-6, "{reach:?}");
        let fixed = &cells[0].methods[0];
        assert!(fixed.difference.is_none());
        assert!((fixed.reach.unwrap().median.unwrap() - 20.0).abs() < 1e-6);
    }

    #[test]
    fn the_table_and_the_csv_say_what_is_missing() {
        let cells = summarize(&entries(), &methods_of(&entries()), "fixed");
        let text = table(&cells);
        assert!(text.contains("sac") && text.contains("1 diverged") && text.contains("-13.9"), "{text}");
        let csv = csv(&cells);
        assert_eq!(csv.lines().count(), 3, "{csv}");
        let columns = |line: &str| line.split(',').count();
        assert!(csv.lines().all(|line| columns(line) == columns(csv.lines().next().unwrap())), "{csv}");
        let alone = summarize(&entries()[1..2], &["sac".into()], "fixed");
        assert!(alone[0].methods[0].difference.is_none() && alone[0].methods[0].reach.is_none());
    }
}
