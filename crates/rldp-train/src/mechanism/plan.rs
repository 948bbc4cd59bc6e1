//! From settings and the public number of units to the mechanism of every step, and the claim it supports.

use rldp_privacy::{
    Adjacency, Bands, Claim, Guarantee, NormBins, Regime, StatisticSpec,
    accounting::{AccountantKind, Event, FilterSpec, calibrate_noise_multiplier, calibrate_noise_scale},
    ideal_delta, noise_delta,
};

use super::{CLIP_RANGE, Controls};
use crate::{
    error::TrainError,
    settings::{CHOICES_OF_BANDS, PrivacySettings, RateRule, RegimeKind, RunNoise, TrainSettings, most_chosen_bands},
};

/// What is decided before the first step.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The promise, as it stands at the head of the ledger.
    pub claim: Claim,
    /// What the first step is made with, its noise multiplier among it (that of every step, in the committed regime).
    pub controls: Controls,
    /// Learning rate that follows from its noise.
    pub rate: RateRule,
}

/// More bands are taken when they leave less than this of the noise: each takes memory for another two adapters.
const WORTH_IT: f64 = 0.97;
/// Runs of more steps are compared as if they had as many.
const LONGEST_COMPARED: usize = 256;

/// Bins of the histogram of norms: each is wider than the last by √2.
const NORM_BINS: usize = 24;

/// The paid statistics: losses are bounded by zero and the uniform guess, ln V, both public. A controller that reads a
/// histogram of norms gets one over the range in which it may move the threshold.
pub fn statistic_spec(settings: &TrainSettings, vocab_size: usize) -> Option<StatisticSpec> {
    (settings.privacy.statistics_share > 0.0).then(|| StatisticSpec {
        loss_low: 0.0,
        loss_high: (vocab_size.max(2) as f64).ln(),
        norms: settings
            .control
            .controller
            .needs_norms()
            .then(|| NormBins::logarithmic(settings.privacy.clip_norm, CLIP_RANGE, NORM_BINS)),
    })
}

/// Calibrates the mechanism so that T steps fit the target, for an adapter of `pairs` pairs with `parameters` numbers in
/// all.
///
/// N, the expected number of units that are trained on, is public here, as PRIVACY.md says. A part of delta is set aside for the noise sampler's
/// distance from the Gaussian; noise is calibrated to the rest.
///
/// # Errors
/// When the expected batch exceeds the units, no noise multiplier reaches the target, or so many draws are planned that
/// their distance from the Gaussian would take more than a tenth of delta.
pub fn plan(settings: &TrainSettings, units: f64, pairs: usize, parameters: usize) -> Result<Plan, TrainError> {
    let privacy = &settings.privacy;
    let sampling_rate = privacy.batch_size / units;
    if sampling_rate > 1.0 {
        return Err(TrainError::Refused(format!(
            "an expected batch of {} exceeds the {units} units of the training data; use --batch-size {units} or less",
            privacy.batch_size
        )));
    }
    // How losses are bounded does not change how many numbers are released.
    let statistics = statistic_spec(settings, 2).map_or(0, |spec| spec.length(pairs));
    let noise_coordinates = (parameters + statistics) as u64;
    let (reserve, Priced { noise_bands, regime, noise_multiplier }) = if privacy.unsafe_non_private {
        (0.0, Priced { noise_bands: 1, regime: Regime::NonPrivate, noise_multiplier: 0.0 })
    } else {
        let reserve =
            noise_delta(privacy.epsilon, privacy.delta, noise_coordinates, privacy.steps + privacy.other_steps)?;
        let delta = ideal_delta(privacy.delta, reserve);
        (reserve, priced(settings, sampling_rate, delta)?)
    };
    let claim = Claim {
        target_epsilon: privacy.epsilon,
        delta: privacy.delta,
        adjacency: if settings.data.units.is_some() { Adjacency::AddRemove } else { Adjacency::ZeroOut },
        units: settings.data.units,
        shared_eval: settings.data.allow_shared_eval,
        private_policy: settings.control.allow_private_policy,
        unit: settings.data.unit_words(),
        sampling_rate,
        noise_bands,
        expected_batch_size: privacy.batch_size,
        steps: privacy.steps,
        other_steps: privacy.other_steps,
        noise_coordinates,
        noise_delta: reserve,
        regime,
        public_text: Vec::new(),
        start_adapter: None,
        after: Vec::new(),
        guarantee: match settings.unsafe_reasons().as_slice() {
            [] => Guarantee::Holds,
            reasons => Guarantee::None { reason: reasons.join("; ") },
        },
    };
    claim.validate()?;
    let noise = RunNoise {
        steps: privacy.steps,
        batch_size: privacy.batch_size,
        noise_multiplier,
        noise_bands: claim.noise_bands,
        both_factors: settings.trains_both_factors_of_a_warm_start(),
    };
    let rate = noise.rule(settings.model.scaled_alpha())?;
    Ok(Plan { claim, controls: Controls::even(privacy, pairs, noise_multiplier), rate })
}

