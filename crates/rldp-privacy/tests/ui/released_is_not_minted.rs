//! Released and observable values come from charged mechanisms only.

use rldp_privacy::{Observable, Released};

fn main() {
    let _ = Released::mint(0.5_f64);
    let _ = Released(0.5_f64);
    let _ = Observable(0.5);
}
