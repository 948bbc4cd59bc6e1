//! The loop on the embedded demo model: what must hold whatever the noise is.

#![allow(clippy::unwrap_used)]

use rldp_model::{Adapter, Engine, ModelConfig, Sequence, SequenceLoss, UnitGradient, UnitInput, engine::EngineError};

use crate::{
    Silent,
    settings::{ClippingKind, TrainSettings},
    testing::{demo_inputs as inputs, demo_settings as settings, demo_trainer as trainer},
};

/// Σ g² / (d s²) of each pair has mean 1 and deviation √(2/d) when only noise was released. 6 deviations: false alarm below
/// 1e-7 for all pairs and steps together.
#[test]
fn empty_batches_still_make_noisy_steps() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path(), 8);
    // A unit is sampled once in a hundred million steps.
    settings.privacy.batch_size = 8e-8;
    settings.privacy.steps = 4;
    let mut trainer = trainer(&settings);
    for step in 1..=4 {
        let release = trainer.private_step().unwrap().unwrap();
        for (pair, std) in trainer.adapter.layout().pairs().iter().zip(&release.noise_std) {
            let gradient = &release.mean_gradient.get()[pair.range()];
            let energy: f64 = gradient.iter().map(|g| (f64::from(*g) / std).powi(2)).sum();
            let count = pair.parameter_count() as f64;
            let off = (energy / count - 1.0) / (2.0 / count).sqrt();
            assert!(off.abs() < 6.0, "step {step}, {}: {off} deviations", pair.linear.name);
        }
    }
    assert!(trainer.private_step().unwrap().is_none(), "a fifth step was granted");
    assert_eq!(trainer.spender.steps_charged(), 4);
}

/// Without noise, with a threshold nobody reaches and with everybody in the batch, private training is training.
#[test]
fn without_noise_and_clipping_the_full_batch_is_plain_lora() {
    for clipping in [ClippingKind::Flat, ClippingKind::PairWise] {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path(), 12);
        settings.privacy.clipping = clipping;
        settings.privacy.batch_size = 12.0;
        settings.privacy.steps = 5;
        // A grid step is 2^-32 of the noise that the threshold asks for, so the threshold must not be wild.
        settings.privacy.epsilon = 8.0;
        settings.privacy.clip_norm = 10.0;
        settings.privacy.unsafe_noise_seed = Some(0);
        let mut trainer = trainer(&settings);
        trainer.noise = rldp_privacy::NoiseSource::unsafe_silent();
        trainer.run(&mut Silent).unwrap();
        let plain = plain_lora(&settings);
        let (mut worst, mut moved) = (0.0_f32, 0.0_f32);
        for ((private, plain), first) in trainer.adapter.parameters().iter().zip(&plain).zip(&trainer.first_parameters)
        {
            worst = worst.max((private - plain).abs());
            moved = moved.max((plain - first).abs());
        }
        assert!(moved > 1e-2 && worst < 1e-3 * moved, "{clipping:?}: off by {worst}, moved by {moved}");
    }
}

/// The textbook loop: mean gradient over all units, AdamW.
fn plain_lora(settings: &TrainSettings) -> Vec<f32> {
    let mut inputs = inputs(settings);
    let mut adapter = crate::session::initial_adapter(settings, &inputs).unwrap();
    let mut optimizer = crate::AdamW::new(settings.optimizer.clone(), adapter.parameters().len());
    let ones = vec![1.0; adapter.layout().pairs().len()];
    for step in 0..settings.privacy.steps {
        let units: Vec<_> =
            (0..inputs.units.len()).map(|unit| crate::trainer::unit_input(&inputs.units, unit)).collect();
        let mut mean = vec![0.0_f32; adapter.parameters().len()];
        inputs
            .engine
            .unit_gradients(&adapter, &units, &mut |_, unit| {
                for (mean, g) in mean.iter_mut().zip(unit.gradient) {
                    *mean += g / units.len() as f32;
                }
            })
            .unwrap();
        let rate = settings.optimizer.learning_rate_at(step, settings.privacy.steps);
        optimizer.update(&mut adapter, &mean, &ones, rate);
    }
    adapter.parameters().to_vec()
}

/// An engine whose gradients overflow, as half-precision ones of other tools do.
struct Overflowing(Box<dyn Engine>);

impl Engine for Overflowing {
    fn config(&self) -> &ModelConfig {
        self.0.config()
    }

    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError> {
        self.0.losses(adapter, sequences)
    }

    fn unit_gradients(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        sink: &mut dyn FnMut(usize, UnitGradient),
    ) -> Result<(), EngineError> {
        let gradient = vec![f32::INFINITY; adapter.parameters().len()];
        (0..units.len()).for_each(|unit| sink(unit, UnitGradient { loss: f64::NAN, gradient: &gradient }));
        Ok(())
    }

    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        self.0.logits(adapter, tokens)
    }
}

#[test]
fn a_run_whose_gradients_overflow_says_so_and_a_sound_one_does_not() {
    for broken in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path(), 40);
        settings.privacy.batch_size = 40.0;
        settings.privacy.steps = 3;
        settings.privacy.epsilon = 30.0;
        settings.privacy.statistics_share = 0.5;
        let mut trainer = trainer(&settings);
        if broken {
            let inner = std::mem::replace(&mut trainer.engine, inputs(&settings).engine);
            trainer.engine = Box::new(Overflowing(inner));
        }
        let outcome = trainer.run(&mut Silent).unwrap();
        let said = outcome.warnings.iter().any(|warning| warning.contains("NOT FINITE"));
        assert_eq!(said, broken, "{:?}", outcome.warnings);
    }
}
