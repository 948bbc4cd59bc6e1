//! What compilers do not check: length of files, unfinished work, paths of somebody's machine.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use fs_err as fs;

/// Longest source file, in lines.
const MOST_LINES: usize = 400;
/// Largest tracked file, in bytes.
const MOST_BYTES: u64 = 4 << 20;

/// Marks of unfinished work; spelled apart so that this file passes itself.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("#[ig", "nore]")];
/// Beginnings of paths that exist on one machine only.
const HOME_PATHS: &[&str] =
    &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];
/// Folders that hold nothing of ours.
const SKIPPED: &[&str] = &["target", ".git", "demo", "runs"];

/// Reads every file of the tree and reports all that is out of order.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut faults = Vec::new();
    for path in files(root, root)? {
        faults.extend(faults_of(root, &path)?);
    }
    if faults.is_empty() { Ok(()) } else { bail!("out of order:\n  {}", faults.join("\n  ")) }
}

fn files(root: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !path.is_symlink() {
            // Only the tree's own `demo` and `runs` are outputs.
            if !(SKIPPED.contains(&name) && folder == root) {
                found.extend(files(root, &path)?);
            }
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn faults_of(root: &Path, path: &Path) -> Result<Vec<String>> {
    let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
    let size = fs::metadata(path)?.len();
    if size > MOST_BYTES {
        return Ok(vec![format!("{name}: {size} bytes are more than {MOST_BYTES}")]);
    }
    let Ok(text) = fs::read_to_string(path) else { return Ok(Vec::new()) };
    let mut faults = Vec::new();
    let ends = |ending: &str| path.extension().is_some_and(|extension| extension == ending);
    let rust = ends("rs");
    if rust && text.lines().count() > MOST_LINES {
        faults.push(format!("{name}: {} lines are more than {MOST_LINES}; split it", text.lines().count()));
    }
    if !rust && !ends("md") && !ends("toml") {
        return Ok(faults);
    }
    for (index, line) in text.lines().enumerate() {
        let at = |what: &str| format!("{name}:{}: {what}", index + 1);
        if let Some(mark) = UNFINISHED.iter().find(|mark| rust && line.contains(**mark)) {
            faults.push(at(&format!("`{mark}`: finish it")));
        }
        if let Some(mark) = HOME_PATHS.iter().find(|mark| line.contains(**mark)) {
            faults.push(at(&format!("`{mark}` is a path of one machine")));
        }
        if line.ends_with(' ') && rust {
            faults.push(at("white space at the end"));
        }
    }
    Ok(faults)
}
