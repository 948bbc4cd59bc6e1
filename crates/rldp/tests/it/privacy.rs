//! `rldp privacy`.

use crate::support::Scene;

#[test]
fn epsilon_of_a_plan_and_of_its_segments_agree() {
    let scene = Scene::new();
    scene.write("segments.json", "[[0.01, 1.0, 400], [0.01, 1.0, 600]]");
    let plan = scene
        .rldp("privacy epsilon --sampling-rate 0.01 --noise-multiplier 1 --steps 1000 --delta 1e-5 --json")
        .expect(0)
        .json();
    let segments = scene.rldp("privacy epsilon --segments segments.json --delta 1e-5 --json").expect(0).json();
    let epsilon = plan["epsilon"].as_f64().unwrap();
    // Google's dp_accounting gives 1.82824 (PLD, pessimistic).
    assert!((1.8270..1.8290).contains(&epsilon), "{epsilon}");
    assert!((epsilon - segments["epsilon"].as_f64().unwrap()).abs() < 1e-6);
    assert_eq!(plan["accountant"], "pld");
    assert_eq!(plan["delta"], 1e-5);
}

#[test]
fn calibration_meets_the_target_from_below() {
    let scene = Scene::new();
    for accountant in ["pld", "rdp"] {
        let words = format!(
            "privacy calibrate --epsilon 2 --delta 1e-5 --sampling-rate 0.02 --steps 500 --accountant {accountant} --json"
        );
        let found = scene.rldp(&words).expect(0).json();
        let multiplier = found["noise_multiplier"].as_f64().unwrap();
        let back = scene
            .rldp(&format!(
                "privacy epsilon --sampling-rate 0.02 --noise-multiplier {multiplier} --steps 500 --delta 1e-5 \
                 --accountant {accountant} --json"
            ))
            .expect(0)
            .json()["epsilon"]
            .as_f64()
            .unwrap();
        assert!(back <= 2.0 && back > 2.0 - 1e-3, "{accountant}: {back}");
    }
}

#[test]
fn gdp_refuses_sampling_by_name() {
    let ran = Scene::new()
        .rldp("privacy epsilon --sampling-rate 0.5 --noise-multiplier 1 --steps 10 --delta 1e-5 --accountant gdp")
        .expect(1);
    assert!(ran.stderr.contains("sampl"), "{}", ran.stderr);
}
