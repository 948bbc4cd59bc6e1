//! Plans for a number of units and a budget: how many steps, of what batch, and what they would have of signal and noise.
//!
//! Everything here is computed from public numbers: N, epsilon, delta, the model's shape and what the machine can do.

use rldp_model::ModelConfig;
use rldp_privacy::{Bands, Claim};
use serde::Serialize;

use crate::{
    error::TrainError,
    mechanism::plan::plan,
    settings::{MOST_STEPS, RegimeKind, TrainSettings},
};

/// Steps of a plan, unless too few records are left for their batches.
///
/// Fewer and larger steps have less noise for their records, more steps get further; from 26 to 250 steps of equally many
/// records, about sixty were best or near it on both tasks of `docs/results/bands.md`.
pub const USUAL_STEPS: u64 = 60;
/// Fewest steps of a plan: shorter runs do not get far enough, and noise of their steps cannot be correlated.
const FEWEST_STEPS: u64 = 24;
/// Fewest units of a batch before steps are dropped.
const SMALLEST_BATCH: f64 = 32.0;
/// A batch is at most this part of the units, so that noise can have four bands.
const LARGEST_FRACTION: f64 = 0.25;
/// A smaller batch is taken when it keeps this much of the largest one's signal-to-noise ratio: above it, larger batches cost
/// time and hardly save noise.
const ENOUGH: f64 = 0.95;
/// So is one that reaches this ratio, however much larger it could be: what noise takes away is then little beside what few steps do.
const PLENTY: f64 = 50.0;
/// Arithmetic that a run takes at most where nobody says what the machine can do: an hour at 280 GFLOP/s, which two cores with bf16
/// products give.
const USUAL_WORK: f64 = 1e15;
/// Records of a run at least, whatever the model's size.
const FEWEST_RECORDS: f64 = FEWEST_STEPS as f64 * SMALLEST_BATCH;
/// Batch of a run without noise, for which no batch is too small.
const BATCH_WITHOUT_NOISE: f64 = 64.0;
/// Runs of more steps are compared as if they had as many.
const LONGEST_COMPARED: u64 = 256;

/// d where no model is named: that of rank 8 on a model of a few hundred million numbers.
const USUAL_PARAMETERS: usize = 1_000_000;
/// Tokens of a record of which nothing is known, where its block has room for them.
pub const USUAL_TOKENS: usize = 128;

/// What a run has to do, as far as its plan depends on it.
#[derive(Clone, Debug)]
pub struct Workload {
    /// N, expected number of units that are trained on.
    pub units: f64,
    /// K, adapter pairs.
    pub pairs: usize,
    /// d, numbers that are trained.
    pub parameters: usize,
    /// Floating-point operations of a usual record; none when the model is not known.
    pub record_work: Option<f64>,
}

impl Workload {
    /// The workload of `units` units with the adapter of the settings.
    ///
    /// # Errors
    /// When the model does not have the modules that are to be adapted.
    pub fn new(settings: &TrainSettings, units: f64, model: Option<&ModelConfig>) -> Result<Self, TrainError> {
        let Some(config) = model else {
            return Ok(Self { units, pairs: 1, parameters: USUAL_PARAMETERS, record_work: None });
        };
        let model = &settings.model;
        let layout = model.layout(config)?;
        // Two operations a parameter and token forward, as many for the inputs' gradients; the adapter's are few.
        let record_work = 4.0 * config.parameter_count() as f64 * settings.data.max_length.min(USUAL_TOKENS) as f64;
        Ok(Self {
            units,
            pairs: layout.pairs().len(),
            parameters: layout.trained_count(),
            record_work: Some(record_work),
        })
    }

    /// Records that a run may take when nobody says what the machine can do.
    fn usual_records(&self) -> f64 {
        self.record_work.map_or(f64::INFINITY, |work| (USUAL_WORK / work).max(FEWEST_RECORDS))
    }
}

/// What of a plan its user has settled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// T.
    pub steps: Option<u64>,
    /// B.
    pub batch_size: Option<f64>,
    /// Passes over the records.
    pub epochs: Option<f64>,
    /// Most records of a run.
    pub records: Option<f64>,
}

