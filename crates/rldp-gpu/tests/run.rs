//! Whole private runs on the emulated device: sums made there are the host's, and a lost device costs a charge and no more.

#![cfg(emulated)]
#![allow(clippy::unwrap_used)]

use std::path::Path;

use rldp_data::{TextTokenizer, demo};
use rldp_gpu::{Emulated, Faults, GpuEngine, GpuOptions};
use rldp_model::{
    Adapter, Engine, EngineError, ModelConfig, ModelFiles, Sequence, SequenceLoss, UnitInput, UnitInvariance, UnitSinks,
};
use rldp_train::{Inputs, Silent, files, load_records, resume, settings::TrainSettings, start};

fn settings(folder: &Path, out: &str, seed: &str) -> TrainSettings {
    let train = folder.join("train.csv");
    if !train.exists() {
        demo::write_notes(&train, 3, 24).unwrap();
    }
    let quoted = |path: &Path| format!("\"{}\"", path.display());
    let text = format!(
        "seed = 1\n[privacy]\nepsilon = 3.0\ndelta = 1e-5\nsteps = 3\nbatch_size = 6.0\nnoise_bands = 1\n{seed}\n\
         [data]\ntrain = {}\nunit_column = \"patient\"\nmax_length = 24\n\
         [model]\nmodel = \"demo\"\nrank = 2\nlora_alpha = 4.0\nprecision = \"f32\"\n\
         [optimizer]\nlearning_rate = 0.01\n[control]\ncontroller = \"fixed\"\n\
         [output]\nout = {}\ncheckpoint_every = 1\n",
        quoted(&train),
        quoted(&folder.join(out))
    );
    TrainSettings::from_toml(&text).unwrap()
}

fn model() -> ModelFiles {
    ModelFiles::from_bytes(demo::MODEL_CONFIG, demo::WEIGHTS).unwrap()
}

fn on_device(device: Emulated) -> GpuEngine {
    let options = GpuOptions { micro_batch_tokens: Some(96), ..GpuOptions::default() };
    GpuEngine::new(Box::new(device), &model(), options).unwrap()
}

fn inputs(settings: &TrainSettings, engine: Box<dyn Engine>) -> Inputs {
    let tokenizer = TextTokenizer::from_bytes(demo::TOKENIZER.as_bytes()).unwrap();
    let records = load_records(settings, &tokenizer, &model().config).unwrap();
    Inputs {
        engine,
        controller: None,
        units: records.units,
        secrets: records.secrets,
        eval: None,
        public: records.public,
        base_name: "demo".into(),
        base_digests: rldp_privacy::Digests::new(),
    }
}

/// The same engine, whose gradients the host clips and sums.
struct ByTheHost(GpuEngine);

impl Engine for ByTheHost {
    fn config(&self) -> &ModelConfig {
        self.0.config()
    }

    fn unit_invariance(&self) -> UnitInvariance {
        self.0.unit_invariance()
    }

    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError> {
        self.0.losses(adapter, sequences)
    }

    fn unit_gradients(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        sinks: &dyn UnitSinks,
    ) -> Result<(), EngineError> {
        self.0.unit_gradients(adapter, units, sinks)
    }

    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        self.0.logits(adapter, tokens)
    }
}

/// With sampling and noise from a seed, two runs differ only by who clips and sums.
#[test]
fn a_run_that_sums_on_the_device_is_the_hosts_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let run = |out: &str, engine: Box<dyn Engine>| {
        let settings = settings(folder.path(), out, "unsafe_noise_seed = 5");
        let mut trainer = start(settings.clone(), inputs(&settings, engine)).unwrap();
        assert!(trainer.run(&mut Silent).unwrap().finished);
        fs_err::read(settings.output.out.join("adapter/adapter_model.safetensors")).unwrap()
    };
    let device = run("device", Box::new(on_device(Emulated::new(1 << 30))));
    let host = run("host", Box::new(ByTheHost(on_device(Emulated::new(1 << 30)))));
    assert!(device == host, "another adapter");
}

#[test]
fn a_lost_device_leaves_its_step_charged_and_the_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), "run", "");
    let ledger = || fs_err::read_to_string(settings.output.out.join(files::LEDGER)).unwrap();
    let mut lost = false;
    for at in [1500, 900, 500, 300, 150, 60] {
        let _ = fs_err::remove_dir_all(&settings.output.out);
        let device = Emulated::new(1 << 30).with_faults(Faults { lost_at: Some(at), ..Faults::default() });
        let mut trainer = start(settings.clone(), inputs(&settings, Box::new(on_device(device)))).unwrap();
        if let Err(error) = trainer.run(&mut Silent) {
            assert!(error.to_string().contains("the device is lost"), "{error}");
            lost = true;
            break;
        }
    }
    assert!(lost, "the run was over before the device was lost");
    let charged = rldp_privacy::charged_steps(&ledger()).unwrap();
    assert!(charged >= 1, "a step whose device was lost stays charged");
    let engine = Box::new(on_device(Emulated::new(1 << 30)));
    let outcome = resume(settings.clone(), inputs(&settings, engine)).unwrap().run(&mut Silent).unwrap();
    assert!(outcome.finished);
    let found = rldp_privacy::verify(&ledger());
    assert!(found.holds && found.steps >= charged, "{found:?}");
}
