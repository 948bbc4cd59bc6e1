//! A charge pays for one sum, and a sum is released once.

use rldp_privacy::{Allocation, Charge, ClippedSum, NoiseSource, Past};

fn twice(charge: Charge, allocation: Allocation, noise: &mut NoiseSource, past: &mut Past) {
    let first = ClippedSum::new(charge, &[1], allocation.clone(), None, 1).unwrap();
    let second = ClippedSum::new(charge, &[1], allocation, None, 1);
    let _ = first.release(noise, past, 1.0);
    let _ = first.release(noise, past, 1.0);
    drop(second);
}

fn main() {
    let _ = twice;
}
