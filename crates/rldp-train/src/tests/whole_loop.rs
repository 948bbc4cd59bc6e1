//! The loop on the embedded demo model: what must hold whatever the noise is.

#![allow(clippy::unwrap_used)]

use rldp_model::{
    Adapter, Engine, ModelConfig, Sequence, SequenceLoss, UnitGradient, UnitInput, UnitInvariance, UnitSinks,
    engine::EngineError,
};

use crate::{
    Silent, Step, resume,
    settings::{ClippingKind, GeometryKind, TrainSettings, Trainable},
    testing::{StopAfter, demo_inputs as inputs, demo_settings as settings, demo_trainer as trainer, metrics},
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
        for (pair, std) in trainer.learner.adapter.layout().pairs().iter().zip(&release.noise_std) {
            let gradient = &release.mean_gradient.get()[pair.range()];
            let energy: f64 = gradient.iter().map(|g| (f64::from(*g) / std).powi(2)).sum();
            let count = pair.parameter_count() as f64;
            let off = (energy / count - 1.0) / (2.0 / count).sqrt();
            assert!(off.abs() < 6.0, "step {step}, {}: {off} deviations", pair.linear.name);
        }
    }
    assert!(trainer.private_step().unwrap().is_none(), "a fifth step was granted");
    assert_eq!(trainer.mechanism.spender.steps_charged(), 4);
}

/// Without noise, with a threshold nobody reaches and with everybody in the batch, private training is training.
#[test]
fn without_noise_and_clipping_the_full_batch_is_plain_lora() {
    for clipping in [ClippingKind::Flat, ClippingKind::Joint, ClippingKind::PairWise] {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path(), 12);
        settings.privacy.clipping = clipping;
        settings.privacy.batch_size = 12.0;
        settings.privacy.steps = 5;
        // The spacing of the grid is 2^-32 of the noise that the threshold asks for, so the threshold must not be wild.
        settings.privacy.epsilon = 8.0;
        settings.privacy.clip_norm = 10.0;
        settings.privacy.unsafe_noise_seed = Some(0);
        let mut trainer = trainer(&settings);
        trainer.mechanism.noise = rldp_privacy::NoiseSource::unsafe_silent();
        trainer.run(&mut Silent).unwrap();
        let plain = plain_lora(&settings);
        let (mut worst, mut moved) = (0.0_f32, 0.0_f32);
        for ((private, plain), first) in
            trainer.learner.adapter.parameters().iter().zip(&plain).zip(&trainer.learner.first_parameters)
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
    let mut adapter = crate::run::session::initial_adapter(settings, &inputs).unwrap();
    let mut optimizer = crate::Optimizer::new(settings.optimizer.clone(), adapter.parameters().len());
    let ones = vec![1.0; adapter.layout().pairs().len()];
    for step in 0..settings.privacy.steps {
        let units: Vec<_> =
            (0..inputs.units.len()).map(|unit| crate::mechanism::unit_input(&inputs.units, unit)).collect();
        let mut mean = vec![0.0_f32; adapter.parameters().len()];
        inputs
            .engine
            .for_each_unit_gradient(&adapter, &units, &mut |_, unit| {
                for (mean, g) in mean.iter_mut().zip(unit.gradient) {
                    *mean += g / units.len() as f32;
                }
            })
            .unwrap();
        let learning_rate = settings.optimizer.learning_rate_at(0.01, step, settings.privacy.steps);
        let beta1 = settings.optimizer.beta1;
        let step = Step { rescale: &ones, noise_std: &ones, lasting: 1.0, gains: &ones, beta1, learning_rate };
        optimizer.update(&mut adapter, &mean, step);
    }
    adapter.parameters().to_vec()
}

