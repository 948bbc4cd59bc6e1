//! A real pretrained model from the optional folder of shared material.

use serde_json::{Value, json};

use crate::support::{SMALL_RUN, Scene, shared};

/// The model, copied with another `model_type`; `None` with a word on standard error where there is none.
fn stories(scene: &Scene, model_type: &str) -> Option<()> {
    let Some(source) = shared().map(|shared| shared.join("models/stories260k")) else {
        eprintln!("skipped: there is no shared folder with models");
        return None;
    };
    let mut config: Value = serde_json::from_slice(&fs_err::read(source.join("config.json")).unwrap()).unwrap();
    config["model_type"] = json!(model_type);
    scene.write("model/config.json", config.to_string());
    for file in ["tokenizer.json", "model.safetensors"] {
        scene.write(&format!("model/{file}"), fs_err::read(source.join(file)).unwrap());
    }
    Some(())
}

#[test]
fn a_real_llama_and_the_same_weights_as_mistral_learn_privately() {
    let mut found = Vec::new();
    for model_type in ["llama", "mistral"] {
        let scene = Scene::new();
        if stories(&scene, model_type).is_none() {
            return;
        }
        let words = format!("{} --out run --learning-rate 0.02", SMALL_RUN.replace("--steps 6", "--steps 12"));
        scene.rldp(&words).expect(0);
        assert_eq!(scene.rldp("privacy verify run --json").expect(0).json()["holds"], true);
        let perplexity = |adapter: &str| {
            let words = format!("evaluate --model model {adapter} --data eval.csv --json");
            scene.rldp(&words).expect(0).json()["perplexity"].as_f64().unwrap()
        };
        let (before, after) = (perplexity(""), perplexity("--adapter run/adapter"));
        assert!(after < 0.8 * before, "{model_type}: {before} to {after}");
        found.push(before);
    }
    assert!((found[0] / found[1] - 1.0).abs() < 1e-6, "the families disagree without a window: {found:?}");
}