/// A plan, and what is known of it before anything is spent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanRow {
    /// T.
    pub steps: u64,
    /// B, expected units a step.
    pub batch_size: f64,
    /// q.
    pub sampling_rate: f64,
    /// b.
    pub noise_bands: u64,
    /// z of a step.
    pub noise_multiplier: f64,
    /// How far T clipped gradients of one direction would carry the adapter, in the root mean square of what noise adds to it: above
    /// any real run's. None without noise.
    pub signal_to_noise: Option<f64>,
    /// T·B, expected records if every unit has one.
    pub records: f64,
    /// Passes over the units.
    pub epochs: f64,
}

/// The plan with T and B, of a workload.
///
/// # Errors
/// When the batch exceeds the units, or no noise reaches the target.
pub fn row(settings: &TrainSettings, work: &Workload, steps: u64, batch_size: f64) -> Result<PlanRow, TrainError> {
    let mut settings = settings.clone();
    (settings.privacy.steps, settings.privacy.batch_size) = (steps, batch_size);
    let found = plan(&settings, work.units, work.pairs, work.parameters)?;
    planned_row(&found.claim, found.controls.noise_multiplier, work)
}

/// The plan of a claim.
pub(crate) fn planned_row(claim: &Claim, noise_multiplier: f64, work: &Workload) -> Result<PlanRow, TrainError> {
    let (steps, batch_size, bands) = (claim.steps, claim.expected_batch_size, claim.noise_bands);
    Ok(PlanRow {
        steps,
        batch_size,
        sampling_rate: claim.sampling_rate,
        noise_bands: bands,
        noise_multiplier,
        signal_to_noise: signal_to_noise(steps, batch_size, noise_multiplier, bands, work.parameters)?,
        records: steps as f64 * batch_size,
        epochs: steps as f64 * batch_size / work.units,
    })
}

/// B·S / (z·F·√d), with S what steps of one direction and falling rates reach, F what noise of b bands leaves in them.
fn signal_to_noise(
    steps: u64,
    batch_size: f64,
    noise_multiplier: f64,
    bands: u64,
    parameters: usize,
) -> Result<Option<f64>, TrainError> {
    if noise_multiplier == 0.0 {
        return Ok(None);
    }
    let compared = steps.clamp(1, LONGEST_COMPARED);
    let mut reached = 0.0;
    let squares = (0..compared).map(|step| {
        reached += 1.0 - step as f64 / compared as f64;
        reached * reached
    });
    let signal = (squares.sum::<f64>() / compared as f64).sqrt();
    let noise = Bands::new(bands)?.noise_of_iterates(compared as usize);
    // Beyond what is compared, signal grows with the steps and noise with their root.
    let longer = (steps as f64 / compared as f64).sqrt();
    Ok(Some(batch_size * signal * longer / (noise_multiplier * noise * (parameters as f64).sqrt())))
}

/// The recommended plan, for what is not settled.
///
/// It depends on N, epsilon, delta, d and the model's size only, so that it is the same on every machine.
///
/// # Errors
/// When no plan fits the units, or no noise reaches the target.
pub fn recommend(settings: &TrainSettings, work: &Workload, asked: &Asked) -> Result<PlanRow, TrainError> {
    if work.units.is_nan() || work.units < 1.0 {
        return Err(TrainError::Refused("there is no unit to train on".into()));
    }
    let all = work.units.floor();
    if let (None, Some(epochs)) = (asked.steps, asked.epochs)
        && epochs * work.units / asked.batch_size.unwrap_or(all) > MOST_STEPS as f64
    {
        return Err(TrainError::Usage(format!(
            "--epochs {epochs} of {} units would take more than {MOST_STEPS} steps; ask for fewer",
            work.units
        )));
    }
    if let Some(batch_size) = asked.batch_size {
        let steps = match (asked.steps, asked.epochs, asked.records) {
            (Some(steps), _, _) => steps,
            (None, Some(epochs), _) => whole(epochs * work.units / batch_size),
            (None, None, Some(records)) => whole((records / batch_size).floor()).min(USUAL_STEPS),
            (None, None, None) => USUAL_STEPS,
        };
        return row(settings, work, steps, batch_size);
    }
    let largest = (all * LARGEST_FRACTION).floor().max(1.0);
    if let Some(records) = asked.epochs.map(|epochs| epochs * work.units) {
        // All of them are asked for, however many steps it takes.
        let steps = asked.steps.unwrap_or_else(|| steps_for(records).max(whole(records / largest)));
        return row(settings, work, steps, (records / steps as f64).clamp(1.0, all));
    }
    let records = asked.records.unwrap_or_else(|| work.usual_records());
    let steps = asked.steps.unwrap_or_else(|| steps_for(records));
    let largest = (records / steps as f64).clamp(1.0, largest).floor();
    smallest_enough(settings, work, steps, largest)
}

