//! Detectors: each runs steps and returns what it found wrong.
//!
//! Statistical ones state their false-alarm rate.

use std::path::Path;

use rldp_data::demo;
use rldp_privacy::{NoiseSource, NoisyRelease};
use tempfile::TempDir;

use super::Step;
use crate::{
    Silent, Trainer, resume,
    settings::TrainSettings,
    start,
    testing::{demo_inputs, demo_settings, demo_trainer},
};

/// Patients of the larger of two neighbouring data sets; the last one has several notes.
const PATIENTS: usize = 13;

fn settings(folder: &Path, patients: usize) -> TrainSettings {
    let mut settings = demo_settings(folder, patients);
    settings.model.rank = 2;
    settings.model.target_modules = Some(vec!["c_proj".into()]);
    settings.privacy.steps = 4;
    settings.privacy.batch_size = patients as f64;
    // Far below any gradient, so that every unit sits on its bound.
    settings.privacy.clip_norm = 1e-3;
    settings.privacy.unsafe_noise_seed = Some(11);
    settings
}

/// Two data sets that differ in one patient, trained side by side: everybody sampled when it is their turn, the same noise, the
/// same adapter before every step.
struct Neighbours {
    with: Trainer,
    without: Trainer,
    /// They hold the records.
    _folders: [TempDir; 2],
}

impl Neighbours {
    /// Noise has `bands` bands, over `steps` steps.
    fn new(bands: u64, steps: u64) -> Self {
        let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let of = |folder: &TempDir, units: fn(&Path) -> usize| {
            let mut settings = settings(folder.path(), PATIENTS);
            settings.privacy.steps = steps;
            settings.privacy.noise_bands = Some(bands);
            settings.privacy.batch_size = units(settings.data.train.first()) as f64 / bands as f64;
            demo_trainer(&settings)
        };
        let (with, mut without) = (of(&folders[0], |_| PATIENTS), of(&folders[1], remove_last_patient));
        // The expected batch is public and the same for neighbours.
        without.mechanism.batch_size = with.mechanism.batch_size;
        Self { with, without, _folders: folders }
    }

    /// Releases of a step of both, after which both have the adapter that the first leads to.
    fn step(&mut self, step: Step) -> Result<[NoisyRelease; 2], String> {
        let Self { with, without, .. } = self;
        let (one, two) = (step(with).unwrap().unwrap(), step(without).unwrap().unwrap());
        with.update(&one, &mut Silent).map_err(|error| error.to_string())?;
        without.learner.adapter.parameters_mut().copy_from_slice(with.learner.adapter.parameters());
        Ok([one, two])
    }
}

/// Record and replay: in units of the noise, the releases of neighbours differ by what the patient moved, and 1/z bounds that.
///
/// Deterministic. `Ok` is the largest move over the bound.
pub(super) fn one_unit_moves_the_release_too_far(step: Step) -> Result<f64, String> {
    let mut neighbours = Neighbours::new(1, 4);
    let mut largest = 0.0_f64;
    for index in 1..=3 {
        let z = neighbours.with.mechanism.now.noise_multiplier;
        let [one, two] = neighbours.step(step)?;
        let moved = z * distance(&neighbours.with, &one, &two);
        largest = largest.max(moved);
        if moved > 1.0 + 1e-3 {
            return Err(format!("step {index}: one unit moved the release by {moved} times what was charged"));
        }
    }
    Ok(largest)
}

