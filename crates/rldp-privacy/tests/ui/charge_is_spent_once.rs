//! A charge pays for one release.

use rldp_privacy::{Charge, ClippedSum, NoiseSource};

fn twice(charge: Charge, a: ClippedSum, b: ClippedSum, noise: &mut NoiseSource) {
    let _ = a.release(charge, noise, 1.0);
    let _ = b.release(charge, noise, 1.0);
}

fn main() {}
