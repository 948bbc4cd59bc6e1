//! LoRA settings, and adapters on disk in PEFT's format.

#![allow(clippy::unwrap_used)] // helpers of tests

mod support;

use half::f16;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rldp_model::{Adapter, AdapterLayout, LoraSettings, ModelConfig, ModelSource, peft};
use safetensors::Dtype;
use serde_json::{Value, json};
use support::{copy_of, edit_json, entries, golden, write};
use tempfile::TempDir;

fn config(case: &str) -> ModelConfig {
    ModelSource::open(&golden(case)).unwrap().config
}

fn settings(targets: Option<&[&str]>) -> LoraSettings {
    let target_modules = targets.map(|names| names.iter().map(ToString::to_string).collect());
    LoraSettings { rank: 2, lora_alpha: 3.0, target_modules }
}

fn adapted(case: &str, targets: Option<&[&str]>) -> Vec<String> {
    let layout = AdapterLayout::for_model(&config(case), &settings(targets)).unwrap();
    layout.pairs().iter().map(|pair| pair.linear.name.clone()).collect()
}

#[test]
fn targets_match_as_in_peft() {
    // GPT-2's c_proj is in attention and in the MLP.
    assert_eq!(
        adapted("gpt2-tied", Some(&["c_proj"]))[..2],
        ["transformer.h.0.attn.c_proj", "transformer.h.0.mlp.c_proj"]
    );
    assert_eq!(adapted("gpt2-tied", Some(&["attn.c_proj"])).len(), 2);
    assert_eq!(adapted("gpt2-tied", Some(&["transformer.h.1.mlp.c_fc"])), ["transformer.h.1.mlp.c_fc"]);
    assert_eq!(adapted("gpt2-tied", None).len(), 8);
    assert_eq!(adapted("llama-tied", None), adapted("llama-tied", Some(&["all-linear"])));
    assert_eq!(adapted("llama-tied", None).len(), 14);
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let refusal =
        |settings: &LoraSettings| AdapterLayout::for_model(&config("llama-tied"), settings).unwrap_err().to_string();
    assert_eq!(
        refusal(&settings(Some(&["q_proj", "c_attn"]))),
        "target module `c_attn` names no linear map of this llama model; \
         it has: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
    );
    // A name must end a path at a dot.
    assert!(refusal(&settings(Some(&["proj"]))).contains("`proj` names no linear map"));
    assert!(refusal(&settings(Some(&[""]))).contains("names no linear map"));
    assert!(refusal(&settings(Some(&[]))).contains("the list of target modules is empty"));
    assert!(refusal(&LoraSettings { rank: 0, ..settings(None) }).contains("rank 0 is outside 1..=4096"));
    assert!(refusal(&LoraSettings { lora_alpha: f64::NAN, ..settings(None) }).contains("lora_alpha NaN"));
}

#[test]
fn an_adapter_starts_as_in_peft() {
    let layout = AdapterLayout::for_model(&config("llama-untied"), &settings(None)).unwrap();
    let adapter = Adapter::initialize(layout, &mut ChaCha8Rng::seed_from_u64(1));
    let mut squares = 0.0;
    let mut count = 0;
    for (k, pair) in adapter.layout().pairs().iter().enumerate() {
        let bound = 1.0 / (pair.linear.in_features as f32).sqrt();
        assert!(adapter.a(k).iter().all(|x| x.abs() <= bound));
        assert!(adapter.b(k).iter().all(|x| *x == 0.0));
        squares += adapter.a(k).iter().map(|x| f64::from(x / bound).powi(2)).sum::<f64>();
        count += adapter.a(k).len();
    }
    // The mean square of U(−1, 1) is 1/3 with variance 4/45 a draw; five standard errors fail once in 1.7 million seeds.
    let standard_error = (4.0 / 45.0 / count as f64).sqrt();
    assert!((squares / count as f64 - 1.0 / 3.0).abs() < 5.0 * standard_error, "{} of {count}", squares / count as f64);
}

#[test]
fn a_normal_start_has_pefts_deviation_and_leaves_the_base_alone() {
    let layout = AdapterLayout::for_model(&config("llama-untied"), &settings(None)).unwrap();
    let rank = layout.rank() as f64;
    let adapter = Adapter::initialize_normal(layout, &mut ChaCha8Rng::seed_from_u64(3));
    let pairs = adapter.layout().pairs().len();
    let a: Vec<f64> = (0..pairs).flat_map(|k| adapter.a(k)).map(|x| f64::from(*x) * rank).collect();
    assert!((0..pairs).all(|k| adapter.b(k).iter().all(|x| *x == 0.0)));
    let mean = a.iter().sum::<f64>() / a.len() as f64;
    let variance = a.iter().map(|x| x * x).sum::<f64>() / a.len() as f64;
    // Five deviations of each statistic: a false alarm in a million.
    let spread = 5.0 / (a.len() as f64).sqrt();
    assert!(mean.abs() < spread && (variance - 1.0).abs() < spread * 2f64.sqrt(), "{mean} {variance} of {}", a.len());
}

