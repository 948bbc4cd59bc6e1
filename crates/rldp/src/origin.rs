//! Where a run was started: relative paths in its `config.toml` are meant from there, wherever it is taken up again.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use rldp_data::{is_in_memory, is_standard_input};
use rldp_model::ModelSource;
use rldp_train::{files, settings::TrainSettings};

use crate::exit::Wrong;

/// What a run's manifest says of the paths in its settings.
pub(crate) struct Origin {
    run: PathBuf,
    /// The folder in which it was started, where it is still there.
    folder: Option<PathBuf>,
    /// Whether its model came from the hub; unknown for runs of older versions.
    hub: Option<bool>,
}

impl Origin {
    /// Reads the manifest of a run.
    pub(crate) fn of(run: &Path) -> Self {
        let text = fs_err::read_to_string(run.join(files::MANIFEST)).unwrap_or_default();
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let folder = manifest["started_from"].as_str().and_then(|from| fs_err::canonicalize(run.join(from)).ok());
        let here = std::env::current_dir().ok();
        Self {
            run: run.to_owned(),
            folder: folder.filter(|folder| here.as_ref() != Some(folder)),
            hub: manifest["model"]["hub"].as_bool(),
        }
    }

    /// A path of the settings as it is reached from here.
    fn reached(&self, path: &Path) -> PathBuf {
        match &self.folder {
            Some(folder) if path.is_relative() && !is_standard_input(path) && !is_in_memory(path) => folder.join(path),
            _ => path.to_owned(),
        }
    }

    /// The model's path as it is reached from here; a name on the hub stays one.
    ///
    /// # Errors
    /// When the run's model was a path and is not there: it is not looked for on the hub.
    pub(crate) fn model(&self, model: &Path) -> Result<PathBuf> {
        let reached = self.reached(model);
        if self.hub == Some(true) || (self.hub.is_none() && !reached.exists()) {
            return Ok(model.to_owned());
        }
        match ModelSource::classify(&reached) {
            ModelSource::HubId(_) | ModelSource::Absent(_) => Err(Wrong::input(anyhow!(
                "the model of {} was {}, which is not there; say where it is with --model",
                self.run.display(),
                reached.display()
            ))
            .into()),
            _ => Ok(reached),
        }
    }

    /// The settings of the run with its files as they are reached from here, but for those that `given` says were named anew.
    ///
    /// # Errors
    /// When the model is lost.
    pub(crate) fn locate(&self, settings: &TrainSettings, given: impl Fn(&str) -> bool) -> Result<TrainSettings> {
        let mut located = settings.clone();
        if !given("model") {
            located.model.model = self.model(&settings.model.model)?;
        }
        if !given("adapter") {
            located.model.adapter = settings.model.adapter.as_deref().map(|path| self.reached(path));
        }
        if !given("after") {
            located.model.after = settings.model.after.as_deref().map(|path| self.reached(path));
        }
        if !given("train") {
            located.data.train = settings.data.train.located(|path| self.reached(path));
        }
        if !given("public") {
            located.data.public = settings.data.public.iter().map(|path| self.reached(path)).collect();
        }
        if !given("book") {
            located.output.book = settings.output.book.as_deref().map(|path| self.reached(path));
        }
        if !given("eval") {
            located.data.eval = settings.data.eval.as_deref().map(|path| self.reached(path));
        }
        Ok(located)
    }
}
