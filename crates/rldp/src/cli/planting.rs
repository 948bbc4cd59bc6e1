//! Flags of `rldp train` that prepare its audit.

use clap::Args;
use rldp_data::canaries::Kind;

use crate::settings::Given;

#[derive(Debug, Args)]
pub(crate) struct PlantingArguments {
    /// For an audit: hold every unit out with this probability (0.5 when none is given). The coins stand in RUN/private,
    /// which is never to be released
    #[arg(long, value_name = "PROBABILITY", num_args = 0..=1, default_missing_value = "0.5")]
    hold_out_members: Option<f64>,
    /// For an audit: plant this many secrets, each with probability one half. They stand in RUN/private
    #[arg(long, value_name = "COUNT")]
    canaries: Option<u32>,
    /// Kinds of canaries, in turn: digits, names, rare; all by default
    #[arg(long, value_delimiter = ',', requires = "canaries")]
    canary_kinds: Option<Vec<Kind>>,
    /// In how many units a canary stands, in turn; 1,4,16 by default
    #[arg(long, value_delimiter = ',', requires = "canaries")]
    canary_repetitions: Option<Vec<u32>>,
}

impl PlantingArguments {
    pub(crate) fn set(&self, given: &mut Given) {
        given.set("hold_out_members", self.hold_out_members);
        given.set_in("canaries", "count", self.canaries.map(i64::from));
        let kinds = self.canary_kinds.as_ref().map(|kinds| kinds.iter().map(ToString::to_string).collect::<Vec<_>>());
        given.set_in("canaries", "kinds", kinds);
        let repetitions = self.canary_repetitions.as_ref();
        let repetitions = repetitions.map(|repetitions| repetitions.iter().map(|r| i64::from(*r)).collect::<Vec<_>>());
        given.set_in("canaries", "repetitions", repetitions);
    }
}