#[test]
fn what_is_saved_loads_bit_for_bit() {
    for case in ["gpt2-tied", "gpt2-untied", "llama-untied", "mistral"] {
        let config = config(case);
        let adapter = peft::load(&golden(case).join("adapter"), &config).unwrap();
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("new/adapter");
        peft::save(&adapter, "some/base", &target).unwrap();
        // Over an older one as well.
        peft::save(&adapter, "some/base", &target).unwrap();
        assert_eq!(peft::load(&target, &config).unwrap(), adapter);
        let mut files: Vec<_> =
            fs_err::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        assert_eq!(files, ["adapter_config.json", "adapter_model.safetensors"]);
    }
}

#[test]
fn the_export_has_the_keys_and_tensors_of_pefts_own() {
    for case in ["gpt2-tied", "llama-tied"] {
        let ours = TempDir::new().unwrap();
        let theirs = golden(case).join("adapter");
        peft::save(&peft::load(&theirs, &config(case)).unwrap(), case, ours.path()).unwrap();
        let read = |folder: &std::path::Path| -> Value {
            serde_json::from_str(&fs_err::read_to_string(folder.join("adapter_config.json")).unwrap()).unwrap()
        };
        let theirs_config = read(&theirs);
        for (key, value) in read(ours.path()).as_object().unwrap() {
            assert_eq!(value, &theirs_config[key], "{case}: {key}");
        }
        let sorted = |folder: &std::path::Path| {
            let mut all = entries(&folder.join("adapter_model.safetensors"));
            all.sort_by(|x, y| x.0.cmp(&y.0));
            all
        };
        assert_eq!(sorted(ours.path()), sorted(&theirs), "{case}");
    }
}

#[test]
fn adapters_of_other_tools_load() {
    let config = config("llama-tied");
    let expected = peft::load(&golden("llama-tied").join("adapter"), &config).unwrap();

    // Half precision.
    let model = copy_of("llama-tied");
    let folder = model.path().join("adapter");
    let path = folder.join("adapter_model.safetensors");
    let halves: Vec<_> = entries(&path)
        .into_iter()
        .map(|(name, _, shape, bytes)| {
            let floats = bytes.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap()));
            (name, Dtype::F16, shape, floats.flat_map(|x| f16::from_f32(x).to_le_bytes()).collect())
        })
        .collect();
    write(&path, &halves);
    let adapter = peft::load(&folder, &config).unwrap();
    let rounded: Vec<f32> = expected.parameters().iter().map(|x| f16::from_f32(*x).to_f32()).collect();
    assert_eq!(adapter.parameters(), rounded);

    // A pattern instead of a list: the tensors say which maps it matched, and the export lists them.
    let settings = folder.join("adapter_config.json");
    edit_json(&settings, |json| json["target_modules"] = json!(r".*\.(q_proj|v_proj|down_proj)"));
    let adapter = peft::load(&folder, &config).unwrap();
    assert_eq!(adapter.layout().pairs(), expected.layout().pairs());
    assert_eq!(adapter.layout().target_modules()[0], "model.layers.0.self_attn.q_proj");

    // Rank-stabilised: alpha / √R.
    edit_json(&settings, |json| json["use_rslora"] = json!(true));
    let adapter = peft::load(&folder, &config).unwrap();
    assert!((f64::from(adapter.layout().scaling()) - 3.0 / 2f64.sqrt()).abs() < 1e-6);
}

#[test]
fn fewer_layers_load_when_the_settings_say_so() {
    let model = copy_of("llama-tied");
    let folder = model.path().join("adapter");
    let path = folder.join("adapter_model.safetensors");
    let kept: Vec<_> = entries(&path).into_iter().filter(|entry| entry.0.contains("layers.1.")).collect();
    write(&path, &kept);
    let config = config("llama-tied");
    let error = peft::load(&folder, &config).unwrap_err().to_string();
    assert!(error.contains("holds no adapter of `model.layers.0.self_attn.q_proj`"), "{error}");
    edit_json(&folder.join("adapter_config.json"), |json| json["layers_to_transform"] = json!([1]));
    let adapter = peft::load(&folder, &config).unwrap();
    assert!(adapter.layout().pairs().iter().all(|pair| pair.linear.layer == 1));
    assert_eq!(adapter.layout().pairs().len(), 3);
}

