//! LayerNorm and RMSNorm, forward and backward, row by row.

use std::ops::Range;

use super::{
    dispatch_vectors,
    vector::{LANES, Vector, vectors},
};

/// Vectors that are summed side by side: one sum would wait for itself.
const SUMS: usize = 4;

/// Statistics of a row that the backward pass needs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowStatistics {
    /// Mean; zero for RMSNorm.
    pub(crate) mean: f32,
    /// 1 / √(variance + ε), or of the mean square.
    pub(crate) inverse: f32,
}

/// Σ over places of `add(vector of places, sum so far)`, for each of N sums. A vector is the range of its places in a row of `width`;
/// what `add` makes of places that are not there must be zero.
#[inline(always)]
fn fold<V: Vector, const N: usize>(width: usize, add: impl Fn(Range<usize>, [V; N]) -> [V; N]) -> [f32; N] {
    let mut sums = [[V::zero(); N]; SUMS];
    let whole = width / (SUMS * LANES) * (SUMS * LANES);
    for start in (0..whole).step_by(SUMS * LANES) {
        for (i, sum) in sums.iter_mut().enumerate() {
            let start = start + i * LANES;
            *sum = add(start..start + LANES, *sum);
        }
    }
    for at in vectors(whole, width) {
        sums[0] = add(at, sums[0]);
    }
    let [a, b, c, d] = sums;
    std::array::from_fn(|n| a[n].add(b[n]).add(c[n].add(d[n])).total())
}

dispatch_vectors! {
    /// out = (x − mean) · inverse · weight + bias, row by row; without a bias it is RMSNorm and the mean stays.
    pub(crate) fn forward = forward_body(x: &[f32], weight: &[f32], bias: Option<&[f32]>, epsilon: f32, out: &mut [f32], statistics: &mut [RowStatistics])
}

#[inline(always)]
fn forward_body<V: Vector>(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    epsilon: f32,
    out: &mut [f32],
    statistics: &mut [RowStatistics],
) {
    let width = weight.len();
    for ((x, out), statistics) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(statistics) {
        *statistics = match bias {
            Some(bias) => layer_norm::<V>(x, weight, bias, epsilon, out),
            None => rms_norm::<V>(x, weight, epsilon, out),
        };
    }
}

fn inverse(squares: f32, width: usize, epsilon: f32) -> f32 {
    1.0 / (squares / width as f32 + epsilon).sqrt()
}

#[inline(always)]
fn squares<V: Vector>(x: &[f32]) -> f32 {
    let [sum] = fold::<V, 1>(x.len(), |at, [sum]| {
        let x = V::load_some(&x[at]);
        [x.madd(x, sum)]
    });
    sum
}

#[inline(always)]
fn rms_norm<V: Vector>(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) -> RowStatistics {
    let width = x.len();
    let inverse = inverse(squares::<V>(x), width, epsilon);
    for at in vectors(0, width) {
        let scaled = V::load_some(&x[at.clone()]).multiply(V::splat(inverse));
        scaled.multiply(V::load_some(&weight[at.clone()])).store_some(&mut out[at]);
    }
    RowStatistics { mean: 0.0, inverse }
}

#[inline(always)]
fn layer_norm<V: Vector>(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32]) -> RowStatistics {
    let width = x.len();
    let [sum] = fold::<V, 1>(width, |at, [sum]| [V::load_some(&x[at]).add(sum)]);
    let mean = sum / width as f32;
    for at in vectors(0, width) {
        V::load_some(&x[at.clone()]).subtract(V::splat(mean)).store_some(&mut out[at]);
    }
    let inverse = inverse(squares::<V>(out), width, epsilon);
    for at in vectors(0, width) {
        let scaled = V::load_some(&out[at.clone()]).multiply(V::splat(inverse));
        let (weight, bias) = (V::load_some(&weight[at.clone()]), V::load_some(&bias[at.clone()]));
        scaled.madd(weight, bias).store_some(&mut out[at]);
    }
    RowStatistics { mean, inverse }
}

dispatch_vectors! {
    /// dx += the gradient through the norm, given dout; `centred` for LayerNorm.
    pub(crate) fn backward = backward_body(x: &[f32], weight: &[f32], centred: bool, statistics: &[RowStatistics], dout: &[f32], dx: &mut [f32])
}

