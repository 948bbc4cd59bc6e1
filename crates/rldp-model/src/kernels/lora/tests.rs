use super::*;
use crate::kernels::vector::Portable;

fn value(i: usize) -> f32 {
    ((i * 7919 % 1009) as f32 - 504.0) / 504.0
}

fn near(found: f32, want: f64) {
    assert!((f64::from(found) - want).abs() < 1e-4, "{found}, not {want}");
}

struct Found {
    thin: Vec<f32>,
    out: Vec<f32>,
    sum: Vec<f32>,
    turned: Vec<f32>,
}

type Kernels = (
    fn(&[f32], usize, &Packed, &mut [f32]),
    fn(usize, usize, &[f32], &[f32], &mut [f32], usize),
    fn(Outer, bool, &mut [f32]),
    fn(Outer, f32, bool, &mut [f32]),
);

#[test]
fn agrees_with_the_definitions() {
    type P = Portable<false>;
    let portable: Kernels = (narrow_body::<P>, widen_body::<P>, outer_sum_body::<P>, outer_sum_transposed_body::<P>);
    for (rows, width, rank) in [(1, 1, 1), (3, 17, 2), (9, 40, 8), (13, 300, 16), (35, 33, 21), (70, 172, 4)] {
        for kernels in [(narrow as _, widen as _, outer_sum as _, outer_sum_transposed as _), portable] {
            check(rows, width, rank, kernels);
        }
    }
}

fn check(rows: usize, width: usize, rank: usize, (narrow, widen, outer_sum, outer_sum_transposed): Kernels) {
    let stride = width + 3;
    let wide: Vec<f32> = (0..rows * stride).map(value).collect();
    let left: Vec<f32> = (0..rows * rank).map(|i| value(i + 5)).collect();
    let weights: Vec<f32> = (0..rank * width).map(|i| value(i + 11)).collect();
    let packed = Packed::new(width, rank, |i, r| weights[r * width + i]);
    let outer = Outer { left: &left, rank, right: &wide, width, stride };
    for accumulate in [false, true] {
        let mut found = Found {
            thin: vec![7.0; rows * rank],
            out: wide.clone(),
            sum: vec![1.0; rank * width],
            turned: vec![1.0; rank * width],
        };
        narrow(&wide, stride, &packed, &mut found.thin);
        widen(rank, width, &left, &weights, &mut found.out, stride);
        outer_sum(outer, accumulate, &mut found.sum);
        outer_sum_transposed(outer, 0.5, accumulate, &mut found.turned);

        let at = |x: f32| f64::from(x);
        for t in 0..rows {
            for r in 0..rank {
                let want: f64 = (0..width).map(|i| at(wide[t * stride + i]) * at(weights[r * width + i])).sum();
                near(found.thin[t * rank + r], want);
            }
            for i in 0..width {
                let want: f64 = (0..rank).map(|r| at(left[t * rank + r]) * at(weights[r * width + i])).sum();
                near(found.out[t * stride + i], at(wide[t * stride + i]) + want);
            }
            assert_eq!(found.out[t * stride + width..(t + 1) * stride], wide[t * stride + width..(t + 1) * stride]);
        }
        let old = if accumulate { 1.0 } else { 0.0 };
        for r in 0..rank {
            for i in 0..width {
                let want: f64 = (0..rows).map(|t| at(left[t * rank + r]) * at(wide[t * stride + i])).sum();
                near(found.sum[r * width + i], old + want);
                near(found.turned[i * rank + r], old + 0.5 * want);
            }
        }
    }
}
