//! Pieces of the cross-entropy over a chunk of the vocabulary.

use std::f32::consts::LOG2_E;

use super::{
    dispatch_vectors,
    vector::{LANES, Vector},
};

/// Stands for a logit that does not take part: e to the power of it is 0 beside any other.
pub(crate) const MASKED: f32 = -1e30;

dispatch_vectors! {
    /// Logits of a row become e^(logit − m) with m the largest of them and of `least`; returns m and the sum of the powers.
    pub(crate) fn exponentials = exponentials_body(row: &mut [f32], least: f32) -> (f32, f32)
}

#[inline(always)]
fn exponentials_body<V: Vector>(row: &mut [f32], least: f32) -> (f32, f32) {
    let mut places = [V::splat(f32::MIN); 2];
    let (pairs, rest) = row.as_chunks::<{ 2 * LANES }>();
    for pair in pairs {
        for (place, half) in places.iter_mut().zip(pair.as_chunks().0) {
            *place = place.larger(V::load(half));
        }
    }
    let mut lanes = [0.0; LANES];
    places[0].larger(places[1]).store(&mut lanes);
    let max = lanes.iter().chain(rest).fold(least, |max, x| max.max(*x));
    let (largest, scale) = (V::splat(max), V::splat(LOG2_E));
    let power = |x: V| x.subtract(largest).multiply(scale).exp2();
    let mut places = [V::zero(); 2];
    let (pairs, rest) = row.as_chunks_mut::<{ 2 * LANES }>();
    for pair in pairs {
        for (place, half) in places.iter_mut().zip(pair.as_chunks_mut().0) {
            let power = power(V::load(half));
            *place = place.add(power);
            power.store(half);
        }
    }
    places[0].add(places[1]).store(&mut lanes);
    let mut sum = lanes.iter().sum::<f32>();
    for some in rest.chunks_mut(LANES) {
        power(V::load_some(some)).store_some(some);
        sum += some.iter().sum::<f32>();
    }
    (max, sum)
}

dispatch_vectors! {
    /// Multiplies a row.
    pub(crate) fn scale = scale_body(row: &mut [f32], factor: f32)
}

#[inline(always)]
fn scale_body<V: Vector>(row: &mut [f32], factor: f32) {
    let factor = V::splat(factor);
    for some in row.chunks_mut(LANES) {
        V::load_some(some).multiply(factor).store_some(some);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::vector::Portable;

    type Kernels = (fn(&mut [f32], f32) -> (f32, f32), fn(&mut [f32], f32));

    fn check(length: usize, least: f32, (exponentials, scale): Kernels) {
        let mut logits: Vec<f32> = (0..length).map(|i| ((i * 7919 % 1009) as f32 - 504.0) / 25.0).collect();
        // What is masked counts for nothing.
        logits[length / 2] = MASKED;
        let wide = || logits.iter().map(|x| f64::from(*x));
        let largest = wide().fold(f64::from(least), f64::max);
        let total: f64 = wide().map(|x| (x - largest).exp()).sum();
        let near = |x: f32, y: f64| assert!((f64::from(x) - y).abs() <= 1e-5 * y.abs() + 1e-30, "{x}, not {y}");

        let mut row = logits.clone();
        let (max, sum) = exponentials(&mut row, least);
        near(max, largest);
        near(sum, total);
        row.iter().zip(wide()).for_each(|(x, logit)| near(*x, (logit - largest).exp()));
        scale(&mut row, 0.25);
        row.iter().zip(wide()).for_each(|(x, logit)| near(*x, 0.25 * (logit - largest).exp()));
    }

    #[test]
    fn agree_with_the_definitions_on_ragged_rows() {
        type P = Portable<false>;
        for length in [1, 15, 16, 17, 31, 32, 33, 70, 512] {
            for least in [f32::MIN, 3.0, 30.0] {
                check(length, least, (exponentials, scale));
                check(length, least, (exponentials_body::<P>, scale_body::<P>));
            }
        }
    }
}