/// A number of bands, and what it takes.
struct Priced {
    noise_bands: u64,
    regime: Regime,
    /// z of the first step.
    noise_multiplier: f64,
}

impl Priced {
    fn new(privacy: &PrivacySettings, sampling_rate: f64, noise_bands: u64, delta: f64) -> Result<Self, TrainError> {
        let (regime, noise_multiplier) = regime(privacy, sampling_rate, noise_bands, delta)?;
        Ok(Self { noise_bands, regime, noise_multiplier })
    }
}

/// The number of bands that was asked for, or that leaves the least noise in the iterates; one where there must be one.
fn priced(settings: &TrainSettings, sampling_rate: f64, delta: f64) -> Result<Priced, TrainError> {
    let privacy = &settings.privacy;
    if let Some(bands) = privacy.noise_bands {
        if bands > 1 && sampling_rate * bands as f64 > 1.0 {
            return Err(TrainError::Refused(format!(
                "noise of {bands} bands needs {bands} batches in the data, which hold {:.1}; use --noise-bands {} or less, or a smaller \
                 --batch-size",
                1.0 / sampling_rate,
                (1.0 / sampling_rate).floor().max(1.0)
            )));
        }
        return Priced::new(privacy, sampling_rate, bands, delta);
    }
    let mut best = Priced::new(privacy, sampling_rate, 1, delta)?;
    if settings.reason_for_one_band().is_some() {
        return Ok(best);
    }
    let steps = usize::try_from(privacy.steps).unwrap_or(usize::MAX).min(LONGEST_COMPARED);
    let left = |priced: &Priced| -> Result<f64, TrainError> {
        Ok(priced.noise_multiplier * Bands::new(priced.noise_bands)?.noise_of_iterates(steps))
    };
    let mut least = left(&best)?;
    let possible = |bands: &u64| *bands <= most_chosen_bands(privacy.steps) && sampling_rate * *bands as f64 <= 1.0;
    for bands in CHOICES_OF_BANDS.into_iter().filter(possible) {
        // No noise may reach the target at this rate, though it does at a lower one.
        let Ok(next) = Priced::new(privacy, sampling_rate, bands, delta) else { break };
        let noise = left(&next)?;
        if noise < least * WORTH_IT {
            (best, least) = (next, noise);
        }
    }
    Ok(best)
}

/// The regime with the first step's noise multiplier, for exact Gaussian noise of `bands` bands at `delta`.
fn regime(privacy: &PrivacySettings, sampling_rate: f64, bands: u64, delta: f64) -> Result<(Regime, f64), TrainError> {
    let PrivacySettings { epsilon, .. } = *privacy;
    let steps = privacy.steps + privacy.other_steps;
    let calibrate = |kind, rate, steps| -> Result<f64, TrainError> {
        Ok(calibrate_noise_multiplier(kind, epsilon, delta, rate, steps)?.noise_multiplier)
    };
    match privacy.regime {
        RegimeKind::Committed => {
            let (rate, rounds) = (sampling_rate * bands as f64, steps.div_ceil(bands));
            let noise_multiplier = calibrate(privacy.accountant, rate, rounds)?;
            let segments = vec![Event::new(rate, noise_multiplier, rounds)];
            Ok((Regime::Committed { segments, accountant: privacy.accountant }, noise_multiplier))
        }
        RegimeKind::Deck => {
            let shape = deck_shape(sampling_rate, steps);
            let (scale, _) = calibrate_noise_scale(privacy.accountant, epsilon, delta, &shape)?;
            let scaled = |event: &Event| Event { noise_multiplier: event.noise_multiplier * scale, ..*event };
            let cards: Vec<Event> = shape.iter().map(scaled).collect();
            Ok((Regime::Deck { cards, accountant: privacy.accountant }, scale))
        }
        RegimeKind::Adaptive => {
            let noise_multiplier = calibrate(AccountantKind::Rdp, sampling_rate, steps)?;
            let filter = FilterSpec::plan(epsilon, delta, sampling_rate, noise_multiplier, steps)?;
            Ok((Regime::Adaptive { filter }, noise_multiplier))
        }
    }
}

