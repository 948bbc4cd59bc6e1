//! Forms of models and records that people have: GGUF, merged adapters, compressed files, standard input, shells.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use rldp_data::TextTokenizer;
use rldp_model::{ModelSource, cpu::CpuEngine};
use serde_json::Value;

use crate::support::{Ran, SMALL_RUN, Scene};

fn gguf(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rldp-model/testdata/gguf").join(name)
}

/// Tokens of the texts in the fixtures, by each tokenizer's own library.
#[test]
fn tokenizers_of_gguf_files_agree_with_their_own_libraries() {
    for name in ["llama", "qwen2", "gpt2"] {
        let files = ModelSource::open(&gguf(&format!("{name}.gguf"))).unwrap();
        let json = files.embedded.unwrap().tokenizer.unwrap().unwrap();
        let tokenizer = TextTokenizer::from_bytes(json.as_bytes()).unwrap();
        let cases: Value =
            serde_json::from_str(&fs_err::read_to_string(gguf(&format!("{name}.tokens.json"))).unwrap()).unwrap();
        for case in cases.as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let expected: Vec<u32> = serde_json::from_value(case["tokens"].clone()).unwrap();
            assert_eq!(tokenizer.encode(text, true).unwrap(), expected, "{name}: {text:?}");
        }
    }
}

#[test]
fn a_gguf_base_trains_merges_and_generates() {
    let scene = Scene::new();
    for name in ["llama", "gpt2"] {
        let model = gguf(&format!("{name}.gguf"));
        let run = SMALL_RUN.replace("--model model", &format!("--model {}", model.display()));
        scene.rldp(&format!("{run} --out {name}")).expect(0);
        assert_eq!(scene.rldp(&format!("privacy verify {name} --json")).expect(0).json()["holds"], true);
        scene
            .rldp(&format!("merge --model {} --adapter {name}/adapter --out {name}-merged", model.display()))
            .expect(0);
        let perplexity = |words: &str| {
            scene.rldp(&format!("evaluate {words} --data eval.csv --max-length 48 --json")).expect(0).json()["perplexity"]
                .as_f64()
                .unwrap()
        };
        let before = perplexity(&format!("--model {} --adapter {name}/adapter", model.display()));
        let merged = perplexity(&format!("--model {name}-merged"));
        assert!((before / merged - 1.0).abs() < 5e-3, "{name}: {before} with the adapter, {merged} merged (f16)");
        scene.rldp(&format!("generate --model {} --prompt Patient --max-new-tokens 3", model.display())).expect(0);
    }
}

#[test]
fn a_merged_model_is_the_base_with_its_adapter() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out run --unsafe-noise-seed 1 --learning-rate 0.05")).expect(0);
    scene.rldp("merge --model model --adapter run/adapter --out merged").expect(0);
    let tensors = |folder: &str| {
        let bytes = fs_err::read(scene.path(folder).join("model.safetensors")).unwrap();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let mut found: Vec<String> = header
            .tensors()
            .into_iter()
            .map(|(name, info)| format!("{name} {:?} {:?}", info.dtype, info.shape))
            .collect();
        found.sort();
        found
    };
    assert_eq!(tensors("merged"), tensors("model"));
    assert_eq!(scene.read("merged/config.json"), scene.read("model/config.json"));
    assert_eq!(scene.read("merged/tokenizer.json"), scene.read("model/tokenizer.json"));
    let nll = |words: &str| {
        scene.rldp(&format!("evaluate {words} --data eval.csv --max-length 48 --json")).expect(0).json()["nll"]
            .as_f64()
            .unwrap()
    };
    let (base, adapted, merged) =
        (nll("--model model"), nll("--model model --adapter run/adapter"), nll("--model merged"));
    assert!((base - adapted).abs() > 0.01, "the adapter does nothing");
    assert!(
        (adapted - merged).abs() < 0.01 * (base - adapted).abs(),
        "{base}, {adapted} with the adapter, {merged} merged"
    );
    let again = scene.rldp("merge --model model --adapter run/adapter --out merged").expect(1);
    assert!(again.stderr.contains("not an empty directory"), "{}", again.stderr);
}