/// FFA-LoRA: A neither moves nor gets noise, and what B moves is paid for B's numbers alone.
#[test]
fn with_a_frozen_only_b_is_noised_and_moves() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path(), 12);
    settings.model.trainable = Trainable::B;
    settings.privacy.batch_size = 6.0;
    settings.optimizer.weight_decay = 0.1;
    settings.privacy.steps = 2;
    let mut trainer = trainer(&settings);
    let layout = trainer.learner.adapter.layout().clone();
    let b_numbers: usize = layout.pairs().iter().map(|pair| pair.b.len()).sum();
    let statistics = 2 + layout.pairs().len();
    assert_eq!(trainer.mechanism.spender.claim().noise_coordinates, (b_numbers + statistics) as u64);
    let release = trainer.private_step().unwrap().unwrap();
    for pair in layout.pairs() {
        let gradient = release.mean_gradient.get();
        assert!(gradient[pair.a.clone()].iter().all(|g| *g == 0.0), "{} got noise in A", pair.linear.name);
        assert!(gradient[pair.b.clone()].iter().all(|g| *g != 0.0), "{} lacks noise in B", pair.linear.name);
    }
    trainer.run(&mut Silent).unwrap();
    for (k, pair) in layout.pairs().iter().enumerate() {
        assert_eq!(
            trainer.learner.adapter.a(k),
            &trainer.learner.first_parameters[pair.a.clone()],
            "{}",
            pair.linear.name
        );
        assert_ne!(
            trainer.learner.adapter.b(k),
            &trainer.learner.first_parameters[pair.b.clone()],
            "{}",
            pair.linear.name
        );
    }
    let unit = crate::mechanism::unit_input(&trainer.mechanism.units, 0);
    let mut seen = Vec::new();
    trainer
        .engine
        .for_each_unit_gradient(&trainer.learner.adapter, &[unit], &mut |_, unit| seen = unit.gradient.to_vec())
        .unwrap();
    assert!(layout.pairs().iter().all(|pair| seen[pair.a.clone()].iter().all(|g| *g == 0.0)));
}

/// An engine that finds the same loss, and the same number all over the gradient, for every unit.
struct Constant {
    inner: Box<dyn Engine>,
    loss: f64,
    gradient: f32,
}

impl Engine for Constant {
    fn config(&self) -> &ModelConfig {
        self.inner.config()
    }

    fn unit_invariance(&self) -> UnitInvariance {
        UnitInvariance::Exact
    }

    fn losses(&mut self, adapter: Option<&Adapter>, sequences: &[Sequence]) -> Result<Vec<SequenceLoss>, EngineError> {
        self.inner.losses(adapter, sequences)
    }

    fn unit_gradients(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        sinks: &dyn UnitSinks,
    ) -> Result<(), EngineError> {
        let gradient = vec![self.gradient; adapter.parameters().len()];
        let mut sink = sinks.fork();
        (0..units.len()).for_each(|unit| sink.add(unit, UnitGradient { loss: self.loss, gradient: &gradient }));
        Ok(())
    }

    fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32]) -> Result<Vec<f32>, EngineError> {
        self.inner.logits(adapter, tokens)
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
            // As half-precision gradients of other tools do.
            trainer.engine = Box::new(Constant { inner, loss: f64::NAN, gradient: f32::INFINITY });
        }
        let outcome = trainer.run(&mut Silent).unwrap();
        let said = outcome.warnings.iter().any(|warning| warning.contains("NOT FINITE"));
        assert_eq!(said, broken, "{:?}", outcome.warnings);
    }
}

/// A step's bound is that of a uniform guess at first, and then follows from the metrics' line before alone, through a resume, too.
#[test]
fn the_paid_loss_is_bounded_by_what_was_released_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path(), 40);
    settings.privacy.batch_size = 40.0;
    settings.privacy.steps = 8;
    settings.privacy.epsilon = 30.0;
    settings.privacy.statistics_share = 0.3;
    let widest = (inputs(&settings).engine.config().vocab_size as f64).ln();
    // The start proves that the adapter can learn, so the engine is replaced after it.
    let learned = || Box::new(Constant { inner: inputs(&settings).engine, loss: 0.2, gradient: 1e-4 });
    let mut first = trainer(&settings);
    first.engine = learned();
    first.run(&mut StopAfter(4)).unwrap();
    drop(first);
    let mut second = resume(settings.clone(), inputs(&settings)).unwrap();
    second.engine = learned();
    second.run(&mut Silent).unwrap();
    let steps: Vec<_> = metrics(&settings).into_iter().filter(|line| line["kind"] == "step").collect();
    assert_eq!(steps.len(), 8);
    let mut expected = widest;
    for step in steps {
        let figure = |key: &str| step[key].as_f64().unwrap();
        assert!((figure("loss_bound") - expected).abs() < 1e-12, "{} instead of {expected}", figure("loss_bound"));
        expected = (3.0 * (figure("loss").max(0.0) + 2.0 * figure("loss_std"))).clamp(1e-3 * widest, widest);
    }
    assert!(expected < 0.3 * widest, "the bound did not follow: {expected}");
}

