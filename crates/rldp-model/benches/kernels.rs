//! GFLOP/s of every kernel on one core, against the most that a product from the first caches reaches in this run.
//!
//! `cargo bench -p rldp-model --bench kernels -- [WORDS]`: only the kernels whose names have all the words.

#![allow(clippy::print_stdout)]

use rldp_model::cpu::{Precision, kernel_cases, peak_speed, product_speed};

/// (rows, in, out).
const PRODUCTS: [[usize; 3]; 6] =
    [[160, 64, 172], [512, 576, 576], [512, 576, 1536], [1024, 768, 2304], [1024, 768, 3072], [1024, 768, 2048]];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let wanted = |name: &str| words.iter().all(|word| name.contains(word.as_str()));
    for precision in [Precision::F32, Precision::Bf16] {
        let (peak, kind) = (peak_speed(precision, 20), precision.description());
        println!("{kind}: {peak:.0} GFLOP/s at most");
        for shape in PRODUCTS {
            let [rows, fan_in, fan_out] = shape;
            let name = format!("product in {kind}, {rows} x {fan_in} x {fan_out}");
            if wanted(&name) {
                let repeats = (20_000_000_000 / (rows * fan_in * fan_out)).clamp(5, 300);
                for (kept, what) in [(false, "W laid out anew"), (true, "W kept")] {
                    if kept && precision == Precision::F32 {
                        continue;
                    }
                    let [forward, backward] = product_speed(precision, shape, kept, repeats);
                    line(&format!("{name}, x W^T, {what}"), forward, peak);
                    line(&format!("{name}, dy W, {what}"), backward, peak);
                }
            }
        }
    }
    let peak = peak_speed(Precision::F32, 20);
    for mut case in kernel_cases() {
        if wanted(&case.name) {
            let repeats = ((0.2 / case.seconds(3)) as usize).clamp(5, 2000);
            let seconds = case.seconds(repeats);
            line(&case.name, case.flops as f64 / seconds / 1e9, peak);
        }
    }
}

fn line(name: &str, speed: f64, peak: f64) {
    println!("  {name:<76} {speed:7.1} GFLOP/s  {:3.0} %", 100.0 * speed / peak);
}
