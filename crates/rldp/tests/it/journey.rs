//! One user's way: an own CSV with patients, train, killed, resumed, verified, audited, reported, loaded in Python.

use std::process::Command;

use crate::support::Scene;

/// Visits of 40 patients, some of them with several, in a file as somebody would have it.
fn visits(from: usize, patients: usize) -> String {
    let mut text = String::from("\u{feff}visit,patient,text\n");
    let complaints = ["chest pain", "a cough, dry", "headache", "fever and \"chills\"", "back pain"];
    for patient in from..from + patients {
        for visit in 0..=patient % 3 {
            let complaint = complaints[(patient + visit) % complaints.len()].replace('"', "\"\"");
            let line = format!(
                "{visit},p{patient},\"Patient seen for {complaint}.\nStable; follow-up in {} weeks.\"\n",
                1 + visit
            );
            text.push_str(&line);
        }
    }
    text
}

#[test]
fn from_a_csv_of_patients_to_a_verified_adapter() {
    let scene = Scene::new();
    scene.write("visits.csv", visits(0, 40));
    scene.write("held.csv", visits(100, 40));
    let train = "train --model model --train visits.csv --eval held.csv --unit-column patient --epsilon 6 --delta 1e-4 \
        --steps 40 --batch-size 10 --max-length 48 --eval-every 20 --checkpoint-every 5 --allow-shared-eval --out run --quiet";
    let charges = || {
        let ledger = fs_err::read_to_string(scene.path("run/ledger.jsonl")).unwrap_or_default();
        ledger.lines().filter(|line| line.contains("\"kind\":\"charge\"")).count()
    };
    let mut child = scene.command(train).spawn().unwrap();
    let started = std::time::Instant::now();
    while charges() < 8 {
        assert!(started.elapsed().as_secs() < 60, "the run did not reach its eighth step");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = charges();
    scene.rldp("train --resume run --quiet").expect(0);
    let verified = scene.rldp("privacy verify run --json").expect(0).json();
    assert_eq!(
        (&verified["holds"], &verified["steps"]),
        (&true.into(), &40.into()),
        "{before} steps before the kill count"
    );
    let audited =
        scene.rldp("audit run --members visits.csv --non-members held.csv --bootstrap 100 --json").expect(0).json();
    assert!(audited["membership"].is_object(), "{audited}");
    scene.rldp("report run --out report.html").expect(0);
    let report = scene.read("report.html");
    assert!(report.contains("differentially") && report.contains("perplexity"), "the report does not tell the claim");
    let perplexity = |adapter: &str| {
        let words = format!("evaluate --model model {adapter} --data held.csv --json");
        scene.rldp(&words).expect(0).json()["perplexity"].as_f64().unwrap()
    };
    let (base, tuned) = (perplexity(""), perplexity("--adapter run/adapter"));
    assert!(tuned < base, "perplexity went from {base} to {tuned}");
    loaded_in_python(&scene);
}

fn loaded_in_python(scene: &Scene) {
    let Some(python) = std::env::var_os("RLDP_PYTHON") else {
        eprintln!("skipped: RLDP_PYTHON is not set to a Python with torch, transformers and peft");
        return;
    };
    let script = "import sys, transformers, peft\n\
        base = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1])\n\
        model = peft.PeftModel.from_pretrained(base, sys.argv[2])\n\
        print(sum(p.abs().sum().item() for n, p in model.named_parameters() if 'lora_B' in n))";
    let output = Command::new(python)
        .args(["-c", script])
        .args([scene.path("model"), scene.path("run/adapter")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.trim().parse::<f64>().unwrap() > 0.0, "the adapter is empty in Python: {said}");
}
