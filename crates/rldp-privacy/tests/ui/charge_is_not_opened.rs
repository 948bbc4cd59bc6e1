//! What a charge holds is private to the crate.

use rldp_privacy::Charge;

fn opened(charge: Charge) -> f64 {
    charge.spend()
}

fn changed(charge: &mut Charge) {
    charge.noise_multiplier = 1e-9;
}

fn main() {}
