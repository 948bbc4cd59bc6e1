//! Errors of controllers.

/// Why a controller refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// A saved policy does not fit.
    #[error("the saved policy does not fit: {0}")]
    State(String),
    /// There is no policy to freeze.
    #[error(
        "the controller `{0}` learns no policy, so none can be frozen; use --controller sac, or leave --frozen-policy out"
    )]
    Frozen(&'static str),
    /// A setting is out of range.
    #[error("{name} is {value}, but must be {bound}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it must satisfy.
        bound: &'static str,
    },
}