/// As many steps as usual, or fewer where their batches would be too small; never more than records.
fn steps_for(records: f64) -> u64 {
    whole(records / SMALLEST_BATCH).clamp(FEWEST_STEPS, USUAL_STEPS).min(whole(records.floor()))
}

/// At least one, and not beyond what numbers of steps are.
fn whole(steps: f64) -> u64 {
    steps.round().clamp(1.0, 1e9) as u64
}

/// The smallest batch whose signal-to-noise ratio is about the largest one's, or plenty.
fn smallest_enough(settings: &TrainSettings, work: &Workload, steps: u64, largest: f64) -> Result<PlanRow, TrainError> {
    let best = row(settings, work, steps, largest)?;
    let Some(least) = best.signal_to_noise.map(|ratio| PLENTY.min(ENOUGH * ratio)) else {
        return row(settings, work, steps, BATCH_WITHOUT_NOISE.min(largest));
    };
    let mut sizes: Vec<f64> = readable_sizes().take_while(|size| *size < largest).collect();
    let mut found = best;
    // The ratio grows with the batch: halve what is left.
    while !sizes.is_empty() {
        let middle = sizes.len() / 2;
        let tried = row(settings, work, steps, sizes[middle])?;
        if tried.signal_to_noise.is_some_and(|ratio| ratio >= least) {
            sizes.truncate(middle);
            found = tried;
        } else {
            sizes.drain(..=middle);
        }
    }
    Ok(found)
}

/// Batches from the smallest on, half as large again each, to two digits.
fn readable_sizes() -> impl Iterator<Item = f64> {
    let sizes = std::iter::successors(Some(SMALLEST_BATCH), |size| Some(size * 1.5));
    sizes.map(|size| {
        let unit = 10f64.powf(size.log10().floor() - 1.0);
        (size / unit).round() * unit
    })
}

/// Plans around the recommended one: with fewer and more records, and with as many records in fewer and more steps.
///
/// # Errors
/// As [`recommend`]; plans around it that no noise reaches the target of are left out.
pub fn around(settings: &TrainSettings, work: &Workload, asked: &Asked) -> Result<(Vec<PlanRow>, usize), TrainError> {
    let best = recommend(settings, work, asked)?;
    let PlanRow { steps, batch_size, .. } = best;
    let most = work.units.floor();
    let variants = [(1, 0.25), (1, 0.5), (1, 2.0)].map(|(more, factor)| (steps * more, (batch_size * factor).round()));
    let deals = [(steps.div_ceil(2), 2.0), (steps * 2, 0.5), (steps * 4, 0.25)];
    let deals = deals.map(|(steps, factor)| (steps, (batch_size * factor).round()));
    let fits = |(_, batch): &(u64, f64)| *batch >= 1.0 && *batch <= most;
    let mut rows = vec![best.clone()];
    for (steps, batch) in variants.into_iter().chain(deals).filter(fits) {
        rows.extend(row(settings, work, steps, batch).ok());
    }
    rows.sort_by(|a, b| a.records.total_cmp(&b.records).then(a.steps.cmp(&b.steps)));
    rows.dedup();
    let recommended = rows.iter().position(|row| *row == best).unwrap_or(0);
    Ok((rows, recommended))
}

/// Below this signal-to-noise ratio a run's adapter is noise.
const HOPELESS: f64 = 0.05;

