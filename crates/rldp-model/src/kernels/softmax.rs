//! Pieces of the cross-entropy over a chunk of the vocabulary.

use std::f32::consts::LOG2_E;

use super::{
    dispatch_vectors,
    vector::{LANES, Vector},
};

dispatch_vectors! {
    /// Logits of a row become e^(logit − largest); returns the largest and the sum of the powers.
    pub(crate) fn exponentials = exponentials_body(row: &mut [f32]) -> (f32, f32)
}

#[inline(always)]
fn exponentials_body<V: Vector>(row: &mut [f32]) -> (f32, f32) {
    let mut places = [V::splat(f32::MIN); 2];
    let (pairs, rest) = row.as_chunks::<{ 2 * LANES }>();
    for pair in pairs {
        for (place, half) in places.iter_mut().zip(pair.as_chunks().0) {
            *place = place.larger(V::load(half));
        }
    }
    let mut lanes = [0.0; LANES];
    places[0].larger(places[1]).store(&mut lanes);
    let max = lanes.iter().chain(rest).fold(f32::MIN, |max, x| max.max(*x));
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
    /// Logits of a row become weight · e^(logit − lse): the gradient of weight · lse.
    pub(crate) fn probabilities = probabilities_body(row: &mut [f32], lse: f32, weight: f32)
}

#[inline(always)]
fn probabilities_body<V: Vector>(row: &mut [f32], lse: f32, weight: f32) {
    let (lse, scale, weight) = (V::splat(lse), V::splat(LOG2_E), V::splat(weight));
    for some in row.chunks_mut(LANES) {
        V::load_some(some).subtract(lse).multiply(scale).exp2().multiply(weight).store_some(some);
    }
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

    type Kernels = (fn(&mut [f32]) -> (f32, f32), fn(&mut [f32], f32, f32), fn(&mut [f32], f32));

    fn check(length: usize, (exponentials, probabilities, scale): Kernels) {
        let logits: Vec<f32> = (0..length).map(|i| ((i * 7919 % 1009) as f32 - 504.0) / 25.0).collect();
        let wide = || logits.iter().map(|x| f64::from(*x));
        let largest = wide().fold(f64::MIN, f64::max);
        let total: f64 = wide().map(|x| (x - largest).exp()).sum();
        let near = |x: f32, y: f64| assert!((f64::from(x) - y).abs() <= 1e-5 * y.abs() + 1e-30, "{x}, not {y}");

        let mut row = logits.clone();
        let (max, sum) = exponentials(&mut row);
        near(max, largest);
        near(sum, total);
        row.iter().zip(wide()).for_each(|(x, logit)| near(*x, (logit - largest).exp()));
        scale(&mut row, 0.25);
        row.iter().zip(wide()).for_each(|(x, logit)| near(*x, 0.25 * (logit - largest).exp()));
        let mut row = logits.clone();
        probabilities(&mut row, max + sum.ln(), 0.5);
        row.iter().zip(wide()).for_each(|(x, logit)| near(*x, 0.5 * (logit - largest).exp() / total));
    }

    #[test]
    fn agree_with_the_definitions_on_ragged_rows() {
        type P = Portable<false>;
        for length in [1, 15, 16, 17, 31, 32, 33, 70, 512] {
            check(length, (exponentials, probabilities, scale));
            check(length, (exponentials_body::<P>, probabilities_body::<P>, scale_body::<P>));
        }
    }
}
