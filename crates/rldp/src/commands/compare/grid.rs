//! A grid: the file, and the runs it stands for.

use std::{collections::HashMap, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;
use rldp_lab::compare::Role;
use rldp_model::ModelConfig;
use rldp_train::{
    count_units,
    settings::{Given, Known, TrainSettings},
};
use serde::Deserialize;
use serde_json::Map;
use sha2::{Digest as _, Sha256};
use toml::{Table, Value};

use super::tuning::{Tuning, TuningFile};
use crate::{device, exit::Wrong, facade, models, progress::note};

/// Name of the only model or dataset when the grid lists none.
const UNNAMED: &str = "base";
/// Most runs of a grid.
const MOST_RUNS: usize = 100_000;
/// Longest readable part of a run's name.
const MOST_NAME_CHARS: usize = 100;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    paired: bool,
    baseline: Option<String>,
    #[serde(default)]
    base: Table,
    #[serde(default)]
    axes: Table,
    method: Vec<Named>,
    #[serde(default)]
    dataset: Vec<Named>,
    #[serde(default)]
    model: Vec<Named>,
    tuning: Option<TuningFile>,
}

/// A method, dataset or model: a name and settings.
#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    #[serde(flatten)]
    settings: Table,
}

/// A checked grid.
#[derive(Debug)]
pub(crate) struct Grid {
    /// Whether runs of a seed share batches and noise, and promise nothing.
    pub(crate) paired: bool,
    /// The method that others are compared with.
    pub(crate) baseline: String,
    base: Given,
    axes: Vec<(String, Vec<Value>)>,
    seeds: Vec<Value>,
    methods: Vec<(String, Given)>,
    datasets: Vec<(String, Given)>,
    models: Vec<(String, Given)>,
    tuning: Option<Tuning>,
}

/// One run of the plan.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) model: String,
    pub(crate) dataset: String,
    /// The axes but the seed.
    pub(crate) axes: Map<String, serde_json::Value>,
    /// What it is for under rules of tuning.
    pub(crate) roles: Vec<Role>,
    pub(crate) settings: TrainSettings,
}

