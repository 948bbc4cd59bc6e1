//! `rldp policy train`.

use crate::support::{Scene, wait_for};

#[test]
fn learning_that_is_stopped_keeps_what_it_has_learned() {
    let scene = Scene::new();
    let mut child =
        scene.command("policy train --model model --train train.csv --eval eval.csv --runs 99 --out policy.json");
    let mut child = child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    wait_for("the first run's policy", || scene.path("policy.json").exists());
    assert!(std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    wait_for("the end", || child.try_wait().unwrap().is_some());
    let ran: crate::support::Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("of 99 runs; policy.json has what they taught"), "{}", ran.stderr);
    assert!(scene.rldp("policy show policy.json").expect(0).stdout.contains("snr"));
}
