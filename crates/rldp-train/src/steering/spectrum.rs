//! How heavy the tail of an adapter's update is: a function of released parameters.

use rldp_model::Adapter;

use crate::eigen::symmetric;

/// α of each pair (K): 1 + 1 / mean ln(λ_i / λ_min) over the R eigenvalues λ of (B·A)ᵀ(B·A), Hill's estimator of the
/// exponent of their density; 0 where B·A is zero or has one eigenvalue only.
pub(crate) fn tail_exponents(adapter: &Adapter) -> Vec<f64> {
    (0..adapter.layout().pairs().len()).map(|pair| hill(&spectrum(adapter, pair))).collect()
}

/// The R largest eigenvalues of (B·A)ᵀ(B·A), those of G^½ (A Aᵀ) G^½ with G = Bᵀ B.
fn spectrum(adapter: &Adapter, pair: usize) -> Vec<f64> {
    let rank = adapter.layout().rank();
    let (a, b) = (adapter.a(pair), adapter.b(pair));
    let fan_in = a.len() / rank;
    let gram = |at: &dyn Fn(usize, usize) -> f32, length: usize| -> Vec<f64> {
        let element = |i: usize, j: usize| (0..length).map(|t| f64::from(at(i, t)) * f64::from(at(j, t))).sum();
        (0..rank * rank).map(|at| element(at / rank, at % rank)).collect()
    };
    let of_a = gram(&|r, t| a[r * fan_in + t], fan_in);
    let of_b = gram(&|r, t| b[t * rank + r], b.len() / rank);
    let (values, vectors) = symmetric(&of_b, rank);
    let root = product(rank, |i, j| (0..rank).map(|k| values[k].max(0.0).sqrt() * vectors[k][i] * vectors[k][j]).sum());
    let half = product(rank, |i, j| (0..rank).map(|k| root[i * rank + k] * of_a[k * rank + j]).sum());
    let whole = product(rank, |i, j| (0..rank).map(|k| half[i * rank + k] * root[k * rank + j]).sum());
    symmetric(&whole, rank).0
}

fn product(n: usize, element: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    (0..n * n).map(|at| element(at / n, at % n)).collect()
}

/// Hill's estimator over all of `values`, largest first.
fn hill(values: &[f64]) -> f64 {
    // What rounding leaves of zero is no tail.
    let floor = values.first().copied().unwrap_or(0.0) * 1e-12;
    let positive: Vec<f64> = values.iter().copied().filter(|value| *value > floor && *value > 0.0).collect();
    let Some((least, others)) = positive.split_last().filter(|(_, others)| !others.is_empty()) else { return 0.0 };
    let mean = others.iter().map(|value| (value / least).ln()).sum::<f64>() / others.len() as f64;
    if mean > 0.0 { 1.0 + 1.0 / mean } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rldp_model::{AdapterLayout, LinearKind, LinearSpec};

    use super::*;

    /// Of a power law of density exponent 3, a thousand draws give back 3 within four deviations of the estimator.
    #[test]
    fn hill_finds_the_exponent_of_a_power_law() {
        let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(1);
        let mut draws: Vec<f64> = (0..1000).map(|_| (1.0 - rng.random::<f64>()).powf(-0.5)).collect();
        draws.sort_by(|a, b| b.total_cmp(a));
        let found = hill(&draws);
        assert!((found - 3.0).abs() < 4.0 * 2.0 / 1000_f64.sqrt(), "{found}");
        assert_eq!(hill(&[1.0, 0.0]), 0.0);
        assert_eq!(hill(&[]), 0.0);
    }

    /// B·A = diag(3, 2) in two of five columns: eigenvalues 9 and 4.
    #[test]
    fn the_spectrum_is_that_of_the_update() {
        let linear = LinearSpec {
            name: "map".into(),
            layer: 0,
            kind: LinearKind::Query,
            in_features: 5,
            out_features: 2,
            bias: false,
            transposed: false,
        };
        let layout = AdapterLayout::new(2, 2.0, vec!["map".into()], vec![linear]);
        let a = [3.0, 0.0, 0.0, 0.0, 0.0, 3.0, 1.0, 0.0, 0.0, 0.0];
        let b = [1.0, 0.0, -2.0, 2.0];
        let adapter = Adapter::from_parameters(layout, a.into_iter().chain(b).collect());
        let found = spectrum(&adapter, 0);
        assert!((found[0] - 9.0).abs() < 1e-9 && (found[1] - 4.0).abs() < 1e-9, "{found:?}");
        assert!((tail_exponents(&adapter)[0] - (1.0 + 1.0 / (9.0_f64 / 4.0).ln())).abs() < 1e-9);
    }
}
