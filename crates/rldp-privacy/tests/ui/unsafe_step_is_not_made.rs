//! A sum without noise begins with a step that only a claim without a guarantee hands out.

use rldp_privacy::{PlainSum, UnsafeStep};

fn main() {
    let _ = PlainSum::new(UnsafeStep(()), &[1], None);
}