/// The same under noise of four bands: undone of their correlation, the releases of the four
/// steps that a turn reaches differ by no more than one step's bound together.
///
/// Deterministic. `Ok` is the largest move of a window over the bound.
pub(super) fn one_unit_moves_a_window_too_far(step: Step) -> Result<f64, String> {
    const STEPS: usize = 8;
    let mut neighbours = Neighbours::new(4, STEPS as u64);
    let with = &neighbours.with;
    let stds: Vec<f64> = with
        .mechanism
        .noise_levels()
        .unwrap()
        .std
        .iter()
        .map(|std| std / with.mechanism.spender.bands().deviation())
        .collect();
    let mut apart: Vec<Vec<f64>> = Vec::new();
    for _ in 0..STEPS {
        let [one, two] = neighbours.step(step)?;
        let pairs = neighbours.with.learner.adapter.layout().pairs().iter().zip(&stds);
        let of_pair = |(pair, std): (&rldp_model::Pair, &f64)| {
            let both = one.mean_gradient.get()[pair.range()].iter().zip(&two.mean_gradient.get()[pair.range()]);
            both.map(|(a, b)| f64::from(a - b) / std).collect::<Vec<_>>()
        };
        apart.push(pairs.flat_map(of_pair).collect());
    }
    let with = &neighbours.with;
    let (z, weights) = (with.mechanism.now.noise_multiplier, with.mechanism.spender.bands().fractions());
    let moved: Vec<f64> = (0..STEPS)
        .map(|at| {
            let row = (0..apart[at].len()).map(|i| {
                let parts = weights.iter().enumerate().filter(|(j, _)| *j <= at);
                parts.map(|(j, c)| c * apart[at - j][i]).sum::<f64>()
            });
            z * z * row.map(|u| u * u).sum::<f64>()
        })
        .collect();
    let first = moved.iter().position(|move_of| *move_of > 1e-6).ok_or("nobody had a turn")?;
    let windows = moved[first..].chunks(4).map(|window| window.iter().sum::<f64>().sqrt());
    let largest = windows.fold(0.0, f64::max);
    if largest > 1.0 + 1e-3 {
        return Err(format!("one unit moved the releases of a window by {largest} times what was charged"));
    }
    Ok(largest)
}

/// L2 distance of two releases in units of each number's noise.
fn distance(trainer: &Trainer, one: &NoisyRelease, two: &NoisyRelease) -> f64 {
    let mut square = 0.0;
    for (pair, std) in trainer.learner.adapter.layout().pairs().iter().zip(&one.noise_std) {
        let both = one.mean_gradient.get()[pair.range()].iter().zip(&two.mean_gradient.get()[pair.range()]);
        square += both.map(|(a, b)| (f64::from(a - b) / std).powi(2)).sum::<f64>();
    }
    let (one, two) = (one.statistics.as_ref().unwrap(), two.statistics.as_ref().unwrap());
    let apart = |a: f64, b: f64, std: f64| ((a - b) / std).powi(2);
    square += apart(*one.mean_loss.get(), *two.mean_loss.get(), one.mean_loss_std);
    let fractions = (one.non_finite_fraction.get(), two.non_finite_fraction.get());
    square += apart(*fractions.0, *fractions.1, one.non_finite_fraction_std);
    let clipped = one.clip_fractions.get().iter().zip(two.clip_fractions.get());
    square += clipped.map(|(a, b)| apart(*a, *b, one.clip_fractions_std)).sum::<f64>();
    square.sqrt()
}

/// Takes the last patient out of a file of notes; the number of patients that stay.
fn remove_last_patient(path: &Path) -> usize {
    let notes = demo::notes(3, PATIENTS);
    let last = notes.last().unwrap().patient.clone();
    let text = fs_err::read_to_string(path).unwrap();
    let kept: String = text.lines().filter(|line| !line.starts_with(&last)).map(|line| format!("{line}\n")).collect();
    fs_err::write(path, kept).unwrap();
    let mut patients: Vec<String> = notes.into_iter().map(|note| note.patient).filter(|name| *name != last).collect();
    patients.sort();
    patients.dedup();
    patients.len()
}

/// A run in which nobody is ever sampled.
pub(super) fn deserted(folder: &Path) -> TrainSettings {
    let mut settings = settings(folder, 4);
    settings.privacy.batch_size = 4e-8;
    settings
}

/// Deterministic.
pub(super) fn empty_batches_release_noise(step: Step) -> Result<(), String> {
    let folder = TempDir::new().unwrap();
    let mut trainer = demo_trainer(&deserted(folder.path()));
    for index in 1..=3 {
        if step(&mut trainer).unwrap().is_none() {
            return Err(format!("step {index} of an empty batch released nothing"));
        }
    }
    Ok(())
}

