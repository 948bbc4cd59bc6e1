//! Models by their name on the Hugging Face hub: `owner/name`, or `owner/name@revision`.
//!
//! The cache is the one that Python's `huggingface_hub` uses (`HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `HF_HOME`,
//! `XDG_CACHE_HOME`, in this order), and so is the token (`HF_TOKEN`, or the file that `hf auth login` writes). A model that the cache has is not asked for again; `HF_HUB_OFFLINE=1` forbids asking. Only
//! safetensors and text files are fetched, never a pickle and never code.

pub(crate) mod datasets;

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use hf_hub::{
    Cache, Repo, RepoType,
    api::sync::{ApiBuilder, ApiRepo},
};

use crate::{exit::Wrong, progress::note};

const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Text files that a model may have beside its weights.
const TEXTS: [&str; 10] = [
    CONFIG,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
];

/// Name and revision.
struct Named<'a> {
    id: &'a str,
    revision: &'a str,
}

impl<'a> Named<'a> {
    fn parse(name: &'a str) -> Self {
        let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
        Self { id, revision }
    }

    fn repo(&self) -> Repo {
        Repo::with_revision(self.id.to_owned(), RepoType::Model, self.revision.to_owned())
    }
}

/// The local directory of a model of the hub, fetched when the cache lacks it.
pub(crate) fn directory(name: &str) -> Result<PathBuf> {
    let named = Named::parse(name);
    let cache = Cache::new(cache_folder());
    if let Some(found) = cached(&cache, &named) {
        return Ok(found);
    }
    if offline() {
        anyhow::bail!(Wrong::input(anyhow!(
            "{name} is neither a path nor in the cache {}, and HF_HUB_OFFLINE forbids fetching it; \
             fetch it where there is a network with `hf download {}`",
            cache.path().display(),
            named.id
        )));
    }
    note("hub", &format!("{name} is neither a path nor in the cache; fetching it"));
    fetch(&named, &cache).map_err(|error| {
        Wrong::input(anyhow!(
            "{name} is not a path, and fetching it from the Hugging Face hub failed: {error:#}; check name, network and \
             token, or name a local directory"
        ))
        .into()
    })
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A path as Python reads it: `~` is the home folder, `$NAME` and `${NAME}` are variables.
fn expanded(path: &str) -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_default();
    let mut parts = path.split('/').map(|part| {
        let name = part
            .strip_prefix('$')
            .map(|name| name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name));
        name.and_then(variable).unwrap_or_else(|| part.to_owned())
    });
    let first = parts.next().unwrap_or_default();
    let start = if first == "~" { home() } else { PathBuf::from(if path.starts_with('/') { "/" } else { &first }) };
    parts.fold(start, |path, part| path.join(part))
}

/// `HF_HOME`, or `huggingface` in the user's cache.
fn home() -> PathBuf {
    let usual = || expanded(&variable("XDG_CACHE_HOME").unwrap_or_else(|| "~/.cache".to_owned())).join("huggingface");
    variable("HF_HOME").map_or_else(usual, |home| expanded(&home))
}

fn cache_folder() -> PathBuf {
    let named = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE"));
    named.map_or_else(|| home().join("hub"), |cache| expanded(&cache))
}

fn token() -> Option<String> {
    let file = || {
        let path = variable("HF_TOKEN_PATH").map_or_else(|| home().join("token"), |path| expanded(&path));
        Some(fs_err::read_to_string(path).ok()?.trim().to_owned()).filter(|token| !token.is_empty())
    };
    variable("HF_TOKEN").or_else(file)
}

/// The local directory of a model of the hub, when the cache has it; nothing is asked for.
pub(crate) fn cached_directory(name: &str) -> Option<PathBuf> {
    cached(&Cache::new(cache_folder()), &Named::parse(name))
}

fn offline() -> bool {
    let value = variable("HF_HUB_OFFLINE").or_else(|| variable("TRANSFORMERS_OFFLINE")).unwrap_or_default();
    ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str())
}

/// The snapshot, when configuration and all weights are there. A revision may be a branch, a tag or a commit.
fn cached(cache: &Cache, named: &Named) -> Option<PathBuf> {
    let by_reference = cache.repo(named.repo()).get(CONFIG).and_then(|path| path.parent().map(Path::to_owned));
    let by_commit = || {
        let commit = named.revision.bytes().all(|byte| byte.is_ascii_hexdigit());
        let path = cache.path().join(named.repo().folder_name()).join("snapshots").join(named.revision);
        (commit && path.join(CONFIG).exists()).then_some(path)
    };
    by_reference.or_else(by_commit).filter(|snapshot| complete(snapshot))
}

fn complete(snapshot: &Path) -> bool {
    if snapshot.join(SINGLE).exists() {
        return true;
    }
    match shards_of(&snapshot.join(INDEX)) {
        Ok(Some(shards)) => shards.iter().all(|shard| snapshot.join(shard).exists()),
        Ok(None) | Err(_) => false,
    }
}

/// The shards that an index lists; `None` when there is no index.
fn shards_of(index: &Path) -> Result<Option<Vec<String>>> {
    if !index.exists() {
        return Ok(None);
    }
    let value: serde_json::Value = serde_json::from_str(&fs_err::read_to_string(index)?)?;
    let map = value["weight_map"].as_object().ok_or_else(|| anyhow!("{} has no `weight_map`", index.display()))?;
    let mut shards: Vec<String> = map.values().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    shards.sort_unstable();
    shards.dedup();
    let plain =
        |name: &String| has_extension(name, "safetensors") && !name.contains(['/', '\\']) && !name.starts_with('.');
    match shards.iter().find(|name| !plain(name)) {
        Some(odd) => Err(anyhow!("{} lists `{odd}`, which is not a plain safetensors file", index.display())),
        None => Ok(Some(shards)),
    }
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}

fn fetch(named: &Named, cache: &Cache) -> Result<PathBuf> {
    let builder = ApiBuilder::from_env().with_cache_dir(cache.path().clone()).with_token(token());
    let repo = builder.build()?.repo(named.repo());
    let names: Vec<String> = repo.info()?.siblings.into_iter().map(|file| file.rfilename).collect();
    let has = |name: &str| names.iter().any(|found| found == name);
    if !has(CONFIG) {
        anyhow::bail!("the repository has no `{CONFIG}`: it is not a model of `transformers`");
    }
    if !has(SINGLE) && !has(INDEX) {
        let pickled = names.iter().any(|name| has_extension(name, "bin") || has_extension(name, "pt"));
        let what = if pickled { "its weights are pickles, which can run code when read" } else { "it has no weights" };
        anyhow::bail!(
            "{what}; only safetensors are fetched: convert it in Python with \
             AutoModelForCausalLM.from_pretrained({:?}).save_pretrained(DIR) and name DIR",
            named.id
        );
    }
    for text in TEXTS.into_iter().filter(|text| has(text)) {
        get(&repo, text)?;
    }
    let shards =
        if has(SINGLE) { vec![SINGLE.to_owned()] } else { shards_of(&get(&repo, INDEX)?)?.unwrap_or_default() };
    for shard in shards {
        get(&repo, &shard)?;
    }
    let config = get(&repo, CONFIG)?;
    config.parent().map(Path::to_owned).ok_or_else(|| anyhow!("the cache has no folder for the model"))
}

fn get(repo: &ApiRepo, name: &str) -> Result<PathBuf> {
    repo.get(name).map_err(|error| anyhow!("{name}: {error}"))
}
