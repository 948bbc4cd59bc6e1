//! What the controller sees: statistics of released gradients against their known noise, and public facts.
//!
//! Everything is a function of [`Released`] values, so an observation is post-processing of charged events and costs
//! nothing more. What an observer knows is one released value, [`ObserverState`].

use rldp_control::{Consecutive, Observation};
use rldp_model::AdapterLayout;
use rldp_privacy::{NoisyRelease, Observable, Released, TakenOver};
use serde::{Deserialize, Serialize};

use super::observation::{PublicFacts, observation};

/// Sums of one pair's statistics over the steps of an interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PairSums {
    pub(super) snr: f64,
    pub(super) momentum_cosine: f64,
    pub(super) previous_cosine: f64,
}

impl PairSums {
    fn plus(&self, other: &Self) -> Self {
        Self {
            snr: self.snr + other.snr,
            momentum_cosine: self.momentum_cosine + other.momentum_cosine,
            previous_cosine: self.previous_cosine + other.previous_cosine,
        }
    }
}

/// What a release says together with the one before it, as numbers of [`Consecutive`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pairing {
    energy: f64,
    product: f64,
    deviation: f64,
}

/// The same, released.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison(pub(super) Released<Pairing>);

impl Comparison {
    /// For controllers and searches.
    pub(crate) fn seen(&self) -> Consecutive {
        let number = |read: fn(&Pairing) -> f64| self.0.map(|pairing| read(&pairing)).into();
        Consecutive { energy: number(|p| p.energy), product: number(|p| p.product), deviation: number(|p| p.deviation) }
    }
}

/// Collects an interval's released statistics; nothing before the first release.
#[derive(Default)]
pub struct Observer(Option<Released<ObserverState>>);

/// What an observer knows between two steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObserverState {
    /// Steps of the interval.
    pub(super) steps: u64,
    pub(super) pairs: Option<Vec<PairSums>>,
    /// The last release (P), which the next one is compared with.
    #[serde(with = "crate::run::numbers::optional")]
    previous: Option<Vec<f32>>,
    /// s_i of that release (K).
    previous_noise_std: Vec<f64>,
    pub(super) clip_fractions: Option<Vec<f64>>,
    pub(super) norm_fractions: Option<Vec<f64>>,
    pub(super) loss: Option<f64>,
    pub(super) previous_loss: Option<f64>,
    /// Sums over the interval of what consecutive releases say of each other.
    pub(super) consecutive: Option<Pairing>,
}

/// One step's part of an interval.
struct StepSums {
    pairs: Vec<PairSums>,
    clip_fractions: Option<Vec<f64>>,
    norm_fractions: Option<Vec<f64>>,
    loss: Option<f64>,
    consecutive: Option<Pairing>,
}

impl ObserverState {
    /// Whether it can be of a run with `pairs` adapter pairs of `parameters` numbers, and `bins` of norms in its statistics.
    pub(crate) fn fits(&self, pairs: usize, parameters: usize, bins: Option<usize>) -> bool {
        self.pairs.as_ref().is_none_or(|sums| sums.len() == pairs)
            && self.previous.as_ref().is_none_or(|release| release.len() == parameters)
            && self.previous_noise_std.len() == if self.previous.is_some() { pairs } else { 0 }
            && self.clip_fractions.as_ref().is_none_or(|sums| sums.len() == pairs)
            && self.norm_fractions.as_ref().is_none_or(|sums| Some(sums.len()) == bins)
    }

    /// Steps of the interval, to divide by.
    fn interval(&self) -> f64 {
        self.steps.max(1) as f64
    }

    /// A step more.
    fn plus(&mut self, step: StepSums) {
        let StepSums { pairs, clip_fractions, norm_fractions, loss, consecutive } = step;
        self.pairs = merged(self.pairs.take(), Some(pairs), PairSums::plus);
        self.clip_fractions = merged(self.clip_fractions.take(), clip_fractions, |a, b| a + b);
        self.norm_fractions = merged(self.norm_fractions.take(), norm_fractions, |a, b| a + b);
        self.loss = match (self.loss, loss) {
            (Some(total), Some(new)) => Some(total + new),
            (total, new) => new.or(total),
        };
        self.consecutive = match (self.consecutive, consecutive) {
            (Some(total), Some(new)) => Some(Pairing {
                energy: total.energy + new.energy,
                product: total.product + new.product,
                deviation: total.deviation.hypot(new.deviation),
            }),
            (total, new) => new.or(total),
        };
        self.steps += 1;
    }