/// Noise multipliers of a deck's cards over its middle one. Steps beyond this range gain little and cost the rest much.
const DECK_LEVELS: [f64; 5] = [0.75, 0.87, 1.0, 1.15, 1.33];

/// A deck of `steps` cards, evenly over the levels; what is left over goes to the middle ones first.
fn deck_shape(sampling_rate: f64, steps: u64) -> Vec<Event> {
    let count = DECK_LEVELS.len() as u64;
    let extra = |level: usize| u64::from([2, 1, 3, 0, 4].iter().take((steps % count) as usize).any(|l| *l == level));
    let card = |(level, noise): (usize, &f64)| Event::new(sampling_rate, *noise, steps / count + extra(level));
    DECK_LEVELS.iter().enumerate().map(card).filter(|event| event.steps > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{settings::Trainable, testing::settings};

    #[test]
    fn committed_and_adaptive_plans_prove_their_claims() {
        for regime in [RegimeKind::Committed, RegimeKind::Deck, RegimeKind::Adaptive] {
            let mut settings = settings();
            settings.privacy.regime = regime;
            let plan = plan(&settings, 1000.0, 4, 4000).unwrap();
            plan.claim.validate().unwrap();
            assert_eq!(plan.claim.noise_coordinates, 4006);
            assert!(plan.claim.noise_delta > 0.0 && plan.claim.noise_delta < 1e-20);
            let allocation = plan.controls.allocation().unwrap();
            let stds: Vec<f64> = (0..4).map(|k| allocation.noise_std(plan.controls.noise_multiplier, k)).collect();
            let statistic = Some(allocation.statistics_noise_std(plan.controls.noise_multiplier));
            let joint = 1.0 / allocation.joint_sensitivity(&stds, statistic);
            assert!(
                (joint / plan.controls.noise_multiplier - 1.0).abs() < 1e-9,
                "{joint} against {}",
                plan.controls.noise_multiplier
            );
        }
    }

    /// Three runs of 50, 50 and 100 steps under one epsilon have the noise of one run of 200, which the target proves.
    #[test]
    fn runs_that_share_an_epsilon_have_the_noise_of_all_their_steps() {
        let mut alone = settings();
        alone.privacy.steps = 200;
        let whole = plan(&alone, 1000.0, 4, 4000).unwrap();
        for steps in [50, 100] {
            let mut shared = settings();
            (shared.privacy.steps, shared.privacy.other_steps) = (steps, 200 - steps);
            let part = plan(&shared, 1000.0, 4, 4000).unwrap();
            part.claim.validate().unwrap();
            assert_eq!(part.controls.noise_multiplier, whole.controls.noise_multiplier);
            assert_eq!((part.claim.steps, part.claim.covered_steps()), (steps, 200));
            assert!(part.claim.statement().contains(&format!("together with up to {} steps", 200 - steps)));
            let mut cheaper = part.claim;
            cheaper.other_steps += 1;
            assert!(cheaper.validate().is_err(), "a step that nobody pays for is covered");
        }
    }

    #[test]
    fn more_draws_than_delta_can_pay_for_are_refused() {
        let mut settings = settings();
        settings.privacy.epsilon = 50.0;
        let error = plan(&settings, 1000.0, 4, 4_000_000).unwrap_err().to_string();
        assert!(error.contains("lower epsilon"), "{error}");
    }

    /// Public text or an adapter to begin with leaves a B that is not zero; with B alone trained, noise has one way all the same.
    #[test]
    fn a_warm_start_has_a_smaller_rate_where_both_factors_are_trained() {
        let rate = |settings: &TrainSettings| plan(settings, 1000.0, 4, 4000).unwrap().rate.learning_rate;
        let (cold, mut warm, mut given) = (settings(), settings(), settings());
        warm.data.public = vec!["public.csv".into()];
        given.model.adapter = Some("adapter".into());
        assert!((2.0 * rate(&warm).powi(2) / rate(&cold).powi(2) - 1.0).abs() < 1e-12);
        assert_eq!(rate(&given), rate(&warm));
        (given.model.adapter, given.model.after) = (None, Some("run".into()));
        assert_eq!(rate(&given), rate(&warm));
        warm.model.trainable = Trainable::B;
        assert_eq!(rate(&warm), rate(&cold));
    }

    #[test]
    fn a_batch_beyond_the_units_is_refused() {
        let error = plan(&settings(), 5.0, 4, 4000).unwrap_err().to_string();
        assert!(error.contains("5 units"), "{error}");
    }
}
