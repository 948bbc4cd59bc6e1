//! The documentation's commands run: every `$ rldp …` of a ```` ```console ```` block, page by page, in a folder like the demo's.

use std::path::{Path, PathBuf};

use rldp_data::demo;

use crate::support::Scene;

const PAGES: [&str; 7] = [
    "guide.md",
    "cookbook/patient-level.md",
    "cookbook/choosing-epsilon.md",
    "cookbook/reading-the-report.md",
    "cookbook/tuning-without-leaking.md",
    "cookbook/python.md",
    "cookbook/many-machines.md",
];

/// Pages whose commands need what tests have not.
const WITHOUT_COMMANDS: [&str; 1] = ["cookbook/gpu.md"];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// The files that `rldp demo` leaves, with fewer notes.
fn demo_folder() -> Scene {
    let scene = Scene::new();
    fs_err::create_dir(scene.path("demo")).unwrap();
    fs_err::rename(scene.path("model"), scene.path("demo/model")).unwrap();
    demo::write_notes(&scene.path("demo/train.csv"), 1, 300).unwrap();
    demo::write_notes(&scene.path("demo/eval.csv"), 2, 6).unwrap();
    scene
}

/// Commands of the page's console blocks.
fn commands(page: &str) -> Vec<String> {
    let text = fs_err::read_to_string(docs().join(page)).unwrap();
    let blocks = text.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ ").map(str::to_owned)).collect()
}

#[test]
fn every_command_of_the_guide_and_the_cookbook_runs() {
    for page in PAGES {
        let (scene, commands) = (demo_folder(), commands(page));
        assert!(!commands.is_empty(), "{page} has no commands");
        for command in commands {
            let words = command.strip_prefix("rldp ").unwrap_or_else(|| panic!("{page}: `{command}` is not of rldp"));
            let ran = scene.shell(&format!("\"$0\" {words}"));
            assert_eq!(ran.code, 0, "{page}: `{command}`\n{}\n{}", ran.stdout, ran.stderr);
        }
    }
}

#[test]
fn every_page_of_the_cookbook_is_run() {
    for entry in fs_err::read_dir(docs().join("cookbook")).unwrap() {
        let name = format!("cookbook/{}", entry.unwrap().file_name().to_string_lossy());
        let known = PAGES.contains(&name.as_str()) || WITHOUT_COMMANDS.contains(&name.as_str());
        assert!(known, "{name} is not in the list of pages");
    }
}

/// Markdown files below `folder`.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// What a heading is reached by: lower case, blanks as hyphens, marks dropped.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn linked_pages_and_headings_exist_and_the_site_lists_every_page() {
    let root = docs().parent().unwrap().to_owned();
    let mut found = Vec::new();
    pages(&docs(), &mut found);
    found.extend(
        ["README", "PRIVACY", "SECURITY", "ARCHITECTURE", "CONTRIBUTING"].map(|name| root.join(format!("{name}.md"))),
    );
    let summary = fs_err::read_to_string(docs().join("site/SUMMARY.md")).unwrap();
    for page in found {
        let listed = page.strip_prefix(docs()).map_or_else(
            |_| page.file_name().unwrap().to_string_lossy().into_owned(),
            |inside| format!("docs/{}", inside.display()),
        );
        let is_summary = listed.ends_with("SUMMARY.md");
        assert!(is_summary || summary.contains(&format!("({listed})")), "docs/site/SUMMARY.md does not list {listed}");
        let text = fs_err::read_to_string(&page).unwrap();
        let folder = if is_summary { root.as_path() } else { page.parent().unwrap() };
        // What stands in code is no link.
        let prose: String = text.split("```").step_by(2).collect::<String>().split('`').step_by(2).collect();
        let links = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.starts_with("http")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { folder.join(file) };
            assert!(target.exists(), "{listed} links to {link}, which is not there");
            if !heading.is_empty() {
                let text = fs_err::read_to_string(&target).unwrap();
                let has =
                    text.lines().any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == heading);
                assert!(has, "{listed} links to {link}, and there is no such heading");
            }
        }
    }
}