/// Whatever geometry stands before the mechanism, an empty batch releases noise of the energy that was asked for, in the
/// gradient's own coordinates, and a resumed run goes on from what was learned.
#[test]
fn a_geometry_keeps_the_noise_energy_and_survives_a_resume() {
    for (geometry, clipping) in
        [(GeometryKind::Adaclip, ClippingKind::Flat), (GeometryKind::Geoclip, ClippingKind::PairWise)]
    {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path(), 8);
        settings.privacy.geometry = geometry;
        settings.privacy.clipping = clipping;
        settings.privacy.batch_size = 8e-8;
        settings.privacy.steps = 16;
        settings.privacy.epsilon = 8.0;
        let mut trainer = trainer(&settings);
        let plain = trainer.mechanism.noise_levels().unwrap().std;
        let layout = trainer.learner.adapter.layout().clone();
        for _ in 0..14 {
            trainer.private_step().unwrap().unwrap();
        }
        let release = trainer.private_step().unwrap().unwrap();
        let energy = |stds: &[f64]| -> f64 {
            layout.pairs().iter().zip(stds).map(|(pair, std)| pair.parameter_count() as f64 * std * std).sum()
        };
        let (stated, asked) = (energy(&release.noise_std), energy(&plain));
        assert!((stated / asked - 1.0).abs() < 1e-5, "{geometry:?}: {stated} of {asked}");
        // The release of an empty batch is noise about a, an average of noise itself: energy 1 to about 1.1 of it, and
        // coordinates far fewer than pairs of them would need to be off by a half.
        let found: f64 = release.mean_gradient.get().iter().map(|g| f64::from(*g) * f64::from(*g)).sum();
        assert!((0.7..1.5).contains(&(found / asked)), "{geometry:?}: {found} of {asked}");
        trainer.checkpoint().unwrap();
        let learned = trainer.mechanism.geometry.as_ref().unwrap().state();
        drop(trainer);
        let resumed = resume(settings.clone(), inputs(&settings)).unwrap();
        assert_eq!(resumed.mechanism.geometry.as_ref().unwrap().state(), learned);
    }
}

/// The raw variant of the paper: it says that it guarantees nothing, and a unit's exact values reach the controller.
#[test]
fn raw_observations_leave_no_guarantee_and_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path(), 12);
    settings.privacy.batch_size = 12.0;
    settings.privacy.steps = 2;
    settings.control.unsafe_raw_observations = true;
    let mut trainer = trainer(&settings);
    assert!(trainer.statement().contains("NO PRIVACY GUARANTEE: the controller saw"), "{}", trainer.statement());
    trainer.private_step().unwrap().unwrap();
    let clip_norms = trainer.mechanism.now.clip_norms.clone();
    let summary = trainer.mechanism.raw.as_mut().unwrap().finish(&clip_norms).unwrap();
    let units: Vec<_> = (0..trainer.mechanism.units.len())
        .map(|unit| crate::mechanism::unit_input(&trainer.mechanism.units, unit))
        .collect();
    let mut losses = Vec::new();
    trainer
        .engine
        .for_each_unit_gradient(&trainer.learner.adapter, &units, &mut |_, unit| losses.push(unit.loss))
        .unwrap();
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    assert!((summary.loss.value() / mean - 1.0).abs() < 1e-9, "{} against {mean}", summary.loss.value());
    settings.control.unsafe_raw_observations = false;
    settings.output.out = folder.path().join("other");
    let honest = crate::testing::demo_trainer(&settings);
    assert!(honest.mechanism.raw.is_none() && honest.mechanism.spender.claim().no_guarantee().is_none());
}
