use half::bf16;

use super::{Kernel, Matrix, Scratch, fastest, product};
use crate::{StoredType, TensorView};

fn value(i: usize) -> f32 {
    ((i * 7919 % 10007) as f32 - 5003.0) / 4096.0
}

fn rounded(x: f32) -> f64 {
    f64::from(bf16::from_f32(x).to_f32())
}

/// Kernels of this processor; empty, with a word, where there are none.
fn kernels() -> Vec<Kernel> {
    match fastest() {
        Some(Kernel::Amx) => vec![Kernel::Amx, Kernel::Avx512],
        Some(Kernel::Avx512) => vec![Kernel::Avx512],
        None => {
            eprintln!("skipped: this processor multiplies no bf16");
            Vec::new()
        }
    }
}

/// The stored bytes of values.
fn stored(values: &[f32], dtype: StoredType) -> Vec<u8> {
    match dtype {
        StoredType::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        StoredType::F16 => values.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect(),
        StoredType::Bf16 => values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        StoredType::Blocks(format) => unreachable!("{format:?} has no writer"),
    }
}

/// The product of `rows` of a stored matrix against the definition in f64 with rounded operands.
fn check(kernel: Kernel, (m, k, n): (usize, usize, usize), dtype: StoredType, transposed: bool, scratch: &mut Scratch) {
    const FIRST: usize = 3;
    let shape = if transposed { [FIRST + n, k] } else { [FIRST + k, n] };
    let values: Vec<f32> = (0..shape[0] * shape[1]).map(|i| value(i + 17)).collect();
    let bytes = stored(&values, dtype);
    let view = TensorView::new(dtype, &shape, &bytes);
    let (x_stride, stride) = (k + 5, n + 3);
    let x: Vec<f32> = (0..m * x_stride).map(value).collect();
    let matrix = Matrix { stored: view, first: FIRST, transposed };
    let wide = view.to_f32_vec();
    for (accumulate, start) in [(false, 0.0), (true, 0.5)] {
        let mut out = vec![0.5; m * stride];
        product(kernel, (m, k, n), (&x, x_stride), matrix, scratch, (&mut out, stride), accumulate);
        for i in 0..m {
            for j in 0..n {
                let weight = |l: usize| {
                    if transposed { wide[(FIRST + j) * k + l] } else { wide[(FIRST + l) * n + j] }
                };
                let terms = (0..k).map(|l| rounded(x[i * x_stride + l]) * rounded(weight(l)));
                let (sum, size) = terms.fold((start, start), |(sum, size), term| (sum + term, size + term.abs()));
                let error = (f64::from(out[i * stride + j]) - sum).abs();
                assert!(error <= 1e-5 * size, "{kernel:?} {dtype:?} ({m}, {k}, {n}) {transposed}: {error:e} of {size}");
            }
            assert!(out[i * stride + n..(i + 1) * stride].iter().all(|x| *x == 0.5), "wrote past a row");
        }
    }
}

#[test]
fn agrees_with_the_definition_on_ragged_shapes() {
    let mut scratch = Scratch::default();
    let shapes =
        [(1, 1, 1), (1, 33, 16), (3, 5, 7), (16, 32, 16), (17, 31, 33), (32, 64, 32), (65, 100, 96), (33, 550, 530)];
    for kernel in kernels() {
        for shape in shapes {
            for dtype in [StoredType::F32, StoredType::F16, StoredType::Bf16] {
                for transposed in [false, true] {
                    check(kernel, shape, dtype, transposed, &mut scratch);
                }
            }
        }
    }
}

#[test]
fn empty_products_leave_the_output() {
    for kernel in kernels() {
        for shape in [(0, 4, 4), (4, 0, 4), (4, 4, 0)] {
            check(kernel, shape, StoredType::F32, true, &mut Scratch::default());
        }
    }
}
