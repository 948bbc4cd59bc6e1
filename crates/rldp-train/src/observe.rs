//! What the controller sees: statistics of released gradients against their known noise, and public facts.
//!
//! Everything is a function of [`Released`] values, so an observation is post-processing of charged events and costs
//! nothing more.

use rldp_control::{Consecutive, GlobalObservation, NormHistogram, Observation, PairObservation};
use rldp_model::AdapterLayout;
use rldp_privacy::{NoisyRelease, NormBins, Observable, Public, Released, TakenOver};
use serde::{Deserialize, Serialize};

use crate::plan::Steering;

/// Sums of one pair's statistics over the steps of an interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct PairSums {
    snr: f64,
    momentum_cosine: f64,
    previous_cosine: f64,
}

/// Collects an interval's released statistics.
#[derive(Default)]
pub struct Observer {
    steps: u64,
    pairs: Option<Released<Vec<PairSums>>>,
    previous: Option<Released<Vec<f32>>>,
    /// s_i of the previous release (K), public.
    previous_noise_std: Vec<f64>,
    clip_fractions: Option<Released<Vec<f64>>>,
    norm_fractions: Option<Released<Vec<f64>>>,
    loss: Option<Released<f64>>,
    previous_loss: Option<Released<f64>>,
    /// Sums over the interval of what consecutive releases say of each other.
    consecutive: Option<Consecutive>,
}

/// What an observer knows between two steps, but for the last release: released values, to be saved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ObserverState {
    steps: u64,
    pairs: Option<Vec<PairSums>>,
    /// Whether there is a last release.
    released: bool,
    previous_noise_std: Vec<f64>,
    clip_fractions: Option<Vec<f64>>,
    norm_fractions: Option<Vec<f64>>,
    loss: Option<f64>,
    previous_loss: Option<f64>,
    /// Energy, product and deviation.
    consecutive: Option<[f64; 3]>,
}

impl ObserverState {
    /// Whether it can be of a run with `pairs` adapter pairs, and `bins` of norms in its statistics.
    pub(crate) fn fits(&self, pairs: usize, bins: Option<usize>) -> bool {
        self.pairs.as_ref().is_none_or(|sums| sums.len() == pairs)
            && self.previous_noise_std.len() == if self.released { pairs } else { 0 }
            && self.clip_fractions.as_ref().is_none_or(|sums| sums.len() == pairs)
            && self.norm_fractions.as_ref().is_none_or(|sums| Some(sums.len()) == bins)
    }
}

/// Public facts about the moment of the decision.
#[derive(Clone, Debug)]
pub struct PublicFacts<'a> {
    /// Steps done over steps planned.
    pub step_fraction: f64,
    /// Budget spent over budget.
    pub budget_fraction: f64,
    /// What the mechanism was at the start.
    pub start: &'a Steering,
    /// What it is now.
    pub now: &'a Steering,
    /// Reward of the last interval.
    pub last_reward: Option<Observable>,
    /// Root mean square change of each pair's parameters since the start (K). Parameters are post-processing of released
    /// gradients, so this is as public as the adapter.
    pub drift: Vec<f64>,
    /// Tail exponent of each pair's update (K), as public as the adapter.
    pub spectral_tails: Vec<f64>,
    /// Σ d_i s_i²: energy of the noise in the mean gradient.
    pub noise_energy: f64,
    /// Bins of the histogram of norms, when it is paid for.
    pub norm_bins: Option<&'a NormBins>,
}

impl Observer {
    /// What to save, and the last release (P), empty before the first.
    pub fn state(&self) -> (ObserverState, &[f32]) {
        let previous = self.previous.as_ref().map(Released::get);
        let state = ObserverState {
            steps: self.steps,
            pairs: self.pairs.clone().map(Released::into_inner),
            released: previous.is_some(),
            previous_noise_std: self.previous_noise_std.clone(),
            clip_fractions: self.clip_fractions.clone().map(Released::into_inner),
            norm_fractions: self.norm_fractions.clone().map(Released::into_inner),
            loss: self.loss.map(Released::into_inner),
            previous_loss: self.previous_loss.map(Released::into_inner),
            consecutive: self
                .consecutive
                .map(|seen| [seen.energy.value(), seen.product.value(), seen.deviation.value()]),
        };
        (state, previous.map_or(&[], Vec::as_slice))
    }

    /// Goes on from what an earlier process of the run saved.
    pub fn restore(state: ObserverState, last_release: Vec<f32>, proof: TakenOver) -> Self {
        Self {
            steps: state.steps,
            pairs: state.pairs.map(|value| Released::restore(value, proof)),
            previous: state.released.then(|| Released::restore(last_release, proof)),
            previous_noise_std: state.previous_noise_std,
            clip_fractions: state.clip_fractions.map(|value| Released::restore(value, proof)),
            norm_fractions: state.norm_fractions.map(|value| Released::restore(value, proof)),
            loss: state.loss.map(|value| Released::restore(value, proof)),
            previous_loss: state.previous_loss.map(|value| Released::restore(value, proof)),
            consecutive: state.consecutive.map(|sums| {
                let [energy, product, deviation] = sums.map(|value| Released::restore(value, proof).into());
                Consecutive { energy, product, deviation }
            }),
        }
    }

