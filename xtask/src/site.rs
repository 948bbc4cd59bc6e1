//! `cargo xtask site`: the documentation as a site, from the same Markdown, by mdBook.

use std::{path::Path, process::Command};

use anyhow::{Result, bail, ensure};
use fs_err as fs;

use crate::say;

/// Pages beside `docs`, and what they link to.
const PAGES: [&str; 6] =
    ["README.md", "PRIVACY.md", "SECURITY.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "assets/demo/NOTICE"];

/// Writes `target/site`. The pages are laid out as in the repository, so that links between them hold in both.
pub(crate) fn make(root: &Path) -> Result<()> {
    let (book, out) = (root.join("target/book"), root.join("target/site"));
    if book.exists() {
        fs::remove_dir_all(&book)?;
    }
    copy(&root.join("docs"), &book.join("src/docs"))?;
    fs::create_dir_all(book.join("src/assets/demo"))?;
    for page in PAGES {
        fs::copy(root.join(page), book.join("src").join(page))?;
    }
    fs::copy(root.join("docs/site/SUMMARY.md"), book.join("src/SUMMARY.md"))?;
    fs::copy(root.join("docs/site/book.toml"), book.join("book.toml"))?;
    match Command::new("mdbook").arg("build").arg(&book).arg("--dest-dir").arg(&out).status() {
        Ok(status) => ensure!(status.success(), "mdBook could not build the site"),
        Err(_) => bail!("mdBook is not installed; `cargo install mdbook --locked`"),
    }
    say(&format!("{}", out.join("index.html").display()));
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        } else {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
