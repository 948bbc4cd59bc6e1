//! A sensitive value cannot be cloned, compared, ordered or defaulted.

use rldp_privacy::Sensitive;

fn main() {
    let (a, b) = (Sensitive::new(1_u64), Sensitive::new(2_u64));
    let _ = a.clone();
    let _ = a == b;
    let _ = a < b;
    let _ = Sensitive::<u64>::default();
}
