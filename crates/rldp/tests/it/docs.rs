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
fn every_page_of_the_cookbook_is_run_and_linked_pages_exist() {
    for entry in fs_err::read_dir(docs().join("cookbook")).unwrap() {
        let name = format!("cookbook/{}", entry.unwrap().file_name().to_string_lossy());
        let known = PAGES.contains(&name.as_str()) || WITHOUT_COMMANDS.contains(&name.as_str());
        assert!(known, "{name} is not in the list of pages");
    }
    for page in PAGES {
        let path = docs().join(page);
        let text = fs_err::read_to_string(&path).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.starts_with("http")) {
            let target = path.parent().unwrap().join(link.split('#').next().unwrap_or_default());
            assert!(target.exists(), "{page} links to {link}, which is not there");
        }
    }
}
