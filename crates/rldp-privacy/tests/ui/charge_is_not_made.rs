//! A charge cannot be defaulted, read back or copied.

use rldp_privacy::Charge;

fn copied(charge: Charge) -> (Charge, Charge) {
    (charge.clone(), charge)
}

fn main() {
    let _ = Charge::default();
    let _: Charge = serde_json::from_str("{}").unwrap();
}
