//! Which crate may depend on which: the arrows are part of the privacy argument.
//!
//! The controller must not be able to name a record, a model or the loop; the privacy core must not know tensors or files.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use fs_err as fs;
use toml::{Table, Value};

/// A crate, and the crates of this workspace it may use outside its tests.
const ARROWS: &[(&str, &[&str])] = &[
    ("rldp-privacy", &[]),
    ("rldp-data", &[]),
    ("rldp-model", &[]),
    ("rldp-reference", &["rldp-model"]),
    ("rldp-gpu", &["rldp-model"]),
    ("rldp-control", &["rldp-privacy"]),
    ("rldp-train", &["rldp-privacy", "rldp-data", "rldp-model", "rldp-control"]),
    ("rldp-ranks", &["rldp-privacy", "rldp-data", "rldp-model", "rldp-train"]),
    ("rldp-lab", &["rldp-privacy"]),
    ("rldp-audit", &["rldp-privacy", "rldp-data", "rldp-model"]),
    (
        "rldp",
        &[
            "rldp-privacy",
            "rldp-data",
            "rldp-model",
            "rldp-reference",
            "rldp-gpu",
            "rldp-control",
            "rldp-train",
            "rldp-ranks",
            "rldp-lab",
            "rldp-audit",
        ],
    ),
    // `rldp-gpu` only as tests have it: the library is `rldp`.
    ("rldp-python", &["rldp", "rldp-gpu"]),
];

/// Crates that must build without tensor libraries.
const WITHOUT_TENSORS: &[&str] =
    &["rldp-privacy", "rldp-data", "rldp-model", "rldp-gpu", "rldp-control", "rldp-train", "rldp-lab", "rldp-audit"];

/// Compares every manifest with the table.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut faults = Vec::new();
    for (name, allowed) in ARROWS {
        let path = root.join("crates").join(name).join("Cargo.toml");
        let manifest: Table = fs::read_to_string(&path)?.parse().with_context(|| path.display().to_string())?;
        let dependencies = manifest.get("dependencies").and_then(Value::as_table).cloned().unwrap_or_default();
        for dependency in dependencies.keys() {
            if dependency.starts_with("rldp") && !allowed.contains(&dependency.as_str()) {
                faults.push(format!("{name} must not depend on {dependency}"));
            }
            if dependency.starts_with("candle") && WITHOUT_TENSORS.contains(name) {
                faults.push(format!("{name} must build without {dependency}"));
            }
        }
    }
    for entry in fs::read_dir(root.join("crates"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !ARROWS.iter().any(|(known, _)| *known == name) {
            faults.push(format!("{name} is not in the table of xtask/src/layers.rs"));
        }
    }
    if faults.is_empty() { Ok(()) } else { bail!("arrows that must not be:\n  {}", faults.join("\n  ")) }
}