/// Opening a merged model needs nothing but its directory.
#[test]
fn a_merged_model_opens_by_itself() {
    let scene = Scene::new();
    scene.rldp(&format!("{SMALL_RUN} --out run")).expect(0);
    scene.rldp("merge --model model --adapter run/adapter --out merged").expect(0);
    fs_err::remove_dir_all(scene.path("model")).unwrap();
    let files = ModelSource::open(&scene.path("merged")).unwrap();
    CpuEngine::new(&files, rldp_model::cpu::CpuOptions::default()).unwrap();
}

fn evaluated(scene: &Scene, data: &str) -> Value {
    scene.rldp(&format!("evaluate --model model --data {data} --json")).expect(0).json()
}

#[test]
fn compressed_and_oddly_encoded_records_are_read_alike() {
    let scene = Scene::new();
    let plain = scene.read("eval.csv");
    let expected = evaluated(&scene, "eval.csv");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(plain.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    scene.write("eval.csv.gz", &gzip);
    scene.write("gzip-without-its-name.csv", &gzip);
    scene.write("eval.csv.zst", zstd::encode_all(plain.as_bytes(), 1).unwrap());
    scene.write("bom.csv", format!("\u{feff}{plain}"));
    scene.write("crlf.csv", plain.replace('\n', "\r\n"));
    for name in ["eval.csv.gz", "gzip-without-its-name.csv", "eval.csv.zst", "bom.csv", "crlf.csv"] {
        assert_eq!(evaluated(&scene, name), expected, "{name}");
    }
    scene.write("cut.csv.gz", &gzip[..gzip.len() / 2]);
    let wide: Vec<u8> = "text\nSECRET\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    scene.write("wide.csv", [&[0xff, 0xfe], &wide[..]].concat());
    for (name, says) in
        [("cut.csv.gz", "cannot be read to its end"), ("wide.csv", "UTF-16"), ("eval.txt.gz", ".csv.gz")]
    {
        let ran = scene.rldp(&format!("evaluate --model model --data {name}")).expect(1);
        assert!(ran.stderr.contains(says) && !ran.stderr.contains("SECRET"), "{name}: {}", ran.stderr);
    }
}

fn piped(scene: &Scene, words: &str, input: &str) -> Ran {
    let mut child =
        scene.command(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Ran::from(child.wait_with_output().unwrap())
}

#[test]
fn records_come_through_standard_input_and_stay_in_memory() {
    let scene = Scene::new();
    let evaluate = "evaluate --model model --data - --json";
    assert_eq!(piped(&scene, evaluate, &scene.read("eval.csv")).expect(0).json(), evaluated(&scene, "eval.csv"));
    scene.write("one.jsonl", "{\"text\": \"The patient was seen.\"}\n");
    assert_eq!(piped(&scene, evaluate, &scene.read("one.jsonl")).expect(0).json(), evaluated(&scene, "one.jsonl"));
    let train =
        format!("{} --out run --steps 4", SMALL_RUN.replace("--train train.csv", "--train -").replace("--steps 6", ""));
    let ran = piped(&scene, &train, &scene.read("train.csv")).expect(0);
    assert!(ran.stderr.contains("kept in memory only") && ran.stderr.contains("--resume"), "{}", ran.stderr);
    scene.open_again("run");
    let again = "train --resume run --steps 4 --quiet";
    assert!(piped(&scene, again, "").expect(1).stderr.contains("standard input"), "nothing was piped");
    piped(&scene, again, &scene.read("train.csv")).expect(0);
    let both = train.replace("--eval eval.csv", "--eval -");
    assert!(piped(&scene, &both, "").expect(2).stderr.contains("can be read once"));
}

#[test]
fn every_shell_gets_completions_and_every_command_a_page() {
    let scene = Scene::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = scene.rldp(&format!("completions {shell}")).expect(0).stdout;
        assert!(script.contains("max-records-per-unit"), "{shell}");
    }
    scene.rldp("man --out man").expect(0);
    for page in ["rldp", "rldp-train", "rldp-privacy-verify", "rldp-merge"] {
        let text = scene.read(&format!("man/{page}.1"));
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page}");
    }
}

