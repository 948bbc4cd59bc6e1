//! Plain and recorded numbers do not become released ones.

use rldp_privacy::{Observable, Released};

fn main() {
    let _: Released<f64> = 0.5_f64.into();
    let _ = Released::<f64>::default();
    let _: Released<f64> = serde_json::from_str("0.5").unwrap();
    let _ = Observable::from(0.5_f64);
    let _: Observable = serde_json::from_str("0.5").unwrap();
}
