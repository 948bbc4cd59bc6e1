//! Raw numbers reach a controller only by evidence that the run claims nothing, and nobody can make that up.

use rldp_privacy::{NoGuarantee, Observable, Sensitive};

fn main() {
    Observable::unsafe_raw(Sensitive::new(vec![1.0]), NoGuarantee(()));
}