impl PlanRow {
    /// Why nothing can be expected of the plan; none when something can.
    pub fn warning(&self, regime: RegimeKind) -> Option<String> {
        let ratio = self.signal_to_noise.filter(|ratio| *ratio < HOPELESS)?;
        let noise = match regime {
            RegimeKind::Committed => "",
            RegimeKind::Deck | RegimeKind::Adaptive => " of the first step",
        };
        Some(format!(
            "noise will drown what is learned: even if all gradients agreed, noise in the adapter would be {:.0} times as large \
             (noise multiplier {:.1}{noise}); a larger epsilon, more units, a lower --rank or fewer --target-modules would help",
            1.0 / ratio,
            self.noise_multiplier
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    fn work(units: f64) -> Workload {
        Workload { units, pairs: 4, parameters: 4000, record_work: Some(1e9) }
    }

    /// The rule's own words: within 5 % of the largest batch's ratio, with less work where noise leaves nothing to gain.
    #[test]
    fn the_smallest_sufficient_batch_is_recommended() {
        for (units, epsilon) in [(300.0, 1.0), (5_000.0, 0.5), (5_000.0, 8.0), (100_000.0, 2.0)] {
            let mut settings = settings();
            (settings.privacy.epsilon, settings.privacy.noise_bands) = (epsilon, None);
            let found = recommend(&settings, &work(units), &Asked::default()).unwrap();
            assert_eq!(found.steps, USUAL_STEPS);
            let largest = row(&settings, &work(units), 60, (units / 4.0).floor()).unwrap();
            assert!(found.batch_size <= largest.batch_size, "{found:?}");
            let least = PLENTY.min(ENOUGH * largest.signal_to_noise.unwrap());
            assert!(found.signal_to_noise.unwrap() >= least, "{found:?}");
        }
        let mut settings = settings();
        settings.privacy.epsilon = 0.5;
        let found = recommend(&settings, &work(5_000.0), &Asked::default()).unwrap();
        assert!(found.batch_size < 500.0, "noise grows with the batch here: {found:?}");
    }

    #[test]
    fn what_is_asked_for_is_kept() {
        let (settings, work) = (settings(), work(1000.0));
        let plan = |asked: Asked| recommend(&settings, &work, &asked).unwrap();
        assert_eq!(plan(Asked { steps: Some(7), ..Asked::default() }).steps, 7);
        let kept = plan(Asked { batch_size: Some(50.0), ..Asked::default() });
        assert_eq!((kept.steps, kept.batch_size), (60, 50.0));
        let passes = plan(Asked { batch_size: Some(50.0), epochs: Some(3.0), ..Asked::default() });
        assert_eq!((passes.steps, passes.epochs), (60, 3.0));
        let passes = plan(Asked { epochs: Some(100.0), ..Asked::default() });
        assert!((passes.epochs - 100.0).abs() < 1e-9 && passes.sampling_rate <= 0.25 + 1e-9, "{passes:?}");
        let few = plan(Asked { records: Some(960.0), ..Asked::default() });
        assert!(few.records <= 960.0 && few.steps == 30, "{few:?}");
    }

    /// A model of a hundred million parameters gets the records of an hour, not of a night.
    #[test]
    fn large_models_get_fewer_records() {
        let mut settings = settings();
        settings.privacy.epsilon = 8.0;
        let work = |units| Workload { parameters: 1_000_000, ..work(units) };
        let large = Workload { record_work: Some(1e11), ..work(100_000.0) };
        let found = recommend(&settings, &large, &Asked::default()).unwrap();
        assert!(found.records <= 10_000.0 && found.records > 5_000.0, "{found:?}");
        let huge = Workload { record_work: Some(1e16), ..work(100_000.0) };
        assert_eq!(recommend(&settings, &huge, &Asked::default()).unwrap().records, FEWEST_RECORDS);
    }

    /// One band, constant direction: S/F is known in closed form for long runs, ∫(u − u²/2)² and ∫(1 − (1 − u)³)/3.
    #[test]
    fn the_ratio_of_long_runs_is_the_integral() {
        let closed = 0.365_148 / 0.5;
        let found = signal_to_noise(256, 1.0, 1.0, 1, 1).unwrap().unwrap();
        assert!((found / (closed * 16.0) - 1.0).abs() < 0.02, "{found}");
        let longer = signal_to_noise(1024, 1.0, 1.0, 1, 1).unwrap().unwrap();
        assert!((longer / found - 2.0).abs() < 1e-9);
    }

    #[test]
    fn plans_around_the_recommended_one_are_marked() {
        let (rows, recommended) = around(&settings(), &work(5000.0), &Asked::default()).unwrap();
        assert!(rows.len() >= 5);
        assert_eq!(rows[recommended], recommend(&settings(), &work(5000.0), &Asked::default()).unwrap());
        assert!(rows.is_sorted_by(|a, b| a.records <= b.records));
    }

    #[test]
    fn drowned_plans_are_said_to_be() {
        let mut settings = settings();
        settings.privacy.epsilon = 1e-3;
        let found = recommend(&settings, &work(300.0), &Asked::default()).unwrap();
        assert!(found.warning(RegimeKind::Committed).unwrap().contains("noise will drown"), "{found:?}");
        settings.privacy.epsilon = 4.0;
        let found = recommend(&settings, &work(3000.0), &Asked::default()).unwrap();
        assert_eq!(found.warning(RegimeKind::Committed), None);
    }
}
