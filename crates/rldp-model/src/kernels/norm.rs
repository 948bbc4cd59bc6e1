//! LayerNorm and RMSNorm, forward and backward, row by row.

use super::{
    dispatch,
    math::{dot, madd, sum},
};

/// Statistics of a row that the backward pass needs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RowStatistics {
    /// Mean; zero for RMSNorm.
    pub(crate) mean: f32,
    /// 1 / √(variance + ε), or of the mean square.
    pub(crate) inverse: f32,
}

dispatch! {
    /// out = (x − mean) · inverse · weight + bias, row by row; without a bias it is RMSNorm and the mean stays.
    pub(crate) fn forward = forward_body(x: &[f32], weight: &[f32], bias: Option<&[f32]>, epsilon: f32, out: &mut [f32], statistics: &mut [RowStatistics])
}

#[inline(always)]
fn forward_body<const FMA: bool>(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    epsilon: f32,
    out: &mut [f32],
    statistics: &mut [RowStatistics],
) {
    let width = weight.len();
    for ((x, out), statistics) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(statistics) {
        let mean = if bias.is_some() { sum(x) / width as f32 } else { 0.0 };
        if bias.is_some() {
            for (out, x) in out.iter_mut().zip(x) {
                *out = x - mean;
            }
        }
        let centred = if bias.is_some() { &*out } else { x };
        let inverse = 1.0 / (dot::<FMA>(centred, centred) / width as f32 + epsilon).sqrt();
        match bias {
            Some(bias) => {
                for ((out, weight), bias) in out.iter_mut().zip(weight).zip(bias) {
                    *out = madd::<FMA>(*out * inverse, *weight, *bias);
                }
            }
            None => {
                for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                    *out = x * inverse * weight;
                }
            }
        }
        *statistics = RowStatistics { mean, inverse };
    }
}

dispatch! {
    /// dx += the gradient through the norm, given dout; `centred` for LayerNorm.
    pub(crate) fn backward = backward_body(x: &[f32], weight: &[f32], centred: bool, statistics: &[RowStatistics], dout: &[f32], dx: &mut [f32])
}

/// With h = (x − mean)·inverse and g = dout·weight: dx = inverse·(g − h·⟨g, h⟩/C − ⟨g, 1⟩/C), the last term for LayerNorm.
#[inline(always)]
fn backward_body<const FMA: bool>(
    x: &[f32],
    weight: &[f32],
    centred: bool,
    statistics: &[RowStatistics],
    dout: &[f32],
    dx: &mut [f32],
) {
    let width = weight.len();
    let mut g = vec![0.0; width];
    let mut h = vec![0.0; width];
    let rows = x.chunks_exact(width).zip(dout.chunks_exact(width)).zip(dx.chunks_exact_mut(width)).zip(statistics);
    for (((x, dout), dx), statistics) in rows {
        let RowStatistics { mean, inverse } = *statistics;
        for i in 0..width {
            g[i] = dout[i] * weight[i];
            h[i] = (x[i] - mean) * inverse;
        }
        let along = dot::<FMA>(&g, &h) / width as f32;
        let shift = if centred { sum(&g) / width as f32 } else { 0.0 };
        for i in 0..width {
            dx[i] = madd::<FMA>(inverse, g[i] - madd::<FMA>(h[i], along, shift), dx[i]);
        }
    }
}
