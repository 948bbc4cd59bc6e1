//! Rules of tuning: which further runs they ask for, and what each run is for.

use anyhow::{Result, bail, ensure};
use rldp_lab::compare::{Role, Rule};
use rldp_train::settings::{RegimeKind, TrainSettings};
use serde::Deserialize;
use toml::{Table, Value};

use super::grid::{axes, points};

/// Settings that may be tuned: none of them changes the sampling rate, so that trials and final run share one accountant.
const TUNABLE: [&str; 5] = ["learning_rate", "decay", "beta1", "clip_norm", "steps"];

/// `[tuning]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TuningFile {
    rules: Vec<Rule>,
    #[serde(default = "default_fraction")]
    fraction: f64,
    #[serde(default)]
    values: Table,
}

/// A trial within the budget makes a quarter of the steps.
fn default_fraction() -> f64 {
    0.25
}

/// The rules of a grid, and their candidates.
#[derive(Debug)]
pub(super) struct Tuning {
    rules: Vec<Rule>,
    fraction: f64,
    values: Vec<(String, Vec<Value>)>,
}

/// Settings of a candidate, and in words.
pub(super) struct Candidate<'a> {
    pub(super) values: Vec<(&'a str, &'a Value)>,
    pub(super) text: String,
}

impl Tuning {
    /// Checks a `[tuning]` table; `taken` are the grid's axes.
    pub(super) fn read(file: TuningFile, taken: &[&str], source: &str) -> Result<Self> {
        let values = axes(file.values, &format!("{source}: [tuning.values]"))?;
        for (key, _) in &values {
            if !TUNABLE.contains(&key.as_str()) {
                bail!("{source}: `{key}` cannot be tuned; a rule may choose {}", TUNABLE.join(", "));
            }
            ensure!(!taken.contains(&key.as_str()), "{source}: `{key}` is an axis and tuned; keep one of the two");
        }
        ensure!(!file.rules.is_empty(), "{source}: [tuning] has no rules; name default, within-budget or hindsight");
        let tunes = file.rules.iter().any(|rule| *rule != Rule::Default);
        ensure!(
            !tunes || !values.is_empty(),
            "{source}: [tuning.values] is empty; list values of {}",
            TUNABLE.join(", ")
        );
        ensure!(
            file.fraction > 0.0 && file.fraction <= 1.0,
            "{source}: `fraction` is {}, but must be above 0 and at most 1",
            file.fraction
        );
        Ok(Self { rules: file.rules, fraction: file.fraction, values })
    }

    /// For the plan's last line.
    pub(super) fn shape(&self) -> String {
        let names: Vec<&str> = self.rules.iter().map(|rule| rule.name()).collect();
        format!("tuning {} over {} candidates", names.join(", "), points(&self.values).len())
    }

