//! Plans before anything is spent, and what a run takes of them.

use crate::support::{Ran, SMALL_RUN, Scene};

const TARGET: &str = "--epsilon 8 --delta 1e-4";
const RECORDS: &str = "--train train.csv --unit-column patient";

fn recommended(ran: &Ran) -> serde_json::Value {
    let plans = ran.json();
    plans["plans"][plans["recommended"].as_u64().unwrap() as usize].clone()
}

/// Only public numbers enter: a file of as many units gives what their number gives, to the byte.
#[test]
fn a_plan_is_a_function_of_public_numbers() {
    let scene = Scene::new();
    let by_number = scene.rldp(&format!("plan --units 60 {TARGET} --json")).expect(0);
    let by_file = scene.rldp(&format!("plan {RECORDS} {TARGET} --json")).expect(0);
    assert_eq!(by_number.stdout, by_file.stdout);
    let plans = by_number.json();
    let best = recommended(&by_number);
    for key in [
        "steps",
        "batch_size",
        "noise_bands",
        "noise_multiplier",
        "records",
        "hours",
        "signal_to_noise",
        "sampling_rate",
    ] {
        assert!(best.get(key).is_some(), "{key} is missing in {best}");
    }
    assert!(plans["plans"].as_array().unwrap().len() >= 4, "{plans}");
    assert!(best["hours"].is_null(), "no model, no time");
    let text = scene.rldp(&format!("plan --units 60 {TARGET}")).expect(0).stdout;
    assert!(text.contains("* recommended") && text.contains("costs no privacy"), "{text}");
    assert!(scene.rldp(&format!("plan {TARGET}")).expect(2).stderr.contains("--units"));
    assert!(scene.rldp(&format!("plan --units 60 --hours 1 {TARGET}")).expect(2).stderr.contains("--model"));
}

/// `plan`, `--write-config` and a run without steps and batch agree, and the run says what it is about to spend.
#[test]
fn a_run_takes_the_recommended_plan() {
    let scene = Scene::new();
    let model = "--model model --max-length 48";
    let ran = scene.rldp(&format!("plan {RECORDS} {model} {TARGET} --write-config plan.toml --json")).expect(0);
    let best = recommended(&ran);
    assert!(best["hours"].as_f64().unwrap() > 0.0 && best["memory_bytes"].as_u64().unwrap() > 1 << 20, "{best}");
    assert!(ran.stderr.contains("not for release") && !ran.stdout.contains("on average"), "{}", ran.stderr);
    let shown = |words: &str| scene.rldp(&format!("{words} --show-settings")).expect(0).stdout;
    let planned = shown("train --config plan.toml --out run");
    let chosen = shown(&format!("train {model} {RECORDS} {TARGET} --out run"));
    assert_eq!(planned, chosen);
    assert!(chosen.contains(&format!("steps = {}", best["steps"])), "{chosen}");
    let run = scene.rldp("train --config plan.toml --out run").expect(0);
    let line = run.stderr.lines().find(|line| line.starts_with("plan: ")).unwrap();
    for part in ["60 steps", "q 0.", "z ", "noise bands", "about", "of memory"] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    assert!(!scene.read("run/metrics.jsonl").contains("about"));
    let verified = scene.rldp("privacy verify run --json").expect(0).json();
    assert_eq!(verified["steps"], best["steps"]);
}

/// Hours are for units as long as those of --eval, however many units are declared; where --eval names none, for one record a unit.
#[test]
fn units_are_as_long_as_public_ones() {
    let scene = Scene::new();
    let record = "a patient of the ward was seen again today";
    let rows = |unit: &str| {
        (0..6).map(|row| format!("{}{record}\n", unit.replace('#', &(row % 2).to_string()))).collect::<String>()
    };
    scene.write("people.csv", format!("patient,text\n{}", rows("#,")));
    scene.write("records.csv", format!("text\n{}", rows("")));
    let plan = |units: u32, rest: &str| {
        scene.rldp(&format!("plan --units {units} --model model --max-length 48 {TARGET} {rest}")).expect(0)
    };
    let tokens = |units, rest: &str| plan(units, &format!("{rest} --json")).json()["record_tokens"].as_f64().unwrap();
    let one = tokens(60, "--eval records.csv");
    assert!(one > 4.0, "{one}");
    assert_eq!(tokens(5000, "--eval records.csv"), one);
    assert_eq!(tokens(60, "--eval people.csv --unit-column patient"), 3.0 * one);
    let ran = plan(60, "--eval records.csv --unit-column patient");
    assert!(ran.stdout.contains("units of one record of"), "{}", ran.stdout);
}

