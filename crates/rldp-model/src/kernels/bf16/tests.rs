use half::bf16;

use super::{Kept, Kernel, Matrix, Right, Scratch, kernels, product};
use crate::{StoredType, TensorView};

fn value(i: usize) -> f32 {
    ((i * 7919 % 10007) as f32 - 5003.0) / 4096.0
}

fn rounded(x: f32) -> f64 {
    f64::from(bf16::from_f32(x).to_f32())
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
    let kept = Kept::new(matrix, (k, n));
    let rights = [Right::Stored(matrix), Right::Kept { matrix: &kept, row: 0, column: 0 }];
    let starts = [(false, 0.0), (true, 0.5)];
    for ((accumulate, start), matrix) in starts.into_iter().flat_map(|start| rights.map(|right| (start, right))) {
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

/// Parts of a kept matrix, as the output head takes them.
#[test]
fn parts_of_a_kept_matrix_give_parts_of_the_product() {
    const VOCAB: usize = 1200;
    const WIDTH: usize = 40;
    let values: Vec<f32> = (0..VOCAB * WIDTH).map(value).collect();
    let bytes = stored(&values, StoredType::F32);
    let view = TensorView::new(StoredType::F32, &[VOCAB, WIDTH], &bytes);
    let x: Vec<f32> = (0..5 * VOCAB).map(|i| value(i + 3)).collect();
    let mut scratch = Scratch::default();
    for kernel in kernels() {
        for transposed in [false, true] {
            let whole = Matrix { stored: view, first: 0, transposed };
            let kept = Kept::new(whole, if transposed { (WIDTH, VOCAB) } else { (VOCAB, WIDTH) });
            for (first, last) in [(0, 512), (512, 1024), (512, VOCAB), (1024, VOCAB)] {
                let count = last - first;
                let (k, n) = if transposed { (WIDTH, count) } else { (count, WIDTH) };
                let (row, column) = if transposed { (0, first) } else { (first, 0) };
                let rights = [
                    Right::Stored(Matrix { stored: view, first, transposed }),
                    Right::Kept { matrix: &kept, row, column },
                ];
                let [from_file, from_memory] = rights.map(|right| {
                    let mut out = vec![0.0; 5 * n];
                    product(kernel, (5, k, n), (&x, k), right, &mut scratch, (&mut out, n), false);
                    out
                });
                for (x, y) in from_file.iter().zip(&from_memory) {
                    assert!((x - y).abs() <= 1e-4 * x.abs().max(1.0), "{x} against {y}");
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