#[test]
fn settings_survive_a_round_trip_and_output_has_no_escapes() {
    let scene = Scene::new();
    let shown = |words: &str| scene.rldp(words).expect(0).stdout;
    let first = shown(&format!("{SMALL_RUN} --out run --target-modules c_attn,c_fc --show-settings"));
    scene.write("settings.toml", &first);
    assert_eq!(shown("train --config settings.toml --show-settings"), first);
    let ran =
        Ran::of(scene.command(&SMALL_RUN.replace("--quiet", "--out run")).env("NO_COLOR", "1").env("COLUMNS", "20"));
    let ran = ran.expect(0);
    assert!(!ran.stderr.contains('\u{1b}') && !ran.stdout.contains('\u{1b}'), "escapes without a terminal");
    assert!(ran.stderr.contains("step 6/6"), "{}", ran.stderr);
}

/// A chat template in the manner of the demo's special token, and conversations with two answers each.
fn conversations(scene: &Scene) {
    let template = "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
    scene.write("model/chat_template.jinja", template);
    let line = |patient: usize, turn: &str| {
        let messages = serde_json::json!([
            {"role": "user", "content": format!("Question {turn}")}, {"role": "assistant", "content": "The patient was seen."},
            {"role": "user", "content": "And then?"}, {"role": "assistant", "content": format!("Discharged {turn}.")},
        ]);
        format!("{}\n", serde_json::json!({"patient": patient.to_string(), "messages": messages}))
    };
    let all: String = (0..40).map(|patient| line(patient, &format!("after {patient} days"))).collect();
    scene.write("chats.jsonl", all);
}

#[test]
fn conversations_train_and_only_answers_are_scored() {
    let scene = Scene::new();
    let flags = "--messages-column messages";
    scene.write("chats.jsonl", "{\"messages\": [{\"role\": \"assistant\", \"content\": \"SECRET\"}]}\n");
    let none = scene.rldp(&format!("evaluate --model model --data chats.jsonl {flags}")).expect(1).stderr;
    assert!(none.contains("no chat template") && !none.contains("SECRET"), "{none}");
    conversations(&scene);
    let scored = scene.rldp(&format!("evaluate --model model --data chats.jsonl {flags} --json")).expect(0).json();
    let whole: usize = 40 * "The patient was seen.\nDischarged after 10 days.\n".len();
    assert!(scored["tokens"].as_u64().unwrap() < whole as u64, "{scored}");
    let run = SMALL_RUN.replace("train.csv", "chats.jsonl").replace("--eval eval.csv ", "");
    scene.rldp(&format!("{run} --out run {flags}")).expect(0);
    let answer = "generate --model model --adapter run/adapter --prompt Hello --max-new-tokens 4";
    let plain = scene.rldp(answer).expect(0).stdout;
    assert_ne!(scene.rldp(&format!("{answer} --chat")).expect(0).stdout, plain);
    for engine in ["cpu", "reference"] {
        let words = format!(
            "inspect per-example-gradients --model model --adapter run/adapter --data chats.jsonl {flags} --engine {engine} \
             --out {engine}.safetensors"
        );
        scene.rldp(&words).expect(0);
    }
    let losses = |name: &str| {
        let bytes = fs_err::read(scene.path(name)).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        tensors
            .tensor("loss")
            .unwrap()
            .data()
            .chunks_exact(4)
            .map(|x| f32::from_le_bytes(x.try_into().unwrap()))
            .collect::<Vec<f32>>()
    };
    for (fast, slow) in losses("cpu.safetensors").iter().zip(losses("reference.safetensors")) {
        assert!((fast - slow).abs() < 1e-3 * slow, "{fast} {slow}");
    }
}