    /// Keeps what the next interval is compared with.
    fn begin_interval(&mut self) {
        let steps = self.steps as f64;
        *self = Self {
            previous_loss: self.loss.map(|total| total / steps),
            previous: self.previous.take(),
            previous_noise_std: std::mem::take(&mut self.previous_noise_std),
            ..Self::default()
        };
    }

    /// Statistics of each pair of a release (K); `momentum` is the optimizer's first moment before it.
    fn pairs_of(
        &self,
        layout: &AdapterLayout,
        gradient: &[f32],
        noise: &NoiseOfRelease,
        momentum: &[f32],
    ) -> Vec<PairSums> {
        let of_pair = |(k, (pair, &noise_std)): (usize, (&rldp_model::Pair, &f64))| {
            let g = &gradient[pair.range()];
            let count = pair.parameter_count() as f64;
            let energy_of_noise = count * noise_std * noise_std;
            let shared =
                self.previous_noise_std.get(k).map_or(0.0, |before| count * noise.correlation * noise_std * before);
            let energy = dot(g, g);
            let previous = self.previous.as_ref();
            PairSums {
                snr: if energy_of_noise > 0.0 { energy / energy_of_noise - 1.0 } else { 0.0 },
                momentum_cosine: cosine(g, &momentum[pair.range()], 0.0),
                previous_cosine: previous.map_or(0.0, |previous| cosine(g, &previous[pair.range()], shared)),
            }
        };
        layout.pairs().iter().zip(noise.std).enumerate().map(of_pair).collect()
    }
}

/// What is public about the noise of a release.
struct NoiseOfRelease<'a> {
    std: &'a [f64],
    correlation: f64,
}

impl Observer {
    /// What it knows; nothing before the first release.
    pub fn state(&self) -> Option<&ObserverState> {
        self.0.as_ref().map(Released::get)
    }

    /// Goes on from what an earlier process of the run saved.
    pub fn restore(state: Option<ObserverState>, proof: TakenOver) -> Self {
        Self(state.map(|state| Released::restore(state, proof)))
    }

    /// Adds one step. `momentum` is the optimizer's first moment before the step, `seen` what [`Self::compare`] said of the
    /// release. The next release is compared with this one, or, when `stands` is false because the step before is taken
    /// again, with the one that this one was compared with, unless their noise is correlated.
    ///
    /// Where noise is correlated with that of the release before, its known part in their product is taken off; what it has in common
    /// with noise from further back is not known here.
    ///
    /// Per pair: signal-to-noise (‖g‖² − d s²) / (d s²), an unbiased estimate of the clipped mean gradient's energy over
    /// the noise's; cosines of the release with the momentum and with the previous release.
    pub(crate) fn record(
        &mut self,
        layout: &AdapterLayout,
        release: &NoisyRelease,
        momentum: &[f32],
        seen: Option<Comparison>,
        stands: bool,
    ) {
        let before = self.0.take();
        let step = step_sums(before.as_ref(), layout, release, momentum, seen);
        // Cloned only where it is kept.
        let kept = stands.then(|| release.mean_gradient.clone());
        let broken = release.noise_correlation != 0.0;
        let state = match before {
            Some(state) => state.zip(step),
            None => step.map(|step| (ObserverState::default(), step)),
        };
        let state = state.map(|(mut state, step)| {
            state.plus(step);
            state
        });
        self.0 = Some(match kept {
            Some(kept) => state.zip(kept).map(|(mut state, kept)| {
                state.previous = Some(kept);
                state.previous_noise_std.clone_from(&release.noise_std);
                state
            }),
            None => state.map(|mut state| {
                if broken {
                    state.previous = None;
                    state.previous_noise_std.clear();
                }
                state
            }),
        });
    }

    /// What `release` says together with the one before it; to be asked before [`Self::record`]. `None` for the first
    /// release, and without noise.
    pub(crate) fn compare(&self, layout: &AdapterLayout, release: &NoisyRelease) -> Option<Comparison> {
        let state = self.0.as_ref()?.as_ref();
        let previous = state.map(|state| state.previous.as_ref()).transpose()?;
        let stds_before = state.into_inner().previous_noise_std.as_slice();
        if release.noise_std.iter().chain(stds_before).any(|std| *std <= 0.0) {
            return None;
        }
        let trained = layout.pairs().iter().map(rldp_model::Pair::parameter_count).sum::<usize>() as f64;
        let correlation = release.noise_correlation;
        let both = release.mean_gradient.as_ref().zip(previous);
        Some(Comparison(both.map(|(g, before)| {
            let pairs = || layout.pairs().iter().zip(release.noise_std.iter().zip(stds_before));
            let energy: f64 =
                pairs().map(|(pair, (std, _))| dot(&g[pair.range()], &g[pair.range()]) / (std * std)).sum();
            let product: f64 =
                pairs().map(|(pair, (s, t))| dot(&g[pair.range()], &before[pair.range()]) / (s * t)).sum();
            Pairing {
                energy: energy - trained,
                product: product - trained * correlation,
                deviation: (trained * (1.0 + correlation * correlation)).sqrt(),
            }
        })))
    }