impl Grid {
    /// Reads and checks a grid file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Wrong::input)?;
        Self::parse(&text, &path.display().to_string())
            .map_err(|error| if error.downcast_ref::<Wrong>().is_some() { error } else { Wrong::usage(error).into() })
    }

    /// Checks a grid's text; `source` says in errors where it stands.
    pub(crate) fn parse(text: &str, source: &str) -> Result<Self> {
        let file: File =
            toml::from_str(text).with_context(|| format!("{source} is not a grid; see docs/compare.md"))?;
        ensure!(!file.method.is_empty(), "{source}: there is no [[method]]; name at least one");
        let base = Given::from_table(file.base, &format!("{source}: [base]"))?;
        let methods = named(file.method, source, "method")?;
        let datasets = named(file.dataset, source, "dataset")?;
        let models = named(file.model, source, "model")?;
        let mut axes = axes(file.axes, source)?;
        let seeds = axes.iter().position(|(key, _)| key == "seed").map(|at| axes.remove(at).1).unwrap_or_default();
        let baseline = file.baseline.unwrap_or_else(|| methods[0].0.clone());
        let names: Vec<&str> = methods.iter().map(|(name, _)| name.as_str()).collect();
        ensure!(
            names.contains(&baseline.as_str()),
            "{source}: baseline is `{baseline}`, but the methods are {}; name one of them",
            names.join(", ")
        );
        let taken: Vec<&str> = axes.iter().map(|(key, _)| key.as_str()).chain(["seed"]).collect();
        let tuning = file.tuning.map(|tuning| Tuning::read(tuning, &taken, source)).transpose()?;
        let grid = Self { paired: file.paired, baseline, base, axes, seeds, methods, datasets, models, tuning };
        grid.check_overlaps(source)?;
        Ok(grid)
    }

    /// Names of the methods in the grid's order.
    pub(crate) fn methods(&self) -> Vec<String> {
        self.methods.iter().map(|(name, _)| name.clone()).collect()
    }

    /// How the number of runs comes about.
    pub(crate) fn shape(&self) -> String {
        let mut parts = vec![format!("{} methods", self.methods.len())];
        parts.push(format!("{} models", self.models.len()));
        parts.push(format!("{} datasets", self.datasets.len()));
        parts.extend(self.axes.iter().map(|(key, values)| format!("{} values of {key}", values.len())));
        parts.push(format!("{} seeds", self.seeds.len().max(1)));
        parts.extend(self.tuning.as_ref().map(Tuning::shape));
        parts.join(" × ")
    }

    /// A setting that is an axis or the comparison's own must not be set elsewhere, or labels would lie.
    fn check_overlaps(&self, source: &str) -> Result<()> {
        let all = || {
            let groups = [("method", &self.methods), ("dataset", &self.datasets), ("model", &self.models)];
            let each =
                groups.into_iter().flat_map(|(kind, group)| group.iter().map(move |(name, given)| (kind, name, given)));
            each.map(|(kind, name, given)| (format!("{kind} `{name}`"), given))
        };
        let keys = self.axes.iter().map(|(key, _)| key.as_str()).chain((!self.seeds.is_empty()).then_some("seed"));
        for key in keys {
            if let Some((owner, _)) = all().find(|(_, given)| given.has(key)) {
                bail!("{source}: `{key}` is an axis and also set by {owner}; keep one of the two");
            }
        }
        let mut own = vec![("out", "the comparison names the run folders")];
        if self.paired {
            own.push(("unsafe_noise_seed", "`paired = true` derives it from the seed"));
        }
        for (key, why) in own {
            let axis = self.axes.iter().any(|(axis, _)| axis == key);
            if axis || self.base.has(key) || all().any(|(_, given)| given.has(key)) {
                bail!("{source}: `{key}` must not be set in a grid: {why}; remove it");
            }
        }
        Ok(())
    }

    /// All runs, with folders under `out`. Seeds vary slowest, so that early results already compare all methods.
    pub(crate) fn expand(&self, out: &Path) -> Result<Vec<Planned>> {
        self.check_size()?;
        let seeds: Vec<Option<&Value>> =
            if self.seeds.is_empty() { vec![None] } else { self.seeds.iter().map(Some).collect() };
        let (mut runs, mut known) = (Vec::new(), KnownFacts::default());
        for seed in seeds {
            for (model, model_given) in &self.models {
                for (dataset, dataset_given) in &self.datasets {
                    for point in points(&self.axes) {
                        for (method, method_given) in &self.methods {
                            let mut given = self.base.clone();
                            for over in [model_given, dataset_given, method_given] {
                                given.overlay(over.clone());
                            }
                            given.set("seed", seed.cloned());
                            let labels = [method.as_str(), model, dataset];
                            runs.extend(self.planned(&given, labels, &point, out, &mut known)?);
                        }
                    }
                }
            }
        }
        refuse_doubles(&runs)?;
        Ok(runs)
    }

    /// A grid is counted before it is made.
    fn check_size(&self) -> Result<()> {
        let groups = [self.methods.len(), self.datasets.len(), self.models.len(), self.seeds.len().max(1)];
        let axes = self.axes.iter().map(|(_, values)| values.len());
        let runs = groups.into_iter().chain(axes).fold(1_usize, usize::saturating_mul);
        ensure!(
            runs <= MOST_RUNS,
            Wrong::usage(anyhow::anyhow!(
                "{} are {runs} runs, but a grid may have at most {MOST_RUNS}; shorten an axis or divide the grid",
                self.shape()
            ))
        );
        Ok(())
    }

    /// The runs of one method in one place of the grid: one, or as many as the rules of tuning ask for.
    fn planned(
        &self,
        given: &Given,
        labels: [&str; 3],
        point: &[(&str, &Value)],
        out: &Path,
        known: &mut KnownFacts,
    ) -> Result<Vec<Planned>> {
        let [method, model, dataset] = labels;
        let context = format!("method `{method}`, model `{model}`, dataset `{dataset}`");
        let axes: Map<String, serde_json::Value> = point
            .iter()
            .map(|(key, value)| Ok(((*key).to_owned(), serde_json::to_value(value)?)))
            .collect::<Result<_>>()?;
        let mut resolve = |more: &[(&str, &Value)]| {
            let mut given = given.clone();
            point.iter().chain(more).for_each(|(key, value)| given.set(key, Some((*value).clone())));
            self.resolved(given, &context, known)
        };
        let settings = resolve(&[])?;
        let runs = match &self.tuning {
            None => vec![(settings, None)],
            Some(tuning) => {
                let candidates = tuning.candidates().into_iter();
                let candidates = candidates.map(|one| Ok((one.text, resolve(&one.values)?)));
                let runs = tuning.runs(&settings, &candidates.collect::<Result<Vec<_>>>()?).map_err(Wrong::usage)?;
                runs.into_iter().map(|(settings, role)| (settings, Some(role))).collect()
            }
        };
        let mut planned: Vec<Planned> = Vec::with_capacity(runs.len());
        for (mut settings, role) in runs {
            let name = name(&settings, labels, &axes)?;
            // What two rules ask for is run once.
            if let Some(same) = planned.iter_mut().find(|run| run.name == name) {
                same.roles.extend(role);
                continue;
            }
            settings.output.out = out.join("runs").join(&name);
            let [method, model, dataset] = labels.map(str::to_owned);
            let (axes, roles) = (axes.clone(), role.into_iter().collect());
            planned.push(Planned { name, method, model, dataset, axes, roles, settings });
        }
        Ok(planned)
    }

    fn resolved(&self, mut given: Given, context: &str, known: &mut KnownFacts) -> Result<TrainSettings> {
        given.set("out", Some(String::new()));
        let mut settings = known.resolve(given).map_err(|error| Wrong::usage(error.context(context.to_owned())))?;
        if self.paired {
            settings.privacy.unsafe_noise_seed = Some(settings.seed);
        }
        ensure!(
            settings.data.eval.is_some(),
            Wrong::usage(anyhow::anyhow!("{context}: there is no `eval`; name public records to compare on"))
        );
        Ok(settings)
    }
}

