//! GFLOP/s of the products with frozen matrices on one core, against the most that the same kernel gives in this run.
//!
//! `kernel_speed [ROWS]`: rows of a micro-batch, 512 when absent.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use rldp_model::cpu::{Precision, peak_speed, product_speed};

/// (name, in, out).
const MAPS: [(&str, usize, usize); 6] = [
    ("hidden 64: gate", 64, 172),
    ("SmolLM2-135M: o", 576, 576),
    ("SmolLM2-135M: gate", 576, 1536),
    ("GPT-2 small: c_attn", 768, 2304),
    ("GPT-2 small: c_fc", 768, 3072),
    ("GPT-2 small: head, 2048 of 50257", 768, 2048),
];

fn main() {
    let rows: usize = std::env::args().nth(1).map_or(512, |rows| rows.parse().unwrap());
    for precision in [Precision::F32, Precision::Bf16] {
        let peak = peak_speed(precision, 20);
        println!("{}, one core: {peak:.0} GFLOP/s from the first caches", precision.description());
        for (name, fan_in, fan_out) in MAPS {
            let repeats = (20_000_000_000 / (rows * fan_in * fan_out)).clamp(5, 200);
            let [forward, backward] = product_speed(precision, [rows, fan_in, fan_out], repeats);
            let share = |speed: f64| 100.0 * speed / peak;
            println!(
                "  {name} ({rows} x {fan_in} x {fan_out}): x W^T {forward:.0} ({:.0} %), dy W {backward:.0} ({:.0} %)",
                share(forward),
                share(backward)
            );
        }
    }
}
