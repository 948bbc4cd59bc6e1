//! Rotary position embedding: its settings in `config.json` and its frequencies.

use std::f64::consts::PI;

use super::{ConfigError, Rope, RopeScaling, keys::Keys};

/// Reads `rope_parameters` (transformers 5) or `rope_scaling` and `rope_theta` (before).
pub(super) fn read(keys: Keys, max_positions: usize) -> Result<Rope, ConfigError> {
    let nested = match keys.object("rope_scaling", "rope_scaling.")? {
        Some(scaling) => Some(scaling),
        None => keys.object("rope_parameters", "rope_parameters.")?,
    };
    let outer_theta = keys.number("rope_theta")?;
    let full = |keys: Keys| match keys.number("partial_rotary_factor")? {
        Some(factor) if factor != 1.0 => Err(ConfigError::Unsupported {
            key: keys.path("partial_rotary_factor"),
            value: factor.to_string(),
            supported: "1".into(),
        }),
        _ => Ok(()),
    };
    full(keys)?;
    let Some(nested) = nested else {
        return Ok(Rope { theta: outer_theta.unwrap_or(10000.0), scaling: RopeScaling::None });
    };
    full(nested)?;
    let theta = nested.number("rope_theta")?.or(outer_theta).unwrap_or(10000.0);
    Ok(Rope { theta, scaling: scaling(keys, nested, max_positions)? })
}

fn scaling(outer: Keys, keys: Keys, max_positions: usize) -> Result<RopeScaling, ConfigError> {
    let kind = match keys.text("rope_type")? {
        Some(kind) => kind,
        None => keys.text("type")?.unwrap_or("default"),
    };
    match kind {
        "default" => Ok(RopeScaling::None),
        "linear" => Ok(RopeScaling::Linear { factor: keys.required_number("factor")? }),
        "dynamic" => Ok(RopeScaling::Dynamic { factor: keys.required_number("factor")?, max_positions }),
        "llama3" => Ok(RopeScaling::Llama3 {
            factor: keys.required_number("factor")?,
            low_freq_factor: keys.required_number("low_freq_factor")?,
            high_freq_factor: keys.required_number("high_freq_factor")?,
            original_max_positions: original(outer, keys, max_positions)?,
        }),
        "yarn" => yarn(outer, keys, max_positions),
        "longrope" => long_rope(outer, keys, max_positions),
        other => Err(ConfigError::Unsupported {
            key: keys.path("rope_type"),
            value: other.into(),
            supported: "default, linear, dynamic, llama3, yarn, longrope".into(),
        }),
    }
}

/// Context length of pretraining: as in `transformers`, the key outside goes before the one inside.
fn original(outer: Keys, keys: Keys, max_positions: usize) -> Result<f64, ConfigError> {
    let key = "original_max_position_embeddings";
    let given = outer.number(key)?.map_or_else(|| keys.number(key), |outer| Ok(Some(outer)))?;
    Ok(given.unwrap_or(max_positions as f64))
}

fn yarn(outer: Keys, keys: Keys, max_positions: usize) -> Result<RopeScaling, ConfigError> {
    let original_max_positions = original(outer, keys, max_positions)?;
    let factor = if keys.has("factor") {
        keys.number("factor")?.unwrap_or(max_positions as f64 / original_max_positions)
    } else {
        keys.required_number("factor")?
    };
    let growth = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
    let set = |key: &str| Ok::<_, ConfigError>(keys.number(key)?.filter(|value| *value != 0.0));
    let magnitude = match (keys.number("attention_factor")?, set("mscale")?, set("mscale_all_dim")?) {
        (Some(given), ..) => given,
        (None, Some(over), Some(under)) => growth(over) / growth(under),
        (None, ..) => growth(1.0),
    };
    Ok(RopeScaling::Yarn {
        factor,
        beta_fast: set("beta_fast")?.unwrap_or(32.0),
        beta_slow: set("beta_slow")?.unwrap_or(1.0),
        original_max_positions,
        truncate: keys.flag("truncate")?.unwrap_or(true),
        magnitude,
    })
}

fn long_rope(outer: Keys, keys: Keys, max_positions: usize) -> Result<RopeScaling, ConfigError> {
    let divisors = |key: &str| keys.numbers(key)?.ok_or_else(|| ConfigError::MissingKey { key: keys.path(key) });
    let original_max_positions = original(outer, keys, max_positions)?;
    let factor = keys.number("factor")?.unwrap_or(max_positions as f64 / original_max_positions);
    let grown = || if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original_max_positions.ln()).sqrt() };
    Ok(RopeScaling::LongRope {
        short: divisors("short_factor")?,
        long: divisors("long_factor")?,
        original_max_positions,
        magnitude: keys.number("attention_factor")?.unwrap_or_else(grown),
    })
}

