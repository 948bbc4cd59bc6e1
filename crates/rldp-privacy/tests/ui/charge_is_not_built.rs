//! A charge comes from a spender only.

use rldp_privacy::Charge;

fn main() {
    let _ = Charge { noise_multiplier: 1e9, step: 1 };
}
