//! A sensitive value cannot be printed or serialised.

use rldp_privacy::Sensitive;

fn main() {
    let loss = Sensitive::new(0.5_f64);
    println!("{loss}");
    println!("{loss:?}");
    let _ = serde_json::to_string(&loss);
}
