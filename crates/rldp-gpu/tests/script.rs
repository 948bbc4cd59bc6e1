//! `scripts/gpu_check.sh` keeps to its time whatever a step does.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::{os::unix::fs::PermissionsExt as _, path::Path, process::Command, time::Instant};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/gpu_check.sh");

/// A program that says what it was asked, fails in one step and never comes back from another.
const PROGRAM: &str =
    "#!/bin/sh\ncase $1 in goldens) sleep 60;; invariance) echo broken; exit 1;; esac\necho \"$1 done\"\n";

fn executable(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs_err::write(&path, text).unwrap();
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn a_step_that_hangs_takes_no_time_from_the_others() {
    const SECONDS: u64 = 12;
    let folder = tempfile::tempdir().unwrap();
    let program = executable(folder.path(), "program", PROGRAM);
    // A card's table without a card: every step of the real run is there, but for PyTorch and the sanitizer.
    executable(folder.path(), "nvidia-smi", "#!/bin/sh\necho no card\n");
    executable(folder.path(), "python3", "#!/bin/sh\nexit 1\n");
    let began = Instant::now();
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let out = folder.path().join("out");
    let mut command = Command::new("bash");
    command.arg(SCRIPT).arg(&program).arg("goldens").arg(&out).arg("cuda");
    let ran = command.env("PATH", path).env("SECONDS_LEFT", SECONDS.to_string()).output().unwrap();
    let table = fs_err::read_to_string(out.join("table.txt")).unwrap();
    assert!(began.elapsed().as_secs() <= SECONDS + 2, "{:?}", began.elapsed());
    assert_eq!(ran.status.code(), Some(1), "{table}");
    for line in ["goldens: ENDED", "invariance: FAILED", "small done", "speed done", "torch: not run", "no card"] {
        assert!(table.contains(line), "`{line}` is missing in\n{table}");
    }
    assert_eq!(table.matches("speed done").count(), 5, "{table}");
}