    /// What is left of the gradient after a step of the interval so far; `None` before two releases.
    pub fn persistence(&self) -> Option<Observable> {
        Some(self.consecutive()?.persistence())
    }

    fn consecutive(&self) -> Option<Consecutive> {
        self.read(|state| state.consecutive).map(|pairing| Comparison(pairing).seen())
    }

    /// A part of what it knows, where it is there.
    fn read<T>(&self, part: impl FnOnce(&ObserverState) -> Option<T>) -> Option<Released<T>> {
        self.0.as_ref()?.as_ref().map(part).transpose()
    }

    /// Mean released loss of the interval so far.
    pub fn mean_loss(&self) -> Option<Released<f64>> {
        self.read(|state| Some(state.loss? / state.interval()))
    }

    /// Mean signal-to-noise of each pair over the interval so far (K).
    pub fn signal_to_noise(&self) -> Option<Released<Vec<f64>>> {
        self.read(|state| Some(state.pairs.as_ref()?.iter().map(|pair| pair.snr / state.interval()).collect()))
    }

    /// Mean released clip fraction of each pair over the interval so far (K).
    pub fn clip_fractions(&self) -> Option<Released<Vec<f64>>> {
        self.read(|state| Some(state.clip_fractions.as_ref()?.iter().map(|sum| sum / state.interval()).collect()))
    }

    /// The observation at the end of an interval; `None` before any step was recorded. Starts the next interval.
    pub fn finish(&mut self, facts: &PublicFacts) -> Option<Observation> {
        let mut ended = self.0.take()?;
        let pairs = ended.as_ref().map(|state| state.pairs.as_ref()).transpose();
        let observation = pairs.map(|pairs| observation(ended.as_ref(), pairs, facts));
        ended = ended.map(|mut state| {
            state.begin_interval();
            state
        });
        self.0 = Some(ended);
        observation
    }
}

/// One release's part of an interval, next to what was known before it.
fn step_sums(
    before: Option<&Released<ObserverState>>,
    layout: &AdapterLayout,
    release: &NoisyRelease,
    momentum: &[f32],
    seen: Option<Comparison>,
) -> Released<StepSums> {
    let noise = NoiseOfRelease { std: &release.noise_std, correlation: release.noise_correlation };
    let gradient = release.mean_gradient.as_ref();
    let pairs = match before {
        Some(before) => before.as_ref().zip(gradient).map(|(state, g)| state.pairs_of(layout, g, &noise, momentum)),
        None => gradient.map(|g| ObserverState::default().pairs_of(layout, g, &noise, momentum)),
    };
    let mut step = pairs.map(|pairs| StepSums {
        pairs,
        clip_fractions: None,
        norm_fractions: None,
        loss: None,
        consecutive: None,
    });
    if let Some(statistics) = &release.statistics {
        let paid = statistics.mean_loss.zip(statistics.clip_fractions.clone());
        step = step.zip(paid).map(|(step, (loss, clipped))| StepSums {
            loss: Some(loss),
            clip_fractions: Some(clipped),
            ..step
        });
        if let Some(norms) = &statistics.norm_fractions {
            step = step.zip(norms.clone()).map(|(step, norms)| StepSums { norm_fractions: Some(norms), ..step });
        }
    }
    match seen {
        Some(Comparison(seen)) => step.zip(seen).map(|(step, seen)| StepSums { consecutive: Some(seen), ..step }),
        None => step,
    }
}

/// Element-wise sums of what there is.
fn merged<T>(total: Option<Vec<T>>, new: Option<Vec<T>>, sum: impl Fn(&T, &T) -> T) -> Option<Vec<T>> {
    match (total, new) {
        (Some(total), Some(new)) => Some(total.iter().zip(&new).map(|(a, b)| sum(a, b)).collect()),
        (total, new) => new.or(total),
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    // Blocks in f32 lanes would be faster; f64 keeps the difference to the noise energy exact for millions of terms.
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Cosine of two vectors whose product has the known part `shared`, which does not count.
fn cosine(a: &[f32], b: &[f32], shared: f64) -> f64 {
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { (dot(a, b) - shared) / norms } else { 0.0 }
}
