//! The field and the way out are private to the crate.

use rldp_privacy::Sensitive;

fn main() {
    let _ = Sensitive::new(0.5_f64).0;
    let _ = Sensitive::new(0.5_f64).expose();
    let Sensitive(_loss) = Sensitive::new(0.5_f64);
}