/// With h = (x − mean)·inverse and g = dout·weight: dx = inverse·(g − h·⟨g, h⟩/C − ⟨g, 1⟩/C), the last term for LayerNorm.
#[inline(always)]
fn backward_body<V: Vector>(
    x: &[f32],
    weight: &[f32],
    centred: bool,
    statistics: &[RowStatistics],
    dout: &[f32],
    dx: &mut [f32],
) {
    let width = weight.len();
    let rows = x.chunks_exact(width).zip(dout.chunks_exact(width)).zip(dx.chunks_exact_mut(width)).zip(statistics);
    for (((x, dout), dx), RowStatistics { mean, inverse }) in rows {
        let (mean, inverse) = (V::splat(*mean), V::splat(*inverse));
        let g_and_h = |at: Range<usize>| {
            let g = V::load_some(&dout[at.clone()]).multiply(V::load_some(&weight[at.clone()]));
            (g, V::load_some(&x[at]).subtract(mean).multiply(inverse))
        };
        // Beyond the end g is zero, and so are both products.
        let [along, shift] = fold::<V, 2>(width, |at, [along, shift]| {
            let (g, h) = g_and_h(at);
            [g.madd(h, along), g.add(shift)]
        });
        let along = V::splat(along / width as f32);
        let shift = V::splat(if centred { shift / width as f32 } else { 0.0 });
        for at in vectors(0, width) {
            let (g, h) = g_and_h(at.clone());
            let moved = g.subtract(h.madd(along, shift));
            inverse.madd(moved, V::load_some(&dx[at.clone()])).store_some(&mut dx[at]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(i: usize) -> f32 {
        ((i * 7919 % 1009) as f32 - 504.0) / 200.0
    }

    /// Rows after the norm, in f64.
    fn definition(x: &[f64], weight: &[f32], bias: Option<&[f32]>, epsilon: f64) -> Vec<f64> {
        let width = weight.len();
        let rows = x.chunks_exact(width).flat_map(|row| {
            let mean = if bias.is_some() { row.iter().sum::<f64>() / width as f64 } else { 0.0 };
            let square = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            let scale = 1.0 / (square + epsilon).sqrt();
            let at = move |i: usize| (row[i] - mean) * scale * f64::from(weight[i]);
            (0..width).map(move |i| at(i) + bias.map_or(0.0, |bias| f64::from(bias[i])))
        });
        rows.collect()
    }

    #[test]
    fn agrees_with_the_definition_at_any_width() {
        for (width, with_bias) in
            [1, 7, 16, 33, 64, 100, 160].into_iter().flat_map(|width| [(width, false), (width, true)])
        {
            let (rows, epsilon) = (3, 1e-3);
            let x: Vec<f32> = (0..rows * width).map(value).collect();
            let wide: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
            let weight: Vec<f32> = (0..width).map(|i| value(i + 5)).collect();
            let bias: Option<Vec<f32>> = with_bias.then(|| (0..width).map(|i| value(i + 11)).collect());
            let (bias, mut out) = (bias.as_deref(), vec![7.0; x.len()]);
            let mut statistics = vec![RowStatistics::default(); rows];
            forward(&x, &weight, bias, epsilon as f32, &mut out, &mut statistics);
            for (found, want) in out.iter().zip(definition(&wide, &weight, bias, epsilon)) {
                assert!((f64::from(*found) - want).abs() < 1e-5 * want.abs().max(1.0), "{width}: {found}, not {want}");
            }
            let dout: Vec<f32> = (0..x.len()).map(|i| value(i + 23)).collect();
            let mut dx = vec![0.5; x.len()];
            backward(&x, &weight, with_bias, &statistics, &dout, &mut dx);
            let objective = |x: &[f64]| -> f64 {
                definition(x, &weight, bias, epsilon).iter().zip(&dout).map(|(y, g)| y * f64::from(*g)).sum()
            };
            for i in 0..x.len() {
                let moved = |by: f64| {
                    let mut x = wide.clone();
                    x[i] += by;
                    objective(&x)
                };
                let slope = 0.5 + (moved(1e-5) - moved(-1e-5)) / 2e-5;
                let scale = f64::from(statistics[i / width].inverse).max(1.0) * 10.0;
                assert!((f64::from(dx[i]) - slope).abs() < 2e-5 * scale, "{width}, {i}: {}, not {slope}", dx[i]);
            }
        }
    }
}
