//! The audit of one run on the mechanism itself: one step of the honest clipped sum, gradients chosen by the attacker.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use rldp_privacy::{
    Adjacency, Allocation, Claim, ClippedSum, Guarantee, LedgerSink, NoiseSource, Past, Regime, Secrecy, Sensitive,
    Spender,
    accounting::{AccountantKind, Event, gaussian_epsilon},
    ideal_delta, noise_delta,
};
use serde::Serialize;

use crate::{
    error::{AuditError, require},
    guesses::{OneRun, OneRunSettings, audit_scores},
};

/// Clip norms and shares of the two pairs: unequal, so that an error in the joint noise would show.
const CLIP: [f64; 2] = [0.5, 2.0];
const SHARES: [f64; 2] = [0.3, 0.7];
/// Room of the claim above the accountant's epsilon, for the sampler's reserve.
const ROOM: f64 = 1.001;

/// What is audited.
#[derive(Clone, Copy, Debug)]
pub struct MechanismSettings {
    /// m, orthogonal canaries.
    pub canaries: usize,
    /// z of the claim.
    pub claimed_noise_multiplier: f64,
    /// z of the noise that is added: the claimed one for the honest mechanism; tests plant less.
    pub actual_noise_multiplier: f64,
    /// δ, confidence, guesses and seed of ties.
    pub audit: OneRunSettings,
}

/// Claim and bound of a mechanism.
#[derive(Clone, Debug, Serialize)]
pub struct MechanismAudit {
    /// z.
    pub noise_multiplier: f64,
    /// ε that the claim states at δ.
    pub claimed_epsilon: f64,
    /// μ of the claim, 1/z.
    pub claimed_mu: f64,
    /// Whether a bound exceeds what is claimed.
    pub refuted: bool,
    /// The bounds.
    pub one_run: OneRun,
}

struct Nowhere;

impl LedgerSink for Nowhere {
    fn append(&mut self, _line: &str) -> std::io::Result<()> {
        Ok(())
    }
}

/// One step at sampling rate 1 with m canaries, each included by a fair coin from `coins`.
///
/// Canary i is a gradient of one huge coordinate i in each of two pairs, so that it uses the whole joint sensitivity and
/// touches no other canary. Its score is the log-likelihood ratio of included to excluded (up to a constant), which no
/// test can beat. The clipped sum, its noise and its charge are those of a run.
///
/// # Errors
/// When a setting is out of range, or the mechanism refuses.
pub fn audit_mechanism(
    settings: &MechanismSettings,
    coins: &mut ChaCha12Rng,
    noise: &mut NoiseSource,
) -> Result<MechanismAudit, AuditError> {
    let m = settings.canaries;
    require((2..=200_000).contains(&m), "the number of canaries", m as f64, "from 2 to 200000", "choose within")?;
    let z = settings.claimed_noise_multiplier;
    let positive = z > 0.0 && z.is_finite();
    require(positive, "the noise multiplier", z, "positive and finite", "1 is usual")?;
    let delta = settings.audit.delta;
    require(delta > 0.0 && delta < 1.0, "delta", delta, "strictly between 0 and 1", "1e-5 is usual")?;
    let included: Vec<bool> = (0..m).map(|_| coins.random()).collect();
    let scores = step(settings.actual_noise_multiplier, delta, &included, noise)?;
    let one_run = audit_scores(&scores, &included, &settings.audit)?;
    let claimed = claim(z, delta, m, noise.secrecy())?.target_epsilon;
    let claimed_mu = 1.0 / z;
    let refuted = one_run.epsilon > claimed || one_run.gdp_mu > claimed_mu;
    Ok(MechanismAudit { noise_multiplier: z, claimed_epsilon: claimed, claimed_mu, refuted, one_run })
}

/// A generator for coins: from the operating system, or from a seed for tests.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn coins(seed: Option<u64>) -> Result<ChaCha12Rng, AuditError> {
    match seed {
        Some(seed) => Ok(ChaCha12Rng::seed_from_u64(seed)),
        None => ChaCha12Rng::try_from_os_rng().map_err(|error| AuditError::Randomness(error.to_string())),
    }
}

/// Runs the step; returns the score of every canary.
fn step(z: f64, delta: f64, included: &[bool], noise: &mut NoiseSource) -> Result<Vec<f64>, AuditError> {
    let m = included.len();
    let mut spender = Spender::open(claim(z, delta, m, noise.secrecy())?, Box::new(Nowhere))?;
    let Some(charge) = spender.charge(z, noise.secrecy())? else {
        return Err(AuditError::Setting {
            name: "the noise multiplier",
            value: z,
            bound: "what the claim paid for".into(),
            remedy: "this is a defect of the audit",
        });
    };
    let allocation = Allocation::pair_wise(CLIP.to_vec(), SHARES.to_vec(), 0.0)?;
    let mut sum = ClippedSum::new(charge, &[m, m], allocation, None, m)?;
    let mut gradient = vec![0.0_f32; 2 * m];
    for canary in (0..m).filter(|canary| included[*canary]) {
        (gradient[canary], gradient[m + canary]) = (1e6, 1e6);
        sum.add_unit(Sensitive::new(&gradient), Sensitive::new(0.0));
        (gradient[canary], gradient[m + canary]) = (0.0, 0.0);
    }
    let release = sum.release(noise, &mut Past::default(), 1.0)?;
    let g = release.mean_gradient.get();
    let part =
        |pair: usize, canary: usize| f64::from(g[pair * m + canary]) * CLIP[pair] / release.noise_std[pair].powi(2);
    Ok((0..m).map(|canary| part(0, canary) + part(1, canary)).collect())
}

fn claim(z: f64, delta: f64, m: usize, secrecy: Secrecy) -> Result<Claim, AuditError> {
    let noise_coordinates = 2 * m as u64;
    let rough = gaussian_epsilon(1.0 / z, delta) * ROOM;
    let reserve = noise_delta(rough, delta, noise_coordinates, 1)?;
    let guarantee = if secrecy == Secrecy::Secret {
        Guarantee::Holds
    } else {
        Guarantee::None { reason: "the noise of this audit comes from a seed".into() }
    };
    Ok(Claim {
        target_epsilon: gaussian_epsilon(1.0 / z, ideal_delta(delta, reserve)).max(rough),
        delta,
        noise_bands: 1,
        other_steps: 0,
        public_text: Vec::new(),
        start_adapter: None,
        after: Vec::new(),
        adjacency: Adjacency::AddRemove,
        unit: "record".into(),
        units: None,
        shared_eval: false,
        private_policy: false,
        sampling_rate: 1.0,
        expected_batch_size: 1.0,
        steps: 1,
        noise_coordinates,
        noise_delta: reserve,
        regime: Regime::Committed { segments: vec![Event::new(1.0, z, 1)], accountant: AccountantKind::Gdp },
        guarantee,
    })
}
