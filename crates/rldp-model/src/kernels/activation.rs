//! Activation functions of the MLP, forward and backward.

use super::{
    dispatch_vectors,
    vector::{LANES, Vector, vectors},
};
use crate::config::Activation;

/// √(2/π).
const ROOT: f32 = 0.797_884_6;
/// The cubic term of the tanh approximation.
const CUBIC: f32 = 0.044_715;

/// A function and its slope.
trait Curve {
    fn at<V: Vector>(x: V) -> (V, V);
}

struct Silu;
struct GeluTanh;
struct Gelu;

/// 1 / (1 + e^(−x)).
#[inline(always)]
fn sigmoid<V: Vector>(x: V) -> V {
    let one = V::splat(1.0);
    one.divide(one.add(V::zero().subtract(x).exp()))
}

impl Curve for Silu {
    #[inline(always)]
    fn at<V: Vector>(x: V) -> (V, V) {
        let s = sigmoid(x);
        let value = x.multiply(s);
        (value, value.madd(V::splat(1.0).subtract(s), s))
    }
}

impl Curve for GeluTanh {
    /// ½ (1 + tanh u) is the sigmoid of 2u.
    #[inline(always)]
    fn at<V: Vector>(x: V) -> (V, V) {
        let square = x.multiply(x);
        let one = V::splat(1.0);
        let s = sigmoid(x.multiply(square.madd(V::splat(2.0 * ROOT * CUBIC), V::splat(2.0 * ROOT))));
        let slope = square.madd(V::splat(6.0 * ROOT * CUBIC), V::splat(2.0 * ROOT));
        let value = x.multiply(s);
        (value, value.multiply(one.subtract(s)).madd(slope, s))
    }
}

impl Curve for Gelu {
    #[inline(always)]
    fn at<V: Vector>(x: V) -> (V, V) {
        let (mut values, mut slopes) = ([0.0; LANES], [0.0; LANES]);
        x.store(&mut values);
        for (value, slope) in values.iter_mut().zip(&mut slopes) {
            let x = *value;
            let normal = 0.5 * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2));
            let density = 0.398_942_3 * (-0.5 * x * x).exp();
            (*value, *slope) = (x * normal, normal + x * density);
        }
        (V::load(&values), V::load(&slopes))
    }
}

dispatch_vectors! {
    /// out = activation(x) · up, or activation(x) alone.
    pub(crate) fn forward = forward_body(kind: Activation, x: &[f32], up: Option<&[f32]>, out: &mut [f32])
}

#[inline(always)]
fn forward_body<V: Vector>(kind: Activation, x: &[f32], up: Option<&[f32]>, out: &mut [f32]) {
    match kind {
        Activation::GeluTanh => values::<V, GeluTanh>(x, up, out),
        Activation::Gelu => values::<V, Gelu>(x, up, out),
        Activation::Silu => values::<V, Silu>(x, up, out),
    }
}

#[inline(always)]
fn values<V: Vector, C: Curve>(x: &[f32], up: Option<&[f32]>, out: &mut [f32]) {
    for range in vectors(0, x.len()) {
        let (mut value, _) = C::at::<V>(V::load_some(&x[range.clone()]));
        if let Some(up) = up {
            value = value.multiply(V::load_some(&up[range.clone()]));
        }
        value.store_some(&mut out[range]);
    }
}

dispatch_vectors! {
    /// From d(out): dx, dup when gated, and out itself again when asked for.
    pub(crate) fn backward = backward_body(kind: Activation, x: &[f32], up: Option<&[f32]>, dout: &[f32], dx: &mut [f32], dup: Option<&mut [f32]>, out: Option<&mut [f32]>)
}

#[inline(always)]
fn backward_body<V: Vector>(
    kind: Activation,
    x: &[f32],
    up: Option<&[f32]>,
    dout: &[f32],
    dx: &mut [f32],
    dup: Option<&mut [f32]>,
    out: Option<&mut [f32]>,
) {
    match kind {
        Activation::GeluTanh => slopes::<V, GeluTanh>(x, up, dout, dx, dup, out),
        Activation::Gelu => slopes::<V, Gelu>(x, up, dout, dx, dup, out),
        Activation::Silu => slopes::<V, Silu>(x, up, dout, dx, dup, out),
    }
}

#[inline(always)]
fn slopes<V: Vector, C: Curve>(
    x: &[f32],
    up: Option<&[f32]>,
    dout: &[f32],
    dx: &mut [f32],
    mut dup: Option<&mut [f32]>,
    mut out: Option<&mut [f32]>,
) {
    for range in vectors(0, x.len()) {
        let (mut value, slope) = C::at::<V>(V::load_some(&x[range.clone()]));
        let dout = V::load_some(&dout[range.clone()]);
        let mut own = dout.multiply(slope);
        if let (Some(up), Some(dup)) = (up, &mut dup) {
            dout.multiply(value).store_some(&mut dup[range.clone()]);
            let up = V::load_some(&up[range.clone()]);
            own = own.multiply(up);
            value = value.multiply(up);
        }
        if let Some(out) = &mut out {
            value.store_some(&mut out[range.clone()]);
        }
        own.store_some(&mut dx[range]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(kind: Activation, x: f64) -> f64 {
        match kind {
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2)),
            Activation::GeluTanh => {
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh())
            }
        }
    }

    #[test]
    fn values_and_slopes_agree_with_the_definitions() {
        let x: Vec<f32> = (-1203..1203).map(|i| i as f32 * 0.01).collect();
        let up: Vec<f32> = x.iter().map(|x| 0.5 - x).collect();
        let ones = vec![1.0; x.len()];
        for kind in [Activation::Silu, Activation::Gelu, Activation::GeluTanh] {
            let [mut plain, mut gated, mut dx, mut dup, mut again] = [(); 5].map(|()| vec![0.0; x.len()]);
            forward(kind, &x, None, &mut plain);
            forward(kind, &x, Some(&up), &mut gated);
            backward(kind, &x, None, &ones, &mut dx, None, Some(&mut again));
            assert_eq!(again, plain);
            backward(kind, &x, Some(&up), &ones, &mut dx, Some(&mut dup), Some(&mut again));
            assert_eq!(again, gated);
            for (i, x) in x.iter().enumerate() {
                let (wide, up) = (f64::from(*x), f64::from(up[i]));
                let value = definition(kind, wide);
                let slope = (definition(kind, wide + 1e-5) - definition(kind, wide - 1e-5)) / 2e-5;
                let near = |found: f32, want: f64| {
                    assert!(
                        (f64::from(found) - want).abs() < 1e-5 * want.abs().max(0.1),
                        "{kind:?} at {x}: {found}, {want}"
                    );
                };
                near(plain[i], value);
                near(gated[i], value * up);
                near(dx[i], slope * up);
                near(dup[i], value);
            }
        }
    }
}
