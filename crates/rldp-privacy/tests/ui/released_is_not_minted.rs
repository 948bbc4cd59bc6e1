//! Released and observable values come from charged mechanisms only.

use rldp_privacy::{Observable, Released, TakenOver};

fn main() {
    let _ = Released::mint(0.5_f64);
    let _ = Released(0.5_f64);
    let _ = Released::restore(0.5_f64, TakenOver(()));
    let _ = Released::restore(0.5_f64, TakenOver::new());
    let _ = Observable(0.5);
}
