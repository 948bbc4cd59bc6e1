//! The reduction of a tuned comparison: which runs a tuning rule reports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Entry, last_log};

/// A declared way of choosing settings, the same for every method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Settings as they stand in the grid.
    Default,
    /// The best of the candidates by short private runs, which share one epsilon with the final run.
    WithinBudget,
    /// The best of the candidates at full budget each, chosen for nothing after the fact.
    Hindsight,
}

impl Rule {
    /// As grids and tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::WithinBudget => "within-budget",
            Self::Hindsight => "hindsight",
        }
    }
}

/// What a run is for under a rule. A run may be for several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// The rule.
    pub rule: Rule,
    /// The candidate's settings, such as `clip_norm=0.1`.
    pub candidate: String,
    /// Whether it only helps to choose, and is not reported.
    pub trial: bool,
    /// Number of candidates.
    pub of: usize,
}

/// What a rule chose for a method.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Model.
    pub model: String,
    /// Dataset.
    pub dataset: String,
    /// The axes but the seed, as text.
    pub axes: String,
    /// Method.
    pub method: String,
    /// The rule.
    pub rule: Rule,
    /// The candidate.
    pub candidate: String,
    /// Seeds for which it was chosen.
    pub seeds: usize,
}

/// Method, model, dataset, axes.
type Group = (String, String, String, String);

/// Runs as the rules report them, with the rule as a further axis, and what was chosen. Without roles, everything as it is.
///
/// Within a budget, each seed is a world of its own: its trials choose its final run, by perplexity on the file that the
/// grid declares public. A seed whose trials are not all there is left out, since a choice among some is not the rule's.
/// In hindsight, one candidate is chosen for all seeds, by mean log-perplexity over those seeds that all candidates have.
pub fn reduce(entries: &[Entry]) -> (Vec<Entry>, Vec<Choice>) {
    if entries.iter().all(|entry| entry.result.roles.is_empty()) {
        return (entries.to_vec(), Vec::new());
    }
    let mut groups: BTreeMap<Group, Vec<&Entry>> = BTreeMap::new();
    let mut order = Vec::new();
    for entry in entries {
        let result = &entry.result;
        let key = (result.method.clone(), result.model.clone(), result.dataset.clone(), result.axes_text());
        if !groups.contains_key(&key) {
            order.push(key.clone());
        }
        groups.entry(key).or_default().push(entry);
    }
    let (mut reported, mut choices) = (Vec::new(), Vec::new());
    for rule in [Rule::Default, Rule::WithinBudget, Rule::Hindsight] {
        for group in &order {
            let chosen = choose(&groups[group], rule);
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for (entry, candidate) in &chosen {
                *counts.entry(candidate).or_default() += 1;
                reported.push(labelled(entry, rule));
            }
            let (method, model, dataset, axes) = group.clone();
            let counts = counts.into_iter().filter(|_| rule != Rule::Default);
            choices.extend(counts.map(|(candidate, seeds)| Choice {
                model: model.clone(),
                dataset: dataset.clone(),
                axes: axes.clone(),
                method: method.clone(),
                rule,
                candidate: candidate.to_owned(),
                seeds,
            }));
        }
    }
    (reported, choices)
}

fn labelled(entry: &Entry, rule: Rule) -> Entry {
    let mut entry = entry.clone();
    entry.result.axes.insert("tuning".into(), Value::from(rule.name()));
    entry
}

/// Runs that `rule` reports of one method in one cell, with their candidates.
fn choose<'a>(runs: &[&'a Entry], rule: Rule) -> Vec<(&'a Entry, &'a str)> {
    let of = |trial: bool| -> Vec<(&'a Entry, &'a Role)> {
        let role = move |entry: &'a Entry| entry.result.roles.iter().find(|r| r.rule == rule && r.trial == trial);
        runs.iter().filter_map(|entry| Some((*entry, role(entry)?))).collect()
    };
    let finals = of(false);
    match rule {
        Rule::Default => finals.into_iter().map(|(entry, role)| (entry, role.candidate.as_str())).collect(),
        Rule::WithinBudget => within_budget(&of(true), &finals),
        Rule::Hindsight => hindsight(&finals),
    }
}

/// Log-perplexity, where what diverged is worse than everything.
fn score(entry: &Entry) -> f64 {
    last_log(entry).unwrap_or(f64::INFINITY)
}

