//! A grid of comparisons. The code is the command's own, which has no library: its files are read from there.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/rldp/src/exit.rs"]
mod exit;
#[path = "../../crates/rldp/src/commands/compare/grid.rs"]
mod grid;
#[path = "../../crates/rldp/src/commands/compare/tuning.rs"]
mod tuning;

/// No cards: a fuzzer asks no driver.
mod device {
    pub(crate) fn is_card(_name: Option<&str>) -> bool {
        false
    }
}

mod progress {
    pub(crate) fn note(_label: &str, _text: &str) {}
}

/// Local models only: a fuzzer does not ask the hub.
mod facade {
    use rldp_model::ModelConfig;
    use rldp_train::settings::Given;

    /// No adapter is read, and no data set fetched.
    pub(crate) fn located(given: Given, _config: Option<&ModelConfig>) -> anyhow::Result<Given> {
        Ok(given)
    }
}
mod models {
    pub(crate) fn files(model: &std::path::Path) -> anyhow::Result<rldp_model::ModelFiles> {
        Ok(rldp_model::ModelSource::open(model)?)
    }
}

fuzz_target!(|text: &str| {
    if let Ok(grid) = grid::Grid::parse(text, "grid.toml") {
        let _ = grid.shape();
        let _ = grid.expand(std::path::Path::new("out"));
    }
});
