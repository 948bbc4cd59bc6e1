use super::{HeadView, backward, backward::backward_body, forward, forward::forward_body};
use crate::kernels::vector::Portable;

type Forward = fn(HeadView, &[f32], usize, &mut [f32], usize, &mut [f32]);
type Backward = fn(HeadView, &[f32], &[f32], &[f32], usize, &[f32], &mut [f32]);

fn value(i: usize) -> f32 {
    ((i * 7919 % 1009) as f32 - 504.0) / 300.0
}

/// Output and log-sum-exp of every token in f64.
fn definition(head: &HeadView, rows: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (tokens, dim) = (rows.len() / head.stride, head.dim);
    let at = |token: usize, offset: usize, i: usize| rows[token * head.stride + offset + i];
    let (mut out, mut lse) = (vec![0.0; tokens * dim], vec![0.0; tokens]);
    for token in 0..tokens {
        let past = head.first(token)..token + 1;
        let score = |j: usize| (0..dim).map(|i| at(token, head.query, i) * at(j, head.key, i)).sum::<f64>();
        let weights: Vec<f64> = past.clone().map(|j| (score(j) / (dim as f64).sqrt()).exp()).collect();
        let sum: f64 = weights.iter().sum();
        lse[token] = sum.ln();
        for (weight, j) in weights.iter().zip(past) {
            for i in 0..dim {
                out[token * dim + i] += weight / sum * at(j, head.value, i);
            }
        }
    }
    (out, lse)
}

fn check(tokens: usize, dim: usize, window: usize, (forward, backward): (Forward, Backward)) {
    let head = HeadView { stride: 3 * dim + 5, query: 1, key: dim + 2, value: 2 * dim + 4, dim, window };
    let rows: Vec<f32> = (0..tokens * head.stride).map(value).collect();
    let wide: Vec<f64> = rows.iter().map(|x| f64::from(*x)).collect();
    let (expected, expected_lse) = definition(&head, &wide);
    let (mut out, mut lse) = (vec![0.0; tokens * dim], vec![0.0; tokens]);
    forward(head, &rows, tokens, &mut out, dim, &mut lse);
    let near = |x: f32, y: f64, what: &str| {
        assert!(
            (f64::from(x) - y).abs() < 2e-5 * y.abs().max(1.0),
            "{what}: {x}, not {y}; T {tokens} D {dim} W {window}"
        );
    };
    out.iter().zip(&expected).for_each(|(x, y)| near(*x, *y, "output"));
    lse.iter().zip(&expected_lse).for_each(|(x, y)| near(*x, *y, "log-sum-exp"));
    // The last tokens alone give the same.
    let some = tokens.div_ceil(3);
    let (mut last, mut last_lse) = (vec![0.0; some * dim], vec![0.0; some]);
    forward(head, &rows, some, &mut last, dim, &mut last_lse);
    last.iter().zip(&expected[(tokens - some) * dim..]).for_each(|(x, y)| near(*x, *y, "output of the last"));

    let dout: Vec<f32> = (0..tokens * dim).map(|i| value(i + 31)).collect();
    let mut drows = vec![0.0; rows.len()];
    backward(head, &rows, &out, &dout, dim, &lse, &mut drows);
    let objective =
        |rows: &[f64]| -> f64 { definition(&head, rows).0.iter().zip(&dout).map(|(x, g)| x * f64::from(*g)).sum() };
    for i in (0..rows.len()).step_by(rows.len().div_ceil(60)) {
        let moved = |by: f64| {
            let mut rows = wide.clone();
            rows[i] += by;
            objective(&rows)
        };
        let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!(
            (f64::from(drows[i]) - slope).abs() < 2e-4 * slope.abs().max(1.0),
            "gradient: {}, not {slope}",
            drows[i]
        );
    }
}

#[test]
fn agrees_with_the_definition() {
    for tokens in [1, 2, 15, 16, 17, 50] {
        for dim in [1, 6, 8, 16, 24] {
            for window in [1, 5, 20, usize::MAX] {
                check(tokens, dim, window, (forward::forward, backward::backward));
                check(tokens, dim, window, (forward_body::<Portable<false>>, backward_body::<Portable<false>>));
            }
        }
    }
}