fn within_budget<'a>(trials: &[(&'a Entry, &'a Role)], finals: &[(&'a Entry, &'a Role)]) -> Vec<(&'a Entry, &'a str)> {
    let mut seeds: BTreeMap<u64, Vec<&(&Entry, &Role)>> = BTreeMap::new();
    for trial in trials {
        seeds.entry(trial.0.result.seed).or_default().push(trial);
    }
    let chosen = |(seed, trials): (u64, Vec<&(&'a Entry, &'a Role)>)| {
        let best = trials.iter().min_by(|a, b| score(a.0).total_cmp(&score(b.0)))?;
        let whole = trials.len() == best.1.of;
        let same = |(entry, role): &&(&'a Entry, &'a Role)| {
            entry.result.seed == seed && role.candidate == best.1.candidate && whole
        };
        finals.iter().find(same).map(|(entry, role)| (*entry, role.candidate.as_str()))
    };
    seeds.into_iter().filter_map(chosen).collect()
}

fn hindsight<'a>(finals: &[(&'a Entry, &'a Role)]) -> Vec<(&'a Entry, &'a str)> {
    let mut seeds: BTreeMap<u64, usize> = BTreeMap::new();
    finals.iter().for_each(|(entry, _)| *seeds.entry(entry.result.seed).or_default() += 1);
    let whole: Vec<_> = finals.iter().filter(|(entry, role)| seeds[&entry.result.seed] == role.of).collect();
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    whole.iter().for_each(|(entry, role)| *sums.entry(&role.candidate).or_default() += score(entry));
    let Some((best, _)) = sums.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)) else { return Vec::new() };
    let own = whole.into_iter().filter(|(_, role)| role.candidate == best);
    own.map(|(entry, role)| (*entry, role.candidate.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::entry, *};

    fn run(seed: u64, log: f64, roles: &[(Rule, &str, bool)]) -> Entry {
        let mut entry = entry("fixed", seed, [3.0, 2.5, log]);
        let role = |(rule, candidate, trial): &(Rule, &str, bool)| Role {
            rule: *rule,
            candidate: (*candidate).to_owned(),
            trial: *trial,
            of: 2,
        };
        entry.result.roles = roles.iter().map(role).collect();
        entry
    }

    /// Two candidates, two seeds. Trials say b for seed 1 and a for seed 2; in hindsight b is better on average.
    #[test]
    fn each_rule_reports_the_runs_it_may() {
        use Rule::{Default, Hindsight, WithinBudget};
        let entries = [
            run(1, 2.0, &[(Default, "", false), (Hindsight, "a", false)]),
            run(2, 1.9, &[(Default, "", false), (Hindsight, "a", false)]),
            run(1, 1.0, &[(Hindsight, "b", false)]),
            run(2, 2.5, &[(Hindsight, "b", false)]),
            run(1, 2.7, &[(WithinBudget, "a", true)]),
            run(1, 2.6, &[(WithinBudget, "b", true)]),
            run(2, 2.7, &[(WithinBudget, "a", true)]),
            run(2, f64::INFINITY, &[(WithinBudget, "b", true)]),
            run(1, 2.2, &[(WithinBudget, "a", false)]),
            run(1, 2.1, &[(WithinBudget, "b", false)]),
            run(2, 2.3, &[(WithinBudget, "a", false)]),
            run(2, 2.4, &[(WithinBudget, "b", false)]),
        ];
        let (reported, choices) = reduce(&entries);
        let found: Vec<(String, u64, f64)> = reported
            .iter()
            .map(|entry| (entry.result.axes["tuning"].as_str().unwrap().to_owned(), entry.result.seed, score(entry)))
            .collect();
        let want = [("default", 1, 2.0), ("default", 2, 1.9), ("within-budget", 1, 2.1), ("within-budget", 2, 2.3)];
        let want = want.into_iter().chain([("hindsight", 1, 1.0), ("hindsight", 2, 2.5)]);
        for ((rule, seed, log), want) in found.iter().zip(want) {
            assert_eq!((rule.as_str(), *seed), (want.0, want.1));
            assert!((log - want.2).abs() < 1e-9, "{found:?}");
        }
        assert_eq!(found.len(), 6);
        let chosen: Vec<_> = choices.iter().map(|c| (c.rule, c.candidate.as_str(), c.seeds)).collect();
        assert_eq!(chosen, [(WithinBudget, "a", 1), (WithinBudget, "b", 1), (Hindsight, "b", 2)]);
        // A seed without all of its trials chooses nothing, and hindsight looks at whole seeds only.
        let (reported, _) = reduce(&entries[..5]);
        assert!(reported.iter().all(|entry| entry.result.axes["tuning"] != "within-budget"));
        let (reported, _) = reduce(&entries[..3]);
        let hindsight: Vec<u64> =
            reported.iter().filter(|e| e.result.axes["tuning"] == "hindsight").map(|e| e.result.seed).collect();
        assert_eq!(hindsight, [1]);
    }

    #[test]
    fn without_rules_everything_is_reported() {
        let entries = [run(1, 2.0, &[])];
        let (reported, choices) = reduce(&entries);
        assert!(reported.len() == 1 && choices.is_empty() && !reported[0].result.axes.contains_key("tuning"));
    }
}
