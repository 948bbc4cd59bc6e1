//! Adapters on disk as Python's `peft` reads and writes them: `adapter_config.json` and `adapter_model.safetensors`.

use std::path::{Path, PathBuf};

use super::{Adapter, Pair};
use crate::{ModelConfig, ModelError, config::LinearSpec};

mod read;
mod settings;
mod write;

use settings::PeftConfig;

const CONFIG: &str = "adapter_config.json";
/// Name of the file of an adapter's weights.
pub const WEIGHTS: &str = "adapter_model.safetensors";

/// PEFT's names of A's tensor (R, in) and of B's (out, R).
pub fn tensor_names(pair: &Pair) -> (String, String) {
    (a_name(&pair.linear), b_name(&pair.linear))
}

fn a_name(linear: &LinearSpec) -> String {
    format!("base_model.model.{}.lora_A.weight", linear.name)
}

fn b_name(linear: &LinearSpec) -> String {
    format!("base_model.model.{}.lora_B.weight", linear.name)
}

/// Writes the adapter into `directory`, which is created when absent. `base_name` becomes PEFT's
/// `base_model_name_or_path`.
///
/// Each file is written under a temporary name, synced and renamed, so that neither is ever half-written; the weights come
/// first, so that a folder with a new config has the weights as well.
pub fn save(adapter: &Adapter, base_name: &str, directory: &Path) -> Result<(), ModelError> {
    fs_err::create_dir_all(directory)?;
    for (name, bytes) in files(adapter, base_name)? {
        write::atomically(&directory.join(name), &bytes)?;
    }
    Ok(())
}

/// The names and contents of what [`save`] writes, in its order.
pub fn files(adapter: &Adapter, base_name: &str) -> Result<[(&'static str, Vec<u8>); 2], ModelError> {
    let config = PeftConfig::of(adapter.layout(), base_name).to_json().into_bytes();
    Ok([(WEIGHTS, write::tensors(adapter)?), (CONFIG, config)])
}

/// Reads an adapter for the model of `config`, also one that another tool trained.
///
/// Which maps are adapted is read from the tensors and compared with `target_modules`. Anything that would change the
/// mathematics and is not implemented (DoRA, ranks by pattern, trained biases or embeddings …) is refused by name.
pub fn load(directory: &Path, config: &ModelConfig) -> Result<Adapter, ModelError> {
    let path = directory.join(CONFIG);
    if !path.exists() {
        return Err(refuse(directory, format!("no `{CONFIG}` in this directory; it is not a PEFT adapter")));
    }
    let peft = PeftConfig::read(&fs_err::read_to_string(&path)?).map_err(|reason| refuse(&path, reason))?;
    read::adapter(&weights_path(directory)?, &peft, config)
}

fn weights_path(directory: &Path) -> Result<PathBuf, ModelError> {
    let path = directory.join(WEIGHTS);
    if path.exists() {
        return Ok(path);
    }
    let pickle = directory.join("adapter_model.bin");
    Err(if pickle.exists() {
        refuse(
            &pickle,
            "a pickle can run code when read and is refused; load the adapter with peft in Python and call \
             save_pretrained, which writes safetensors"
                .into(),
        )
    } else {
        refuse(directory, format!("no `{WEIGHTS}` in this directory"))
    })
}

fn refuse(path: &Path, reason: String) -> ModelError {
    ModelError::Adapter { path: path.to_owned(), reason }
}
