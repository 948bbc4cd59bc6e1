//! Expansion of grids: counts, stable names, refusals.

use std::{collections::BTreeSet, path::Path};

use super::grid::{Grid, Planned};

const GRID: &str = r#"
baseline = "fixed"
[base]
model = "no-such-model"
train = "train.csv"
eval = "eval.csv"
delta = 1e-5
[base.privacy]
steps = 7
batch_size = 32.0
[axes]
epsilon = [0.5, 2.0]
seed = [1, 2, 3]
[[method]]
name = "fixed"
controller = "fixed"
[[method]]
name = "flat"
controller = "fixed"
clipping = "flat"
[[dataset]]
name = "notes"
[[dataset]]
name = "mail & chats"
train = "mail.csv"
text-column = "body"
"#;

fn expand(text: &str) -> Vec<Planned> {
    Grid::parse(text, "grid").unwrap().expand(Path::new("out")).unwrap()
}

fn refusal(text: &str) -> String {
    let refused = Grid::parse(text, "grid").and_then(|grid| grid.expand(Path::new("out")));
    format!("{:#}", refused.map(|runs| runs.len()).unwrap_err())
}

#[test]
fn every_combination_is_planned_once_with_its_settings() {
    let runs = expand(GRID);
    assert_eq!(runs.len(), 2 * 2 * 2 * 3);
    let names: BTreeSet<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    assert_eq!(names.len(), runs.len());
    let plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    assert!(names.iter().all(plain), "{names:?}");
    assert!(runs.iter().all(|run| run.settings.privacy.steps == 7 && run.settings.privacy.unsafe_noise_seed.is_none()));
    assert!(runs.iter().all(|run| run.settings.output.out == Path::new("out/runs").join(&run.name)));
    let last = runs.last().unwrap();
    assert_eq!((last.method.as_str(), last.dataset.as_str(), last.settings.seed), ("flat", "mail & chats", 3));
    assert_eq!(last.settings.data.text_column.as_deref(), Some("body"));
    assert_eq!(last.settings.privacy.epsilon, 2.0);
    assert_eq!(last.axes["epsilon"], 2.0);
    // Seeds vary slowest: the first third already compares everything.
    assert!(runs[..8].iter().all(|run| run.settings.seed == 1));
}

#[test]
fn names_depend_on_settings_and_on_nothing_else() {
    let (before, elsewhere) = (expand(GRID), Grid::parse(GRID, "x").unwrap().expand(Path::new("other")).unwrap());
    assert!(before.iter().zip(&elsewhere).all(|(one, two)| one.name == two.name));
    let longer = expand(&GRID.replace("seed = [1, 2, 3]", "seed = [4, 3, 2, 1]"));
    let names: BTreeSet<&str> = longer.iter().map(|run| run.name.as_str()).collect();
    assert!(before.iter().all(|run| names.contains(run.name.as_str())), "adding seeds keeps the runs there are");
    let changed = expand(&GRID.replace("steps = 7", "steps = 8"));
    assert!(before.iter().zip(&changed).all(|(one, two)| one.name != two.name));
}

#[test]
fn paired_grids_derive_the_noise_from_the_seed() {
    let runs = expand(&format!("paired = true\n{GRID}"));
    assert!(runs.iter().all(|run| run.settings.privacy.unsafe_noise_seed == Some(run.settings.seed)));
}

#[test]
fn a_grid_without_axes_is_one_run_a_method() {
    let runs = expand(
        &GRID
            .replace("epsilon = [0.5, 2.0]", "")
            .replace("seed = [1, 2, 3]", "")
            .replace("delta = 1e-5", "delta = 1e-5\nepsilon = 1.0"),
    );
    assert_eq!(runs.len(), 4);
    assert!(runs.iter().all(|run| run.axes.is_empty() && run.settings.seed == 0));
}

#[test]
fn what_is_unknown_or_contradictory_is_refused_by_name() {
    let cases = [
        (GRID.replace("delta = 1e-5", "delta = 1e-5\nepsilom = 3"), "epsilom"),
        (GRID.replace("steps = 7", "stepz = 7"), "stepz"),
        (GRID.replace("clipping = \"flat\"", "cliping = \"flat\""), "cliping"),
        (GRID.replace("epsilon = [", "epsilons = ["), "epsilons"),
        (GRID.replace("[base]", "[bases]"), "bases"),
        (GRID.replace("epsilon = [0.5, 2.0]", "epsilon = 0.5"), "not a list"),
        (GRID.replace("[0.5, 2.0]", "[0.5, 0.5]"), "same value twice"),
        (GRID.replace("[0.5, 2.0]", "[0.5, -2.0]"), "epsilon is -2"),
        (GRID.replace("clipping = \"flat\"", "epsilon = 3.0"), "an axis and also set by method `flat`"),
        (GRID.replace("clipping = \"flat\"", ""), "same settings"),
        (GRID.replace("name = \"flat\"", "name = \"fixed\""), "two [[method]]"),
        (GRID.replace("baseline = \"fixed\"", "baseline = \"best\""), "best"),
        (GRID.replace("eval = \"eval.csv\"", ""), "no `eval`"),
        (GRID.replace("delta = 1e-5", "delta = 1e-5\nout = \"run\""), "`out`"),
        (format!("paired = true\n{}", GRID.replace("steps = 7", "unsafe_noise_seed = 7")), "`unsafe_noise_seed`"),
    ];
    for (text, says) in cases {
        let refused = refusal(&text);
        assert!(refused.contains(says), "should say `{says}`: {refused}");
    }
}

#[test]
fn the_grids_that_come_with_the_source_plan() {
    for (text, count) in [
        (include_str!("../../../../../grids/small.toml"), 4),
        (include_str!("../../../../../grids/slice.toml"), 510),
        (include_str!("../../../../../grids/ceiling.toml"), 10),
        (include_str!("../../../../../grids/smollm2.toml"), 10),
        (include_str!("../../../../../grids/smollm2_geometry.toml"), 3),
        (include_str!("../../../../../grids/headroom.toml"), 68),
        (include_str!("../../../../../grids/tuned.toml"), 300),
        (include_str!("../../../../../grids/untuned.toml"), 150),
        (include_str!("../../../../../grids/short.toml"), 72),
        (include_str!("../../../../../grids/heuristics.toml"), 240),
        (include_str!("../../../../../grids/bands.toml"), 20),
        (include_str!("../../../../../grids/short_bands.toml"), 108),
        (include_str!("../../../../../grids/banking_tuned.toml"), 90),
        (include_str!("../../../../../grids/banking.toml"), 63),
        (include_str!("../../../../../grids/loss_bound.toml"), 60),
        (include_str!("../../../../../grids/smollm2_headroom.toml"), 20),
        (include_str!("../../../../../grids/smollm2_bands.toml"), 9),
        (include_str!("../../../../../grids/search.toml"), 24),
        (include_str!("../../../../../grids/scales.toml"), 40),
        (include_str!("../../../../../grids/few_steps.toml"), 20),
        (include_str!("../../../../../grids/paper.toml"), 1_600),
    ] {
        assert_eq!(expand(text).len(), count);
    }
}