/// Σ g²/s² over P numbers has mean P and deviation √(2P); off by more than 6 is a false alarm once in 10^8 steps.
pub(super) fn noise_has_the_charged_energy(step: Step) -> Result<(), String> {
    let folder = TempDir::new().unwrap();
    let mut trainer = demo_trainer(&deserted(folder.path()));
    for index in 1..=3 {
        let release = step(&mut trainer).unwrap().unwrap();
        let (mut energy, mut count) = (0.0, 0.0);
        for (pair, std) in trainer.learner.adapter.layout().pairs().iter().zip(&release.noise_std) {
            energy +=
                release.mean_gradient.get()[pair.range()].iter().map(|g| (f64::from(*g) / std).powi(2)).sum::<f64>();
            count += pair.parameter_count() as f64;
        }
        let off = (energy - count) / (2.0 * count).sqrt();
        if off.abs() > 6.0 {
            return Err(format!("step {index}: the noise's energy is {off} deviations from what was charged"));
        }
    }
    Ok(())
}

/// Without noise, and with everybody clipped, the clip fractions say how many units there were. Over 40 steps of 12 units at
/// q = 1/2 the same number every time has a probability below 10^-20, and a mean 6 deviations off below 10^-8.
pub(super) fn batch_sizes_vary(step: Step) -> Result<(), String> {
    let folder = TempDir::new().unwrap();
    let mut settings = settings(folder.path(), 12);
    settings.privacy.batch_size = 6.0;
    settings.privacy.steps = 40;
    let mut trainer = demo_trainer(&settings);
    trainer.mechanism.noise = NoiseSource::unsafe_silent();
    let sizes: Vec<f64> = (0..40)
        .map(|_| {
            let release = step(&mut trainer).unwrap().unwrap();
            let fractions = release.statistics.unwrap().clip_fractions.into_inner();
            let fraction = fractions.iter().copied().fold(0.0, f64::max);
            (6.0 * (2.0 * fraction - 1.0)).round()
        })
        .collect();
    let mean = sizes.iter().sum::<f64>() / 40.0;
    if sizes.iter().all(|size| *size == sizes[0]) || (mean - 6.0).abs() > 6.0 * (3.0_f64 / 40.0).sqrt() {
        return Err(format!("batches of {sizes:?} units are no Poisson samples"));
    }
    Ok(())
}

/// A committed plan grants the noise it fixed and no other. Deterministic.
pub(super) fn unplanned_noise_is_granted(step: Step) -> Result<(), String> {
    let folder = TempDir::new().unwrap();
    let mut trainer = demo_trainer(&settings(folder.path(), 4));
    trainer.mechanism.now.noise_multiplier *= 0.9;
    match step(&mut trainer) {
        Ok(Some(_)) => Err("a step with other noise than the committed plan's was granted".into()),
        Ok(None) => Ok(()),
        Err(error) => panic!("{error}"),
    }
}

/// Two processes of one run draw from `source`; their noise on empty batches has correlation 0 with deviation 1/√P. Above 6 is
/// a false alarm once in 10^8.
pub(super) fn resumed_noise_repeats(source: impl Fn() -> NoiseSource) -> Result<(), String> {
    let folder = TempDir::new().unwrap();
    let settings = deserted(folder.path());
    let draw = |mut trainer: Trainer| {
        trainer.mechanism.noise = source();
        let release = trainer.private_step().unwrap().unwrap();
        trainer.checkpoint().unwrap();
        release.mean_gradient.into_inner()
    };
    let first = draw(start(settings.clone(), demo_inputs(&settings)).unwrap());
    let second = draw(resume(settings.clone(), demo_inputs(&settings)).unwrap());
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let correlation = product(&first, &second) / (product(&first, &first) * product(&second, &second)).sqrt();
    if correlation.abs() * (first.len() as f64).sqrt() > 6.0 {
        return Err(format!("noise before and after a resume has correlation {correlation}"));
    }
    Ok(())
}

/// Whoever holds other records but saw the same releases observes the same. Deterministic.
pub(super) fn observation_is_post_processing(
    observe: impl Fn(&mut Trainer, &NoisyRelease) -> Vec<f64>,
) -> Result<(), String> {
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut with = demo_trainer(&settings(folder.path(), PATIENTS));
    let other = settings(other.path(), PATIENTS);
    remove_last_patient(other.data.train.first());
    let mut without = demo_trainer(&TrainSettings {
        privacy: crate::settings::PrivacySettings { batch_size: 5.0, ..other.privacy.clone() },
        ..other
    });
    let release = with.private_step().unwrap().unwrap();
    let (one, two) = (observe(&mut with, &release), observe(&mut without, &release));
    if one == two {
        Ok(())
    } else {
        Err("the controller's observation depends on the records beyond what was released".into())
    }
}
