//! Measures the products with frozen matrices on one core, for benchmarks and for the choice of a precision.

use std::{sync::OnceLock, time::Instant};

use super::{
    Precision,
    products::{Frozen, KeptTiles, Products},
};
use crate::{
    StoredType, TensorView,
    kernels::{
        bf16,
        gemm::{self, View},
    },
};

/// bf16 has to be so many times as fast as f32, since operands are rounded and laid out in pairs for it.
const WORTH_ROUNDING: f64 = 1.25;

/// The precision whose products are fastest on this processor. Tile registers are always. Pairwise products of AVX-512 are twice as fast as f32 where one
/// starts every cycle, and half as fast where one starts every second; no flag of a processor tells which, so both are timed, once, for some milliseconds.
pub fn fastest_precision() -> Precision {
    static FASTEST: OnceLock<Precision> = OnceLock::new();
    *FASTEST.get_or_init(|| match Precision::Bf16.kernel() {
        None => Precision::F32,
        Some(bf16::Kernel::Amx) => Precision::Bf16,
        Some(bf16::Kernel::Avx512) => {
            // In turns, so that other work disturbs both alike.
            let rounds = (0..5).map(|_| [Precision::F32, Precision::Bf16].map(|kind| peak_speed(kind, 1)));
            let [exact, rounded] = rounds.fold([0.0_f64; 2], |most, now| [most[0].max(now[0]), most[1].max(now[1])]);
            if rounded > WORTH_ROUNDING * exact { Precision::Bf16 } else { Precision::F32 }
        }
    })
}

/// GFLOP/s on the calling core of x · Wᵀ (the forward pass) and of dy · W (the input's gradient), with W (out, in) stored
/// in f32, for `rows` rows; the best of `repeats`. Laying out W in tiles is included, unless it is kept.
pub fn product_speed(
    precision: Precision,
    [rows, fan_in, fan_out]: [usize; 3],
    kept_too: bool,
    repeats: usize,
) -> [f64; 2] {
    let bytes: Vec<u8> = (0..fan_in * fan_out).flat_map(|i| value(i).to_le_bytes()).collect();
    let shape = [fan_out, fan_in];
    let stored = TensorView::new(StoredType::F32, &shape, &bytes);
    let mut products = Products::new(precision.kernel());
    let kept = KeptTiles::default();
    [(fan_in, fan_out, true), (fan_out, fan_in, false)].map(|(width, out_width, transposed)| {
        let x: Vec<f32> = (0..rows * width).map(value).collect();
        let mut out = vec![0.0; rows * out_width];
        let matrix = Frozen { stored, rows: 0..fan_out, transposed, kept: kept_too.then_some(&kept) };
        best(repeats, 2 * rows * fan_in * fan_out, || {
            products.put(rows, (&x, width), &matrix, (&mut out, out_width), false);
        })
    })
}

/// GFLOP/s on the calling core of the same kernel when its operands are in the first caches, without packing: what the
/// processor gives at most.
pub fn peak_speed(precision: Precision, repeats: usize) -> f64 {
    const SIDE: usize = 240;
    if let Some(kernel) = precision.kernel() {
        return best(repeats, bf16::hot_flops(), || bf16::hot(kernel));
    }
    let x: Vec<f32> = (0..SIDE * SIDE).map(value).collect();
    let mut out = vec![0.0; SIDE * SIDE];
    let (view, mut scratch) = (View::rows(&x, SIDE), gemm::Scratch::default());
    best(repeats, 2 * SIDE * SIDE * SIDE, || {
        gemm::product((SIDE, SIDE, SIDE), (&x, SIDE), view, &mut scratch, (&mut out, SIDE), false);
    })
}

fn value(i: usize) -> f32 {
    ((i * 7919 % 1009) as f32 - 504.0) / 504.0
}

/// GFLOP/s of the fastest of `repeats` calls, after one that warms up.
fn best(repeats: usize, flops: usize, mut call: impl FnMut()) -> f64 {
    call();
    let time = |call: &mut dyn FnMut()| {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64()
    };
    let seconds = (0..repeats.max(1)).map(|_| time(&mut call)).fold(f64::INFINITY, f64::min);
    flops as f64 / seconds / 1e9
}