    /// Adds one step. `momentum` is the optimizer's first moment before the step, `seen` what [`Self::consecutive`] said of the
    /// release. The next release is compared with this one, or, when `stands` is false because the step before is taken
    /// again, with the one that this one was compared with, unless their noise is correlated.
    ///
    /// Where noise is correlated with that of the release before, its known part in their product is taken off; what it has in common
    /// with noise from further back is not known here.
    ///
    /// Per pair: signal-to-noise (‖g‖² − d s²) / (d s²), an unbiased estimate of the clipped mean gradient's energy over
    /// the noise's; cosines of the release with the momentum and with the previous release.
    pub fn record(
        &mut self,
        layout: &AdapterLayout,
        release: &NoisyRelease,
        momentum: &[f32],
        seen: Option<Consecutive>,
        stands: bool,
    ) {
        let gradient = &release.mean_gradient;
        let previous = self.previous.as_ref().map(Released::get);
        let sums = gradient.as_ref().map(|gradient| {
            let pairs = layout.pairs().iter().zip(&release.noise_std).enumerate();
            pairs
                .map(|(k, (pair, &noise_std))| {
                    let g = &gradient[pair.range()];
                    let count = pair.parameter_count() as f64;
                    let noise = count * noise_std * noise_std;
                    let shared = self
                        .previous_noise_std
                        .get(k)
                        .map_or(0.0, |before| count * release.noise_correlation * noise_std * before);
                    let energy = dot(g, g);
                    PairSums {
                        snr: if noise > 0.0 { energy / noise - 1.0 } else { 0.0 },
                        momentum_cosine: cosine(g, &momentum[pair.range()], 0.0),
                        previous_cosine: previous.map_or(0.0, |previous| cosine(g, &previous[pair.range()], shared)),
                    }
                })
                .collect::<Vec<_>>()
        });
        self.pairs = Some(add(self.pairs.take(), sums, |total, new| PairSums {
            snr: total.snr + new.snr,
            momentum_cosine: total.momentum_cosine + new.momentum_cosine,
            previous_cosine: total.previous_cosine + new.previous_cosine,
        }));
        if let Some(statistics) = &release.statistics {
            self.clip_fractions =
                Some(add(self.clip_fractions.take(), statistics.clip_fractions.clone(), |total, new| total + new));
            if let Some(fractions) = &statistics.norm_fractions {
                self.norm_fractions =
                    Some(add(self.norm_fractions.take(), fractions.clone(), |total, new| total + new));
            }
            let loss = statistics.mean_loss;
            self.loss = Some(match self.loss.take() {
                Some(total) => total.zip(loss).map(|(total, loss)| total + loss),
                None => loss,
            });
        }
        self.consecutive = match (self.consecutive, seen) {
            (Some(total), Some(new)) => Some(total.plus(&new)),
            (total, new) => new.or(total),
        };
        if stands {
            self.previous = Some(gradient.clone());
            self.previous_noise_std.clone_from(&release.noise_std);
        } else if release.noise_correlation != 0.0 {
            self.previous = None;
            self.previous_noise_std.clear();
        }
        self.steps += 1;
    }

    /// What `release` says together with the one before it; to be asked before [`Self::record`]. `None` for the first
    /// release, and without noise.
    pub fn consecutive(&self, layout: &AdapterLayout, release: &NoisyRelease) -> Option<Consecutive> {
        let previous = self.previous.as_ref()?;
        if release.noise_std.iter().chain(&self.previous_noise_std).any(|std| *std <= 0.0) {
            return None;
        }
        let stds = || release.noise_std.iter().zip(&self.previous_noise_std);
        let gradient = &release.mean_gradient;
        let energy = gradient.as_ref().map(|g| {
            let pairs = layout.pairs().iter().zip(stds());
            pairs.map(|(pair, (std, _))| dot(&g[pair.range()], &g[pair.range()]) / (std * std)).sum::<f64>()
        });
        let product = gradient.as_ref().zip(previous.as_ref()).map(|(g, before)| {
            let pairs = layout.pairs().iter().zip(stds());
            pairs.map(|(pair, (s, t))| dot(&g[pair.range()], &before[pair.range()]) / (s * t)).sum::<f64>()
        });
        let trained = layout.pairs().iter().map(rldp_model::Pair::parameter_count).sum::<usize>() as f64;
        let correlation = release.noise_correlation;
        Some(Consecutive {
            energy: energy.map(|energy| energy - trained).into(),
            product: product.map(|product| product - trained * correlation).into(),
            deviation: public((trained * (1.0 + correlation * correlation)).sqrt()),
        })
    }

    /// What is left of the gradient after a step of the interval so far; `None` before two releases.
    pub fn persistence(&self) -> Option<Observable> {
        self.consecutive.map(|seen| seen.persistence())
    }