/// Models that were opened and records that were counted, once for all runs.
#[derive(Default)]
struct KnownFacts {
    configs: HashMap<String, Option<ModelConfig>>,
    units: HashMap<String, f64>,
}

impl KnownFacts {
    fn resolve(&mut self, given: Given) -> Result<TrainSettings> {
        let Self { configs, units } = self;
        let path = given.text("model").unwrap_or_default();
        let config = configs.entry(path.clone()).or_insert_with(|| config_of(&path)).as_ref();
        let given = facade::located(given, config)?;
        let units = if given.needs_units() && given.has("train") {
            let data = given.data()?;
            let key = format!("{data:?}");
            if !units.contains_key(&key) {
                units.insert(key.clone(), count_units(&data)?);
            }
            units.get(&key).copied()
        } else {
            None
        };
        let card = device::is_card(given.text("device").as_deref());
        Ok(given.resolve(&Known { model: config, units, card })?)
    }
}

fn named(list: Vec<Named>, source: &str, kind: &str) -> Result<Vec<(String, Given)>> {
    let mut found: Vec<(String, Given)> = Vec::new();
    for Named { name, settings } in list {
        ensure!(!name.is_empty(), "{source}: a [[{kind}]] has an empty name; name it");
        ensure!(
            found.iter().all(|(other, _)| *other != name),
            "{source}: two [[{kind}]] are named `{name}`; rename one"
        );
        let given = Given::from_table(settings, &format!("{source}: {kind} `{name}`"))?;
        found.push((name, given));
    }
    if found.is_empty() {
        found.push((UNNAMED.to_owned(), Given::default()));
    }
    Ok(found)
}

pub(super) fn axes(table: Table, source: &str) -> Result<Vec<(String, Vec<Value>)>> {
    let mut axes = Vec::new();
    for (key, value) in table {
        let name = key.replace('-', "_");
        let Value::Array(values) = value else {
            bail!("{source}: axis `{key}` is not a list; write `{key} = [...]`, or set it in [base]");
        };
        ensure!(!values.is_empty(), "{source}: axis `{key}` has no values; give at least one or remove it");
        // The code that knows all settings says whether this is one.
        Given::from_table(Table::from_iter([(key.clone(), values[0].clone())]), &format!("{source}: [axes]"))?;
        let twice = values.iter().enumerate().find(|(at, value)| values[..*at].contains(value));
        ensure!(twice.is_none(), "{source}: axis `{key}` has the same value twice; remove one");
        axes.push((name, values));
    }
    Ok(axes)
}

/// Every combination of the axes' values.
pub(super) fn points(axes: &[(String, Vec<Value>)]) -> Vec<Vec<(&str, &Value)>> {
    let mut points = vec![Vec::new()];
    for (key, values) in axes {
        let shorter = std::mem::take(&mut points);
        for point in shorter {
            for value in values {
                let mut longer = point.clone();
                longer.push((key.as_str(), value));
                points.push(longer);
            }
        }
    }
    points
}

fn config_of(model: &str) -> Option<ModelConfig> {
    let config = models::files(Path::new(model)).ok().map(|files| files.config);
    if config.is_none() && !model.is_empty() {
        note("warning", &format!("{model} cannot be opened as a model; its runs are planned with general defaults"));
    }
    config
}

/// A readable name and a hash of every resolved setting but the folder: the same settings are the same run.
fn name(settings: &TrainSettings, labels: [&str; 3], axes: &Map<String, serde_json::Value>) -> Result<String> {
    let hash = Sha256::digest(serde_json::to_string(settings)?.as_bytes());
    let hash: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let parts = labels.into_iter().filter(|label| *label != UNNAMED).map(str::to_owned);
    let values =
        axes.iter().map(|(key, value)| format!("{key}-{}", value.as_str().map_or(value.to_string(), str::to_owned)));
    let readable: String = parts.chain(values).chain([format!("seed-{}", settings.seed)]).collect::<Vec<_>>().join("_");
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let readable: String = readable.chars().map(plain).take(MOST_NAME_CHARS).collect();
    Ok(format!("{}_{hash}", readable.trim_start_matches('.')))
}

fn refuse_doubles(runs: &[Planned]) -> Result<()> {
    let mut seen: HashMap<String, &Planned> = HashMap::new();
    for run in runs {
        let mut settings = run.settings.clone();
        settings.output.out = std::path::PathBuf::new();
        if let Some(other) = seen.insert(serde_json::to_string(&settings)?, run) {
            bail!(Wrong::usage(anyhow::anyhow!(
                "{} and {} have the same settings; a comparison needs a difference, so change or remove one",
                other.name,
                run.name
            )));
        }
    }
    Ok(())
}
