//! A sensitive value cannot be dereferenced, exposed or turned into one that may be shown.

use rldp_privacy::{Observable, Released, Sensitive};

fn main() {
    let loss = Sensitive::new(0.5_f64);
    let _ = *loss;
    let _: &f64 = loss.as_ref();
    let _: f64 = loss.into();
    let _ = Observable::from(Sensitive::new(0.5_f64));
    let _: Released<f64> = Sensitive::new(0.5_f64).into();
}
