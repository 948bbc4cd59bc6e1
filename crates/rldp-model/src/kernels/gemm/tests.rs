//! Products against their definition, and rows against themselves among others.

use super::*;

type Kernel = fn((usize, usize, usize), (&[f32], usize), View, &mut Scratch, (&mut [f32], usize), bool);

const KERNELS: [Kernel; 3] = [product, product_body::<Portable<false>, FEW, 1>, product_body::<Portable<false>, 12, 2>];

fn value(i: usize) -> f32 {
    ((i * 7919 % 1000) as f32 - 500.0) / 500.0
}

/// Both orientations of the right operand, which give the same bits.
fn both(kernel: Kernel, (m, k, n): (usize, usize, usize), x: &[f32], accumulate: bool) -> Vec<f32> {
    let b: Vec<f32> = (0..k * n).map(|i| value(i + 13)).collect();
    let turned: Vec<f32> = (0..n * k).map(|i| b[(i % k.max(1)) * n + i / k.max(1)]).collect();
    let (stride, mut scratch) = (n + 3, Scratch::default());
    let [straight, transposed] = [View::rows(&b, n), View::rows(&turned, k).transposed()].map(|right| {
        let mut out = vec![0.5; m * stride];
        kernel((m, k, n), (x, k + 1), right, &mut scratch, (&mut out, stride), accumulate);
        out
    });
    assert_eq!(straight, transposed);
    for i in 0..m {
        for j in 0..n {
            let sum: f64 = (0..k).map(|l| f64::from(x[i * (k + 1) + l]) * f64::from(b[l * n + j])).sum();
            let want = sum + if accumulate { 0.5 } else { 0.0 };
            assert!((f64::from(straight[i * stride + j]) - want).abs() < 1e-4 * (k as f64).sqrt().max(1.0));
        }
        assert!(straight[i * stride + n..(i + 1) * stride].iter().all(|x| *x == 0.5), "wrote past a row");
    }
    straight
}

#[test]
fn agrees_with_the_definition_on_ragged_shapes() {
    let shapes = [(1, 1, 1), (3, 5, 7), (17, 33, 9), (50, 64, 70), (65, 8, 31), (4, 0, 6), (7, 1100, 35)];
    for (kernel, (m, k, n)) in KERNELS.into_iter().flat_map(|kernel| shapes.map(|shape| (kernel, shape))) {
        let x: Vec<f32> = (0..m * (k + 1)).map(value).collect();
        both(kernel, (m, k, n), &x, false);
        both(kernel, (m, k, n), &x, true);
    }
}

#[test]
fn a_row_does_not_depend_on_the_others() {
    let (k, n) = (700, 45);
    for kernel in KERNELS {
        let x: Vec<f32> = (0..37 * (k + 1)).map(value).collect();
        let all = both(kernel, (37, k, n), &x, true);
        for (first, count) in [(0, 1), (5, 1), (36, 1), (3, 4), (11, 13), (1, 36)] {
            let some = both(kernel, (count, k, n), &x[first * (k + 1)..], true);
            let bits = |rows: &[f32]| rows.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&some), bits(&all[first * (n + 3)..(first + count) * (n + 3)]));
        }
    }
}