#[test]
fn adapters_that_mean_something_else_are_refused_by_name() {
    let cases = [
        ("peft_type", json!("PREFIX_TUNING"), "`peft_type` of PREFIX_TUNING"),
        ("use_dora", json!(true), "`use_dora` is set"),
        ("rank_pattern", json!({"q_proj": 4}), "`rank_pattern` is set"),
        ("alpha_pattern", json!({"q_proj": 4}), "`alpha_pattern` is set"),
        ("modules_to_save", json!(["lm_head"]), "`modules_to_save` is set"),
        ("bias", json!("lora_only"), "`bias` of lora_only"),
        ("init_lora_weights", json!("pissa"), "`init_lora_weights` of pissa"),
        ("r", json!(0), "LoRA rank 0"),
        ("r", json!(3), "stored as [2, 24], but the configuration needs [3, 24]"),
        ("lora_alpha", json!("x"), "`lora_alpha` is not a number"),
        ("target_modules", json!(["q_proj", "v_proj"]), "`target_modules` does not name"),
        ("target_modules", json!(7), "neither a list nor a string"),
    ];
    for (key, value, expected) in cases {
        let model = copy_of("llama-tied");
        let folder = model.path().join("adapter");
        edit_json(&folder.join("adapter_config.json"), |json| json[key] = value);
        let error = peft::load(&folder, &config("llama-tied")).unwrap_err().to_string();
        assert!(error.contains(expected), "{key}: {error}");
    }
}

#[test]
fn tensors_that_do_not_belong_are_refused_by_name() {
    let refusal = |tamper: &dyn Fn(&mut Vec<support::Entry>)| {
        let model = copy_of("llama-tied");
        let path = model.path().join("adapter/adapter_model.safetensors");
        let mut all = entries(&path);
        all.sort_by(|x, y| x.0.cmp(&y.0));
        tamper(&mut all);
        write(&path, &all);
        peft::load(&model.path().join("adapter"), &config("llama-tied")).unwrap_err().to_string()
    };
    assert!(refusal(&|all| all[0].0 = "base_model.model.lm_head.weight".into()).contains("`base_model.model.lm_head"));
    assert!(refusal(&|all| drop(all.remove(1))).contains("lora_B.weight` is missing, the other half"));
    assert!(refusal(&|all| all[0].3[..4].copy_from_slice(&f32::NAN.to_le_bytes())).contains("not finite"));
    assert!(refusal(&Vec::clear).contains("no LoRA matrices"));
    // An adapter of another family.
    let error = peft::load(&golden("gpt2-tied").join("adapter"), &config("llama-tied")).unwrap_err().to_string();
    assert!(error.contains("is not a LoRA matrix of a linear map of this llama model"), "{error}");
}

#[test]
fn folders_that_are_not_adapters_are_explained() {
    let model = copy_of("llama-tied");
    let folder = model.path().join("adapter");
    let refusal = || peft::load(&folder, &config("llama-tied")).unwrap_err().to_string();
    let path = folder.join("adapter_model.safetensors");
    let whole = fs_err::read(&path).unwrap();
    fs_err::write(&path, &whole[..whole.len() - 4]).unwrap();
    assert!(refusal().contains("truncated or damaged"), "{}", refusal());
    fs_err::rename(&path, folder.join("adapter_model.bin")).unwrap();
    assert!(refusal().contains("a pickle can run code"), "{}", refusal());
    fs_err::remove_file(folder.join("adapter_model.bin")).unwrap();
    assert!(refusal().contains("no `adapter_model.safetensors`"));
    fs_err::remove_file(folder.join("adapter_config.json")).unwrap();
    assert!(refusal().contains("it is not a PEFT adapter"));
}

#[test]
fn a_failed_write_reports_its_path_and_leaves_nothing() {
    let config = config("llama-tied");
    let adapter = peft::load(&golden("llama-tied").join("adapter"), &config).unwrap();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs_err::write(&file, "").unwrap();
    let error = peft::save(&adapter, "base", &file.join("adapter")).unwrap_err().to_string();
    assert!(error.contains("file"), "{error}");
    // A directory where the file should be: the rename fails after the temporary file was written.
    let target = folder.path().join("adapter");
    fs_err::create_dir_all(target.join("adapter_model.safetensors/x")).unwrap();
    peft::save(&adapter, "base", &target).unwrap_err();
    assert_eq!(fs_err::read_dir(&target).unwrap().count(), 1);
}