/// How the heads of one sequence turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rotation {
    /// Angle per position of each pair of a head's features, (D / 2): the angle at position t is `t as f32 * frequency`.
    pub frequencies: Vec<f32>,
    /// What cosines and sines are multiplied with.
    pub magnitude: f32,
}

impl Rotation {
    /// Sine and cosine of every pair of features at a position.
    pub fn at(&self, position: usize) -> impl Iterator<Item = (f32, f32)> {
        self.frequencies.iter().map(move |frequency| {
            let (sine, cosine) = (position as f32 * frequency).sin_cos();
            (sine * self.magnitude, cosine * self.magnitude)
        })
    }
}

impl Rope {
    /// A length whose sequences turn as those of `length` do; the same for all lengths that turn alike.
    pub fn class(&self, length: usize) -> usize {
        match self.scaling {
            RopeScaling::Dynamic { max_positions, .. } if length > max_positions => length,
            RopeScaling::LongRope { original_max_positions, .. } if length as f64 > original_max_positions => {
                original_max_positions as usize + 1
            }
            _ => 0,
        }
    }

    /// How a sequence of `length` tokens turns.
    ///
    /// Rounded to f32 where Hugging Face rounds, so that long contexts rotate as they did in pretraining.
    pub fn rotation(&self, head_dim: usize, length: usize) -> Rotation {
        let base = self.base(head_dim, length) as f32;
        let plain = |pair: usize| f64::from(1.0 / base.powf((2 * pair) as f32 / head_dim as f32));
        let frequency = |pair: usize| self.scaling.apply(plain(pair), pair, head_dim, self.theta, length) as f32;
        Rotation { frequencies: (0..head_dim / 2).map(frequency).collect(), magnitude: self.scaling.magnitude() as f32 }
    }

    /// The longest sequence, given that of the configuration.
    pub(super) fn reach(&self, max_positions: usize) -> usize {
        match self.scaling {
            RopeScaling::Dynamic { factor, .. } => (max_positions as f64 * factor.max(1.0)) as usize,
            _ => max_positions,
        }
    }

    /// The base of the wavelengths.
    fn base(&self, head_dim: usize, length: usize) -> f64 {
        let RopeScaling::Dynamic { factor, max_positions } = self.scaling else { return self.theta };
        let (length, dim) = (length.max(max_positions) as f64, head_dim as f64);
        self.theta * (factor * length / max_positions as f64 - (factor - 1.0)).powf(dim / (dim - 2.0))
    }
}

impl RopeScaling {
    fn magnitude(&self) -> f64 {
        match self {
            Self::Yarn { magnitude, .. } | Self::LongRope { magnitude, .. } => *magnitude,
            Self::None | Self::Linear { .. } | Self::Llama3 { .. } | Self::Dynamic { .. } => 1.0,
        }
    }

    /// The frequency of a pair of features after scaling.
    fn apply(&self, frequency: f64, pair: usize, head_dim: usize, theta: f64, length: usize) -> f64 {
        match self {
            Self::None | Self::Dynamic { .. } => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
                // Turns made over the original context: few turns are stretched, many are left alone.
                let turns = original_max_positions * frequency / (2.0 * PI);
                let keep = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
                (1.0 - keep) * frequency / factor + keep * frequency
            }
            Self::Yarn { factor, beta_fast, beta_slow, original_max_positions, truncate, .. } => {
                // The pair of features that makes so many turns over the original context.
                let dim = head_dim as f64;
                let pair_of =
                    |turns: f64| dim * (original_max_positions / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln());
                let (low, high) = (pair_of(*beta_fast), pair_of(*beta_slow));
                let (low, high) = if *truncate { (low.floor(), high.ceil()) } else { (low, high) };
                let (low, high) = (low.max(0.0), high.min(dim - 1.0));
                let width = if low == high { 0.001 } else { high - low };
                let stretched = ((pair as f64 - low) / width).clamp(0.0, 1.0);
                stretched * frequency / factor + (1.0 - stretched) * frequency
            }
            Self::LongRope { short, long, original_max_positions, .. } => {
                let divisors = if length as f64 > *original_max_positions { long } else { short };
                frequency / divisors[pair]
            }
        }
    }
}
