//! Records stay in the process: markers are planted in values, units and other columns, and looked for in everything a run
//! leaves and says.

use std::path::{Path, PathBuf};

use crate::support::{Ran, SMALL_RUN, Scene};

/// Planted in texts, in units, and in a column that is not read.
const MARKERS: [&str; 3] = ["quartzmarker", "UNITQX77", "BYSTANDERZ9"];

/// The scene's notes with markers in every row; `rows` are laid over the last ones.
fn planted(scene: &Scene, name: &str, rows: &str) {
    let notes = scene.read("train.csv");
    let mut text = String::from("patient,other,text\n");
    for line in notes.lines().skip(1) {
        let (patient, note) = line.split_once(',').unwrap();
        let note = note.trim_matches('"');
        let line = format!("{}-{patient},{},\"{} {note}\"\n", MARKERS[1], MARKERS[2], MARKERS[0]);
        text.push_str(&line);
    }
    scene.write(name, text + rows);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn holds(bytes: &[u8], marker: &str) -> bool {
    bytes.windows(marker.len()).any(|window| window.eq_ignore_ascii_case(marker.as_bytes()))
}

fn clean(scene: &Scene, what: &str, ran: &Ran) {
    for marker in MARKERS {
        for (stream, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
            assert!(!holds(text.as_bytes(), marker), "{what}: {marker} on {stream}:\n{text}");
        }
        for path in files(scene.folder.path()) {
            let planted = path.file_name().unwrap().to_string_lossy().starts_with("planted");
            assert!(planted || !holds(&fs_err::read(&path).unwrap(), marker), "{what}: {marker} in {}", path.display());
        }
    }
}

/// With every log level that a library might listen to.
fn loud(scene: &Scene, words: &str) -> Ran {
    scene.shell(&format!("RUST_LOG=trace RUST_BACKTRACE=full RAYON_LOG=1 exec \"$0\" {words}"))
}

#[test]
fn no_record_reaches_what_a_run_leaves_or_says() {
    let scene = Scene::new();
    planted(&scene, "planted.csv", "");
    let train = SMALL_RUN.replace("--train train.csv", "--train planted.csv").replace(" --quiet", " --controller sac");
    clean(&scene, "training", &loud(&scene, &format!("{train} --out run")).expect(0));
    scene.open_again("run");
    clean(&scene, "resuming", &loud(&scene, "train --resume run").expect(0));
    clean(&scene, "verifying", &loud(&scene, "privacy verify run").expect(0));
    clean(&scene, "reporting", &loud(&scene, "report run --out report.html").expect(0));
    clean(
        &scene,
        "a full disk",
        &scene.shell(&format!("trap '' XFSZ; ulimit -f 64; exec \"$0\" {train} --out full")).expect(1),
    );
    for (what, rows) in [
        ("ragged rows", "a,b\n"),
        ("an empty text", "a,b,\n"),
        ("an empty unit", &format!(",{},{} x\n", MARKERS[2], MARKERS[0])),
        ("a quote without end", &format!("a,b,\"{}\nx\n", MARKERS[0])),
    ] {
        planted(&scene, "planted-bad.csv", rows);
        let words = format!("{} --out bad", train.replace("planted.csv", "planted-bad.csv"));
        clean(&scene, what, &loud(&scene, &words).expect(1));
    }
    // Without a header the first record stands where the names of columns should.
    let headless: String = scene.read("planted.csv").lines().skip(1).map(|line| format!("{line}\n")).collect();
    scene.write("planted-bad.csv", headless);
    let words = format!("{} --out bad", train.replace("planted.csv", "planted-bad.csv"));
    clean(&scene, "no header", &loud(&scene, &words).expect(1));
    let line = format!("{{\"text\": \"{}\", \"patient\": \"{}\"\n", MARKERS[0], MARKERS[1]);
    scene.write("planted-bad.jsonl", line);
    let words = format!("{} --out bad", train.replace("planted.csv", "planted-bad.jsonl"));
    clean(&scene, "broken JSON", &loud(&scene, &words).expect(1));
}

#[cfg(unix)]
#[test]
fn a_run_folder_is_its_users_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = Scene::new();
    scene.shell(&format!("umask 000; exec \"$0\" {SMALL_RUN} --out run")).expect(0);
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
    let run = scene.path("run");
    for folder in [run.clone(), run.join("adapter"), run.join("policy")] {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
    }
    for file in files(&run) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

/// A dump would hold the records. Where dumps go is the system's choice; this looks at the usual place.
#[cfg(target_os = "linux")]
#[test]
fn a_crash_leaves_no_memory_behind() {
    let scene = Scene::new();
    let words = SMALL_RUN.replace("--steps 6", "--steps 400");
    let line = format!(
        "ulimit -c unlimited; \"$0\" {words} --out run & child=$!; \
         while [ ! -s run/private/timing.jsonl ]; do sleep 0.02; done; cat /proc/$child/limits; kill -ABRT $child; wait $child; true"
    );
    let ran = scene.shell(&line).expect(0);
    let core = ran.stdout.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let left = files(scene.folder.path());
    assert!(!left.iter().any(|path| path.file_name().unwrap().to_string_lossy().starts_with("core")), "{left:?}");
}

/// A model directory full of links and climbing names is read, and nothing but the run folder is written.
#[cfg(unix)]
#[test]
fn a_hostile_model_directory_writes_nothing_outside_the_run() {
    let scene = Scene::new();
    fs_err::create_dir(scene.path("hostile")).unwrap();
    fs_err::create_dir(scene.path("outside")).unwrap();
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(scene.path(target), scene.path(name)).unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        link(&format!("model/{file}"), &format!("hostile/{file}"));
    }
    // Names that a careless program would write to, or run.
    for name in ["adapter_config.json", "adapter_model.safetensors", "modeling_custom.py", "config.partial"] {
        link(&format!("outside/{name}"), &format!("hostile/{name}"));
    }
    let config = scene.read("model/config.json").replacen(
        '{',
        "{\"auto_map\": {\"AutoModel\": \"modeling_custom.M\"}, \"_name_or_path\": \"../../outside\",",
        1,
    );
    scene.write("model/config.json", config);
    let tree = || {
        let mut files = files(scene.folder.path());
        files.retain(|path| !path.starts_with(scene.path("run")) && path.exists());
        files.sort();
        let content = |path: PathBuf| (fs_err::read(&path).unwrap(), path);
        files.into_iter().map(content).collect::<Vec<_>>()
    };
    let before = tree();
    scene.rldp(&format!("{} --out run", SMALL_RUN.replace("--model model", "--model hostile"))).expect(0);
    scene.rldp("evaluate --model hostile --adapter run/adapter --data eval.csv").expect(0);
    assert!(before == tree(), "something outside the run folder was written");
    assert!(fs_err::read_dir(scene.path("outside")).unwrap().next().is_none());
}
