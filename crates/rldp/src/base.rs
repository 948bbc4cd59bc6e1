//! The base model's files by their digests: with which weights and tokenizer a run worked.

use std::{collections::BTreeSet, path::Path};

use anyhow::Result;
use rldp_model::ModelSource;
use rldp_privacy::Digests;
use rldp_train::digest_of_file;

use crate::hub;

/// Text files that decide what a model computes and how text becomes tokens.
const TEXTS: [&str; 6] = [
    "config.json",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// What stands before the names of a base model's files.
pub(crate) const PREFIX: &str = "base/";

/// Digests of what `model`, a directory or a GGUF file, holds. Those of weights are the ones that the Hugging Face hub shows.
pub(crate) fn digests(model: &Path) -> Result<Digests> {
    let (folder, names) = if model.is_dir() {
        let mut names: BTreeSet<String> = TEXTS.iter().map(ToString::to_string).collect();
        for entry in fs_err::read_dir(model)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if Path::new(&name).extension().is_some_and(|extension| extension == "safetensors") {
                names.insert(name);
            }
        }
        (model, names)
    } else {
        let folder = model.parent().unwrap_or(Path::new(""));
        let name = model.file_name().map(|name| name.to_string_lossy().into_owned());
        // A tokenizer beside a GGUF file stands in for the one inside.
        (folder, name.into_iter().chain(TEXTS[2..].iter().map(ToString::to_string)).collect())
    };
    let there = names.into_iter().filter(|name| folder.join(name).is_file());
    there.map(|name| Ok((format!("{PREFIX}{name}"), digest_of_file(&folder.join(&name))?))).collect()
}

/// The same of what a run's settings name, when it is on this machine; nothing is fetched.
pub(crate) fn local_digests(model: &Path) -> Result<Option<Digests>> {
    match ModelSource::classify(model) {
        ModelSource::Directory(path) => digests(&path).map(Some),
        ModelSource::Gguf(path) if path.exists() => digests(&path).map(Some),
        ModelSource::HubId(name) => hub::cached_directory(&name).map(|path| digests(&path)).transpose(),
        _ => Ok(None),
    }
}