    /// Every combination of the tuned values.
    pub(super) fn candidates(&self) -> Vec<Candidate<'_>> {
        let text = |(key, value): &(&str, &Value)| {
            format!("{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        let candidate = |values: Vec<(&'_ str, &'_ Value)>| values.iter().map(text).collect::<Vec<_>>().join(" ");
        points(&self.values).into_iter().map(|values| Candidate { text: candidate(values.clone()), values }).collect()
    }

    /// The runs that the rules ask for in one place of the grid, with their roles: `given` are its settings, `candidates`
    /// the same with each candidate's.
    ///
    /// Within the budget, all trials and the longest final run are charged together: every one of them has the noise of a
    /// run of all their steps. A final run stands there for each candidate, since which one is wanted is known only later;
    /// one of them would have been made.
    pub(super) fn runs(
        &self,
        given: &TrainSettings,
        candidates: &[(String, TrainSettings)],
    ) -> Result<Vec<(TrainSettings, Role)>> {
        let of = candidates.len();
        let role = |rule, candidate: &str, trial| Role { rule, candidate: candidate.to_owned(), trial, of };
        let mut runs = Vec::new();
        for rule in &self.rules {
            match rule {
                Rule::Default => runs.push((given.clone(), role(*rule, "", false))),
                Rule::Hindsight => {
                    runs.extend(candidates.iter().map(|(text, s)| (s.clone(), role(*rule, text, false))));
                }
                Rule::WithinBudget => {
                    ensure!(
                        candidates.iter().all(|(_, s)| s.privacy.regime == RegimeKind::Committed),
                        "tuning within the budget needs `regime = \"committed\"`: trials and final run share noise that \
                         is fixed in advance"
                    );
                    ensure!(
                        candidates.iter().all(|(_, s)| s.privacy.batch_size == given.privacy.batch_size),
                        "tuning within the budget needs one batch size for all: give `batch_size`, which otherwise follows from the \
                         number of steps"
                    );
                    let trial = |s: &TrainSettings| ((s.privacy.steps as f64 * self.fraction).ceil() as u64).max(1);
                    let trials: u64 = candidates.iter().map(|(_, s)| trial(s)).sum();
                    let longest = candidates.iter().map(|(_, s)| s.privacy.steps).max().unwrap_or(0);
                    let covered = trials + longest;
                    for (text, settings) in candidates {
                        for (steps, is_trial) in [(trial(settings), true), (settings.privacy.steps, false)] {
                            let mut settings = settings.clone();
                            (settings.privacy.steps, settings.privacy.other_steps) = (steps, covered - steps);
                            runs.push((settings, role(*rule, text, is_trial)));
                        }
                    }
                }
            }
        }
        Ok(runs)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::super::grid::{Grid, Planned};
    use super::*;

    const GRID: &str = r#"
[base]
model = "no-such-model"
train = "train.csv"
eval = "eval.csv"
epsilon = 2.0
delta = 1e-5
steps = 40
batch_size = 32.0
learning_rate = 0.01
[axes]
seed = [1, 2]
[tuning]
rules = ["default", "within-budget", "hindsight"]
[tuning.values]
learning_rate = [0.01, 0.02]
steps = [40, 80]
[[method]]
name = "fixed"
controller = "fixed"
"#;

    fn expand(text: &str) -> Vec<Planned> {
        Grid::parse(text, "grid").unwrap().expand(Path::new("out")).unwrap()
    }

    fn refusal(text: &str) -> String {
        format!("{:#}", Grid::parse(text, "grid").and_then(|grid| grid.expand(Path::new("out"))).unwrap_err())
    }

    /// A seed: four candidates at full budget, of which the default is one, and four trials with four final runs.
    #[test]
    fn runs_that_rules_share_are_planned_once() {
        let runs = expand(GRID);
        assert_eq!(runs.len(), 2 * (4 + 8));
        let names: BTreeSet<&str> = runs.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names.len(), runs.len());
        let shared: Vec<&Planned> = runs.iter().filter(|run| run.roles.len() == 2).collect();
        assert_eq!(shared.len(), 2);
        assert!(
            shared
                .iter()
                .all(|run| run.settings.privacy.steps == 40 && run.settings.optimizer.learning_rate == Some(0.01))
        );
    }

    /// Trials of 10 and 20 steps, twice each, and a final run of at most 80: 140 steps under one epsilon.
    #[test]
    fn trials_and_final_run_are_charged_together() {
        let of_budget = |run: &&Planned| run.roles.iter().any(|role| role.rule == Rule::WithinBudget);
        let runs = expand(GRID);
        let runs: Vec<&Planned> = runs.iter().filter(of_budget).collect();
        assert_eq!(runs.len(), 16);
        for run in runs {
            let privacy = &run.settings.privacy;
            assert_eq!(privacy.steps + privacy.other_steps, 140, "{}", run.name);
            assert_eq!(run.roles[0].trial, [10, 20].contains(&privacy.steps), "{}", run.name);
        }
    }

    #[test]
    fn what_cannot_be_tuned_is_refused_by_name() {
        for (text, says) in [
            (GRID.replace("steps = [40, 80]", "batch_size = [8.0, 16.0]"), "`batch_size` cannot be tuned"),
            (GRID.replace("seed = [1, 2]", "seed = [1, 2]\nsteps = [40]"), "`steps` is an axis and tuned"),
            (GRID.replace("[\"default\", \"within-budget\", \"hindsight\"]", "[]"), "no rules"),
            (GRID.replace("[tuning]", "[tuning]\nfraction = 0.0"), "`fraction` is 0"),
            (GRID.replace("delta = 1e-5", "delta = 1e-5\nregime = \"adaptive\""), "regime = \"committed\""),
            (GRID.replace("\"hindsight\"", "\"foresight\""), "foresight"),
        ] {
            let refused = refusal(&text);
            assert!(refused.contains(says), "{refused}");
        }
    }
}