#[test]
fn budgets_are_what_was_asked_for() {
    let scene = Scene::new();
    let plan = |more: &str| recommended(&scene.rldp(&format!("plan --units 5000 {TARGET} {more} --json")).expect(0));
    assert!(plan("--records 2000")["records"].as_f64().unwrap() <= 2000.0);
    assert_eq!(plan("--epochs 3")["epochs"].as_f64().unwrap().round(), 3.0);
    assert_eq!(plan("--steps 40")["steps"], 40);
    assert_eq!(plan("--batch-size 100")["batch_size"], 100.0);
    let run = SMALL_RUN.replace("--steps 6", "--epochs 2");
    let settings = scene.rldp(&format!("{run} --out run --show-settings")).expect(0).stdout;
    assert!(settings.contains("\nsteps = 10\n") && !settings.contains("epochs"), "2 · 60 / 12: {settings}");
    assert_eq!(scene.rldp(&format!("{SMALL_RUN} --epochs 2 --out run")).code, 2);
}

/// Before a step is charged, a plan of which nothing can come is said to be one.
#[test]
fn drowned_plans_are_warned_about() {
    let scene = Scene::new();
    let run = SMALL_RUN.replace("--epsilon 8", "--epsilon 0.001").replace("--quiet", "--out run");
    let ran = scene.rldp(&run).expect(0);
    let (warned, stepped) = (ran.stderr.find("noise will drown"), ran.stderr.find("step 1/6"));
    assert!(warned.is_some() && warned < stepped, "{}", ran.stderr);
    let plan = scene.rldp("plan --units 60 --epsilon 0.001 --delta 1e-5").expect(0);
    assert!(plan.stderr.contains("noise will drown"), "{}", plan.stderr);
}

#[test]
fn calibration_takes_units_and_batch() {
    let scene = Scene::new();
    let noise = |rate: &str| {
        scene.rldp(&format!("privacy calibrate --epsilon 2 --delta 1e-6 --steps 100 {rate} --json")).expect(0).json()
    };
    assert_eq!(noise("--units 4000 --batch-size 100"), noise("--sampling-rate 0.025"));
    for wrong in ["--units 10 --batch-size 11", "--units 10", "", "--units 10 --batch-size 1 --sampling-rate 0.1"] {
        scene.rldp(&format!("privacy calibrate --epsilon 2 --delta 1e-6 --steps 100 {wrong}")).expect(2);
    }
}

#[test]
fn devices_are_listed_without_any() {
    let scene = Scene::new();
    let text = scene.rldp("inspect devices").expect(0).stdout;
    assert!(text.contains("threads") && text.contains("GPUs") && text.contains("MPI"), "{text}");
    let found = scene.rldp("inspect devices --json").expect(0).json();
    assert!(found["cpu"]["threads"].as_u64().unwrap() >= 1 && found["gpus"].is_array() && found["mpi"].is_array());
}

/// The second answer is what the model says after the whole conversation, as one prompt.
#[test]
fn a_chat_keeps_its_turns() {
    let scene = Scene::new();
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
    scene.write("model/chat_template.jinja", template);
    let chat = "generate --model model --max-new-tokens 6";
    let ran = scene.shell(&format!("printf 'Patient one\\n\\nAnd two\\n' | \"$0\" {chat} --chat")).expect(0);
    let answers: Vec<&str> = ran.stdout.lines().collect();
    let asked = |prompt: &str| {
        let words: Vec<&str> = chat.split(' ').chain(["--prompt", prompt]).collect();
        scene.rldp_args(&words).expect(0).stdout
    };
    let first = asked("user: Patient one\nassistant: ");
    assert!(ran.stdout.strip_prefix(&first).is_some(), "{first} begins {}", ran.stdout);
    let second = asked(&format!("user: Patient one\nassistant: {}\nuser: And two\nassistant: ", first.trim()));
    assert_eq!(ran.stdout, format!("{first}{second}"), "{answers:?}");
}

#[test]
fn sampling_is_bounded_and_seeded() {
    let scene = Scene::new();
    let generate =
        |more: &str| scene.rldp(&format!("generate --model model --prompt Patient --max-new-tokens 12 {more}"));
    let greedy = generate("").expect(0).stdout;
    assert_eq!(generate("--temperature 1 --top-p 0").expect(0).stdout, greedy, "one token is left");
    assert_eq!(generate("--temperature 1 --min-p 1").expect(0).stdout, greedy);
    let warm = generate("--temperature 2 --seed 3").expect(0).stdout;
    assert_eq!(generate("--temperature 2 --seed 3").expect(0).stdout, warm);
    assert_ne!(generate("--repetition-penalty 5").expect(0).stdout, greedy);
    for wrong in ["--top-p 2", "--min-p=-1", "--repetition-penalty 0"] {
        assert!(generate(wrong).expect(2).stderr.contains("but must be"), "{wrong}");
    }
}
