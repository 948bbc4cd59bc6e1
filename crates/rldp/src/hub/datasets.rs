//! Public data sets by their name on the hub: `hf://datasets/OWNER/NAME[@REVISION][/PATH]`, as `fsspec` and pandas write it.
//!
//! Without a path, training takes the files of the split `train` and evaluation that of `validation`, or else of `test`; a set with one
//! data file has no splits. What the cache has is not asked for again.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use hf_hub::{Cache, Repo, RepoType, api::sync::ApiBuilder};
use rldp_train::settings::Given;

use super::{cache_folder, get, has_extension, offline, token};
use crate::{exit::Wrong, progress::note};

const SCHEME: &str = "hf://datasets/";
/// Settings that name files of records, and the splits that are theirs.
const KEYS: [(&str, &[&str]); 3] = [("train", &["train"]), ("eval", &["validation", "test"]), ("public", &["train"])];

/// Puts files of the cache, fetched where it lacks them, in the place of data sets' names.
///
/// # Errors
/// When a data set is not there, or it is not clear which of its files is meant.
pub(crate) fn fetched(mut given: Given) -> Result<Given> {
    for (key, splits) in KEYS {
        let named = given.texts(key);
        if !named.iter().any(|name| name.starts_with(SCHEME)) {
            continue;
        }
        let mut files: Vec<toml::Value> = Vec::new();
        for name in named {
            let found = name
                .strip_prefix(SCHEME)
                .map_or_else(|| Ok(vec![name.clone().into()]), |rest| find(&name, rest, splits))?;
            files.extend(found.iter().map(|file: &PathBuf| file.display().to_string().into()));
        }
        if key == "eval" && files.len() > 1 {
            anyhow::bail!(Wrong::input(anyhow!(
                "{} files are of the split for --eval, which takes one; name it",
                files.len()
            )));
        }
        given.set(key, if key == "eval" { files.pop() } else { Some(files.into()) });
    }
    Ok(given)
}

struct Named<'a> {
    id: String,
    revision: &'a str,
    path: Option<String>,
}

impl<'a> Named<'a> {
    fn parse(rest: &'a str) -> Option<Self> {
        let mut parts = rest.split('/').filter(|part| !part.is_empty());
        let (owner, name) = (parts.next()?, parts.next()?);
        let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
        let path: Vec<&str> = parts.collect();
        let climbs = path.contains(&"..");
        let path = (!path.is_empty()).then(|| path.join("/"));
        (!climbs).then(|| Self { id: format!("{owner}/{name}"), revision, path })
    }
}

fn find(whole: &str, rest: &str, splits: &[&str]) -> Result<Vec<PathBuf>> {
    let Some(named) = Named::parse(rest) else {
        anyhow::bail!(Wrong::input(anyhow!("{whole} is not hf://datasets/OWNER/NAME[@REVISION][/PATH]")));
    };
    let repo = Repo::with_revision(named.id.clone(), RepoType::Dataset, named.revision.to_owned());
    let cache = Cache::new(cache_folder());
    if let Some(folder) = snapshot(&cache, &repo) {
        let files = chosen(&below(&folder, &folder), &named, splits).unwrap_or_default();
        if !files.is_empty() {
            return Ok(files.into_iter().map(|file| folder.join(file)).collect());
        }
    }
    let refuse = |reason: String| Wrong::input(anyhow!("{whole}: {reason}"));
    if offline() {
        anyhow::bail!(refuse(format!(
            "the cache {} does not have it, and HF_HUB_OFFLINE forbids fetching it; fetch it where there is a network with \
             `hf download --repo-type dataset {}`",
            cache.path().display(),
            named.id
        )));
    }
    note("hub", &format!("{whole} is not in the cache; fetching it"));
    let failed = |error: anyhow::Error| {
        refuse(format!(
            "fetching it from the Hugging Face hub failed: {error:#}; check name, network and token, or name a file"
        ))
    };
    let builder = ApiBuilder::from_env().with_cache_dir(cache.path().clone()).with_token(token());
    let api = builder.build().map_err(|error| failed(error.into()))?.repo(repo);
    let listed = api.info().map_err(|error| failed(error.into()))?.siblings;
    let listed: Vec<String> = listed.into_iter().map(|file| file.rfilename).collect();
    let files = chosen(&listed, &named, splits).map_err(refuse)?;
    Ok(files.iter().map(|file| get(&api, file)).collect::<Result<_>>().map_err(failed)?)
}

/// The data files that are meant.
fn chosen(listed: &[String], named: &Named, splits: &[&str]) -> Result<Vec<String>, String> {
    if let Some(path) = &named.path {
        let found = listed.iter().find(|file| *file == path);
        return found.map(|file| vec![file.clone()]).ok_or_else(|| format!("it has no file {path}"));
    }
    let reads =
        |file: &&String| ["parquet", "csv", "tsv", "jsonl", "json"].iter().any(|kind| has_extension(file, kind));
    let about = |file: &&String| file.ends_with("dataset_infos.json") || file.starts_with('.');
    let data: Vec<&String> = listed.iter().filter(|file| reads(file) && !about(file)).collect();
    for split in splits {
        let of_split: Vec<String> = data.iter().filter(|file| is_of(file, split)).map(|file| (*file).clone()).collect();
        if !of_split.is_empty() {
            return Ok(of_split);
        }
    }
    match data.as_slice() {
        [] => Err("it has no Parquet, CSV or JSON files; what only its code would make is not made here".to_owned()),
        [only] if splits == ["train"] => Ok(vec![(*only).clone()]),
        _ => {
            let names: Vec<&str> = data.iter().take(8).map(|file| file.as_str()).collect();
            Err(format!("none of its files is of the split {}; name one of: {}", splits.join(" or "), names.join(", ")))
        }
    }
}

/// Whether the split's name stands between marks in the file's, or names a folder of it: `data/train-00000-of-00001.parquet`.
fn is_of(file: &str, split: &str) -> bool {
    file.split(['/', '-', '_', '.']).any(|part| part == split)
}

/// The folder of the revision, when the cache has one.
fn snapshot(cache: &Cache, repo: &Repo) -> Option<PathBuf> {
    let folder = cache.path().join(repo.folder_name());
    let commit = fs_err::read_to_string(folder.join("refs").join(repo.revision())).ok();
    let commit = commit.map_or_else(|| repo.revision().to_owned(), |text| text.trim().to_owned());
    Some(folder.join("snapshots").join(commit)).filter(|folder| folder.is_dir())
}

/// Files below a folder, as the hub names them, in order.
fn below(root: &Path, folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in fs_err::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(below(root, &path));
        } else if let Ok(inside) = path.strip_prefix(root) {
            found.push(inside.to_string_lossy().replace('\\', "/"));
        }
    }
    found.sort();
    found
}