    /// Mean released loss of the interval so far.
    pub fn mean_loss(&self) -> Option<Released<f64>> {
        let steps = self.steps.max(1) as f64;
        self.loss.map(|loss| loss.map(|total| total / steps))
    }

    /// Mean signal-to-noise of each pair over the interval so far (K).
    pub fn signal_to_noise(&self) -> Option<Released<Vec<f64>>> {
        let steps = self.steps.max(1) as f64;
        let pairs = self.pairs.clone()?;
        Some(pairs.map(|pairs| pairs.iter().map(|pair| pair.snr / steps).collect()))
    }

    /// Mean released clip fraction of each pair over the interval so far (K).
    pub fn clip_fractions(&self) -> Option<Released<Vec<f64>>> {
        let steps = self.steps.max(1) as f64;
        self.clip_fractions.clone().map(|sums| sums.map(|sums| sums.iter().map(|sum| sum / steps).collect()))
    }

    /// The observation at the end of an interval; `None` before any step was recorded. Starts the next interval.
    pub fn finish(&mut self, facts: &PublicFacts) -> Option<Observation> {
        let pairs = self.pairs.take()?;
        let steps = self.steps as f64;
        let clip_fractions = self.clip_fractions.take();
        let norms = self.norm_fractions.take().zip(facts.norm_bins);
        let loss = self.loss.take().map(|loss| loss.map(|total| total / steps));
        let before = self.previous_loss.take();
        let loss_change = loss.zip(before).map(|(now, before)| now.zip(before).map(|(now, before)| now - before));
        let count = facts.now.clip_norms.len();
        let observed = (0..count)
            .map(|k| PairObservation {
                snr: pairs.as_ref().map(|pairs| pairs[k].snr / steps).into(),
                momentum_cosine: pairs.as_ref().map(|pairs| pairs[k].momentum_cosine / steps).into(),
                previous_cosine: pairs.as_ref().map(|pairs| pairs[k].previous_cosine / steps).into(),
                drift: public(facts.drift[k]),
                clip_fraction: clip_fractions
                    .as_ref()
                    .map_or_else(unknown, |sums| sums.as_ref().map(|sums| sums[k] / steps).into()),
                log_clip_norm: public((facts.now.clip_norms[k] / facts.start.clip_norms[k]).ln()),
                log_share: public((facts.now.shares[k] / facts.start.shares[k]).ln()),
                log_step_gain: public(facts.now.post.step_gains[k].ln()),
                spectral_tail: public(facts.spectral_tails[k]),
            })
            .collect();
        let seen = self.consecutive.take();
        let post = &facts.now.post;
        let global = GlobalObservation {
            step_fraction: public(facts.step_fraction),
            budget_fraction: public(facts.budget_fraction),
            snr: pairs
                .map(|pairs| pairs.iter().map(|pair| pair.snr).sum::<f64>() / (steps * pairs.len() as f64))
                .into(),
            persistence: seen.map_or_else(unknown, |seen| seen.persistence()),
            evidence: seen.map_or_else(unknown, |seen| seen.evidence()),
            loss: loss.map_or_else(unknown, Observable::from),
            loss_change: loss_change.map_or_else(unknown, Observable::from),
            log_noise_multiplier: public((facts.now.noise_multiplier / facts.start.noise_multiplier).ln()),
            log_learning_rate_gain: public(post.learning_rate_gain.ln()),
            log_momentum: public(post.momentum_gain.ln()),
            log_averaging: public(post.averaging_horizon.ln()),
            last_reward: facts.last_reward.unwrap_or_else(unknown),
            noise_energy: public(facts.noise_energy),
        };
        self.previous_loss = loss;
        self.steps = 0;
        let norms = norms.map(|(fractions, bins)| histogram(&fractions, bins, steps, facts.start.clip_norms[0]));
        Some(Observation { global, pairs: observed, norms })
    }
}

/// Mean of the released histograms of `steps` steps; `unit` is the clip norm at the start.
fn histogram(sums: &Released<Vec<f64>>, bins: &NormBins, steps: f64, unit: f64) -> NormHistogram {
    let each = 0..bins.count();
    NormHistogram {
        middles: each.clone().map(|bin| bins.middle(bin) / unit).collect(),
        uppers: each.clone().map(|bin| bins.upper(bin) / unit).collect(),
        unit,
        fractions: each.map(|bin| sums.as_ref().map(|sums| sums[bin] / steps).into()).collect(),
    }
}

/// A public value that stands for "not observed".
fn unknown() -> Observable {
    public(0.0)
}

fn public(value: f64) -> Observable {
    Public::declare(value).into()
}

fn add<T>(total: Option<Released<Vec<T>>>, new: Released<Vec<T>>, sum: impl Fn(&T, &T) -> T) -> Released<Vec<T>> {
    match total {
        Some(total) => total.zip(new).map(|(total, new)| total.iter().zip(&new).map(|(a, b)| sum(a, b)).collect()),
        None => new,
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
