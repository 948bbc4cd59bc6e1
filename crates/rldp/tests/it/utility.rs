//! `rldp evaluate --metrics` and the exports of `rldp report`.

use crate::support::{SMALL_RUN, Scene};

#[test]
fn metrics_of_prompts_and_labels_are_beside_perplexity() {
    let scene = Scene::new();
    scene.write(
        "labels.csv",
        "note,label\nPatient is well,yes\nPatient is ill,no\nPatient is ill,yes\nPatient left,yes\n",
    );
    let words = "evaluate --model model --data labels.csv --prompt-column note --completion-column label --json";
    let plain = scene.rldp(words).expect(0).json();
    assert!(plain.get("bleu").is_none() && plain.get("accuracy").is_none());
    let found = scene.rldp(&format!("{words} --metrics bleu,rouge-l,accuracy --max-new-tokens 4")).expect(0).json();
    assert_eq!(found["nll"], plain["nll"]);
    assert_eq!((&found["prompts"], &found["labels"]), (&3.into(), &2.into()));
    assert_eq!(found["commonest_label"], 0.75);
    let accuracy = found["accuracy"].as_f64().unwrap();
    assert!([0.25, 0.75, 0.5].contains(&accuracy) || accuracy == 1.0 || accuracy == 0.0, "{accuracy}");
    for name in ["bleu", "rouge_l"] {
        assert!((0.0..=100.0).contains(&found[name].as_f64().unwrap()), "{found}");
    }
    scene.rldp("evaluate --model model --data labels.csv --text-column note --metrics bleu").expect(2);
    scene.write("texts.csv", "note,label\nPatient,one\nPatient,one\n");
    let refused = scene.rldp(&format!("{} --metrics accuracy", words.replace("labels.csv", "texts.csv"))).expect(1);
    assert!(refused.stderr.contains("has 1 distinct values"), "{}", refused.stderr);
}

/// A model that was taught nothing but one label finds that label the likeliest: accuracy is then its share.
#[test]
fn accuracy_follows_the_likelihood_of_labels() {
    let scene = Scene::new();
    let rows: String = (0..60).map(|i| format!("Patient {i},aaaa\n")).collect();
    scene.write("taught.csv", format!("note,label\n{rows}"));
    scene.write("asked.csv", "note,label\nPatient 1,aaaa\nPatient 2,aaaa\nPatient 3,zqx zqx\n");
    let columns = "--prompt-column note --completion-column label";
    scene
        .rldp(&format!(
            "train --model model --train taught.csv --eval asked.csv --allow-shared-eval {columns} --epsilon 30 --delta 1e-4 --steps 30 \
             --batch-size 30 --controller fixed --out run --quiet"
        ))
        .expect(0);
    let words =
        format!("evaluate --model model --adapter run/adapter --data asked.csv {columns} --metrics accuracy --json");
    let found = scene.rldp(&words).expect(0).json();
    assert_eq!(found["accuracy"], found["commonest_label"], "{found}");
}

#[test]
fn a_report_exports_its_scalars() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out run --controller fixed")).expect(0);
    scene.rldp("report run --out page.html --tensorboard tb --history wb").expect(0);
    let events = fs_err::read(scene.path("tb/run/events.out.tfevents.0.rldp")).unwrap();
    assert!(events.len() > 500 && events.windows(13).any(|window| window == b"brain.Event:2"));
    let history = scene.json_lines("wb/run/history.jsonl");
    assert_eq!(history.iter().map(|line| line["_step"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    assert!(history[0]["eval/perplexity"].as_f64().unwrap() > 1.0);
    assert!(history[6]["privacy/epsilon_spent"].as_f64().unwrap() <= 8.0);
}
