use super::*;
use crate::kernels::vector::Portable;

type Forward = fn(Group, &[f32], usize, &mut [f32], usize, &mut [f32], usize);
type Backward = fn(Group, &[f32], &[f32], &[f32], usize, &[f32], usize, &mut [f32]);

fn value(i: usize) -> f32 {
    ((i * 7919 % 1009) as f32 - 504.0) / 300.0
}

/// Outputs (T, heads · D) and log-sum-exps (heads, T) in f64.
fn definition(group: &Group, rows: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (tokens, dim, heads) = (rows.len() / group.stride, group.dim, group.heads);
    let at = |token: usize, offset: usize, i: usize| rows[token * group.stride + offset + i];
    let (mut out, mut lse) = (vec![0.0; tokens * heads * dim], vec![0.0; heads * tokens]);
    for (head, token) in (0..heads).flat_map(|head| (0..tokens).map(move |token| (head, token))) {
        let past = group.first(token)..token + 1;
        let query = group.query + head * dim;
        let score = |j: usize| (0..dim).map(|i| at(token, query, i) * at(j, group.key, i)).sum::<f64>();
        let weights: Vec<f64> = past.clone().map(|j| (score(j) / (dim as f64).sqrt()).exp()).collect();
        let sum: f64 = weights.iter().sum();
        lse[head * tokens + token] = sum.ln();
        for (weight, j) in weights.iter().zip(past) {
            for i in 0..dim {
                out[(token * heads + head) * dim + i] += weight / sum * at(j, group.value, i);
            }
        }
    }
    (out, lse)
}

fn check(tokens: usize, group: Group, (forward, backward): (Forward, Backward)) {
    let (width, heads) = (group.heads * group.dim, group.heads);
    let rows: Vec<f32> = (0..tokens * group.stride).map(value).collect();
    let wide: Vec<f64> = rows.iter().map(|x| f64::from(*x)).collect();
    let (expected, expected_lse) = definition(&group, &wide);
    let (mut out, mut lse) = (vec![0.0; tokens * width], vec![0.0; heads * tokens]);
    forward(group, &rows, tokens, &mut out, width, &mut lse, tokens);
    let near = |x: f32, y: f64, what: &str| {
        assert!((f64::from(x) - y).abs() < 2e-5 * y.abs().max(1.0), "{what}: {x}, not {y}; T {tokens} {group:?}");
    };
    out.iter().zip(&expected).for_each(|(x, y)| near(*x, *y, "output"));
    lse.iter().zip(&expected_lse).for_each(|(x, y)| near(*x, *y, "log-sum-exp"));
    // The last tokens alone give the same.
    let some = tokens.div_ceil(3);
    let (mut last, mut last_lse) = (vec![0.0; some * width], vec![0.0; heads * some]);
    forward(group, &rows, some, &mut last, width, &mut last_lse, some);
    last.iter().zip(&expected[(tokens - some) * width..]).for_each(|(x, y)| near(*x, *y, "output of the last"));

    let dout: Vec<f32> = (0..tokens * width).map(|i| value(i + 31)).collect();
    // What is between queries, keys and values stays.
    let mut drows = vec![7.0; rows.len()];
    backward(group, &rows, &out, &dout, width, &lse, tokens, &mut drows);
    let objective =
        |rows: &[f64]| -> f64 { definition(&group, rows).0.iter().zip(&dout).map(|(x, g)| x * f64::from(*g)).sum() };
    for i in (0..rows.len()).step_by(rows.len().div_ceil(60)) {
        let moved = |by: f64| {
            let mut rows = wide.clone();
            rows[i] += by;
            objective(&rows)
        };
        let offset = i % group.stride;
        let used = [(group.query, width), (group.key, group.dim), (group.value, group.dim)];
        let slope = if used.iter().any(|(start, width)| (*start..start + width).contains(&offset)) {
            (moved(1e-5) - moved(-1e-5)) / 2e-5
        } else {
            7.0
        };
        assert!(
            (f64::from(drows[i]) - slope).abs() < 2e-4 * slope.abs().max(1.0),
            "gradient: {}, not {slope}; T {tokens} {group:?}",
            drows[i]
        );
    }
}

#[test]
fn agrees_with_the_definition() {
    for tokens in [1, 2, 15, 16, 17, 50] {
        for (dim, heads) in [(1, 1), (6, 1), (8, 1), (8, 2), (8, 3), (8, 4), (16, 1), (16, 2), (24, 1), (40, 3)] {
            for window in [1, 5, 20, usize::MAX] {
                let key = 1 + heads * dim + 1;
                let group =
                    Group { stride: key + 2 * dim + 3, heads, query: 1, key, value: key + dim + 2, dim, window };
                type P = Portable<false>;
                check(tokens, group, (forward, backward));
                check(tokens, group, (forward::forward_body::<P>, backward::backward_body::<P>));
                if group.fits_eight() {
                    check(tokens, group, (eight::forward_body::<P>, eight::backward_body::<P>));
                }
            }
        }
    }
}
