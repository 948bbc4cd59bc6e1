//! `rldp inspect`, `evaluate` and `generate`.

use safetensors::SafeTensors;
use serde_json::Value;

use crate::support::{SMALL_RUN, Scene};

fn floats(tensors: &SafeTensors, name: &str) -> Vec<f32> {
    let data = tensors.tensor(name).unwrap().data().to_vec();
    data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn dumped_logits_give_the_evaluated_loss() {
    let scene = Scene::new();
    scene.rldp("inspect logits --model model --data eval.csv --out logits.safetensors").expect(0);
    let evaluated = scene.rldp("evaluate --model model --data eval.csv --json").expect(0).json();
    let bytes = fs_err::read(scene.path("logits.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (mut nll, mut count) = (0.0_f64, 0_usize);
    for row in 0.. {
        let Ok(tokens) = tensors.tensor(&format!("tokens.{row}")) else { break };
        let ids: Vec<usize> =
            tokens.data().as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as usize).collect();
        let logits = floats(&tensors, &format!("logits.{row}"));
        let vocab = logits.len() / ids.len();
        for t in 1..ids.len() {
            let row = &logits[(t - 1) * vocab..t * vocab];
            let max = row.iter().fold(f32::MIN, |max, x| max.max(*x));
            let sum: f64 = row.iter().map(|x| f64::from(x - max).exp()).sum();
            nll += sum.ln() + f64::from(max - row[ids[t]]);
            count += 1;
        }
    }
    assert_eq!(evaluated["tokens"], count);
    assert!(
        (evaluated["nll"].as_f64().unwrap() - nll / count as f64).abs() < 1e-4,
        "{evaluated} against {nll}/{count}"
    );
}

#[test]
fn both_engines_give_the_same_per_example_gradients() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out run --unsafe-noise-seed 1")).expect(0);
    for engine in ["cpu", "reference"] {
        scene
            .rldp(&format!(
                "inspect per-example-gradients --model model --adapter run/adapter --data eval.csv --max-length 40 \
                 --engine {engine} --out {engine}.safetensors"
            ))
            .expect(0);
    }
    let (fast, slow) = (
        fs_err::read(scene.path("cpu.safetensors")).unwrap(),
        fs_err::read(scene.path("reference.safetensors")).unwrap(),
    );
    let (fast, slow) = (SafeTensors::deserialize(&fast).unwrap(), SafeTensors::deserialize(&slow).unwrap());
    assert_eq!(fast.len(), slow.len());
    for name in slow.names() {
        let (a, b) = (floats(&fast, name), floats(&slow, name));
        let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let difference = norm(&mut a.iter().zip(&b).map(|(a, b)| a - b));
        let scale = norm(&mut b.iter().copied());
        assert!(difference <= 1e-4 * scale, "{name}: {difference} of {scale}");
    }
}

/// Of a record and all that go before and after it: whoever is missing, in whatever order, on one core or three.
#[test]
fn a_records_gradient_does_not_depend_on_the_others() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out run --unsafe-noise-seed 1")).expect(0);
    let text = scene.read("train.csv");
    let (header, records) = text.split_once('\n').unwrap();
    let records: Vec<&str> = records.lines().collect();
    let less_one: Vec<&str> = [&records[..20], &records[21..]].concat();
    let backwards: Vec<&str> = records.iter().rev().copied().collect();
    let alone = vec![records[33]];
    let dump = |name: &str, records: &[&str], cores: &str| {
        scene.write(&format!("{name}.csv"), [&[header], records].concat().join("\n") + "\n");
        let words = format!(
            "inspect per-example-gradients --model model --adapter run/adapter --data {name}.csv --out {name}.safetensors"
        );
        let ran = scene.command(&words).env("RAYON_NUM_THREADS", cores).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        fs_err::read(scene.path(&format!("{name}.safetensors"))).unwrap()
    };
    let all = dump("all", &records, "2");
    let all = SafeTensors::deserialize(&all).unwrap();
    for (name, some, cores) in [
        ("less_one", less_one, "1"),
        ("backwards", backwards, "3"),
        ("alone", alone, "1"),
        ("again", records.clone(), "1"),
    ] {
        let found = dump(name, &some, cores);
        let found = SafeTensors::deserialize(&found).unwrap();
        for tensor in all.names() {
            let bytes = |tensors: &SafeTensors| tensors.tensor(tensor).unwrap().data().to_vec();
            let (all, found) = (bytes(&all), bytes(&found));
            let width = all.len() / records.len();
            assert_eq!(found.len(), width * some.len());
            for (record, found) in some.iter().zip(found.chunks_exact(width)) {
                let index = records.iter().position(|other| other == record).unwrap();
                assert!(found == &all[index * width..][..width], "{name}: {tensor} of record {index}");
            }
        }
    }
}

#[test]
fn generation_is_deterministic_when_greedy_and_by_seed() {
    let scene = Scene::new();
    let greedy = |extra: &[&str]| {
        let mut arguments = vec!["generate", "--model", "model", "--prompt", "The patient", "--max-new-tokens", "12"];
        arguments.extend(extra);
        scene.rldp_args(&arguments).expect(0).stdout
    };
    assert!(!greedy(&[]).trim().is_empty());
    assert_eq!(greedy(&[]), greedy(&["--seed", "3"]));
    assert_eq!(greedy(&["--temperature", "1", "--seed", "3"]), greedy(&["--temperature", "1", "--seed", "3"]));
}

/// GPT-2's older layout of the same tokenizer gives the same tokens.
#[test]
fn vocab_and_merges_are_read_like_tokenizer_json() {
    let scene = Scene::new();
    let whole = scene.rldp("evaluate --model model --data eval.csv --json").expect(0).json();
    let tokenizer: Value = serde_json::from_str(&scene.read("model/tokenizer.json")).unwrap();
    let merges = tokenizer["model"]["merges"].as_array().unwrap();
    let line = |merge: &Value| match merge {
        Value::Array(pair) => format!("{} {}\n", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
        other => format!("{}\n", other.as_str().unwrap()),
    };
    let merges: String = merges.iter().map(line).collect();
    scene.write("model/vocab.json", tokenizer["model"]["vocab"].to_string());
    scene.write("model/merges.txt", format!("#version: 0.2\n{merges}"));
    fs_err::remove_file(scene.path("model/tokenizer.json")).unwrap();
    let parts = scene.rldp("evaluate --model model --data eval.csv --json").expect(0).json();
    assert_eq!(whole, parts);
}
