//! The delta(epsilon) and trade-off curves, against the closed Gaussian case.

use rldp_privacy::accounting::{
    Accountant, Event, GdpAccountant, PldAccountant, PrivacyCurve, RdpAccountant, gaussian_delta,
};

/// Φ(x).
fn normal(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

/// The trade-off function of N(0, 1) against N(μ, 1): Φ(Φ⁻¹(1 − α) − μ).
fn gaussian_trade_off(mu: f64, alpha: f64) -> f64 {
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if normal(-middle) > alpha { low = middle } else { high = middle }
    }
    normal(high - mu)
}

const ALPHAS: [f64; 9] = [1e-6, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.999];

#[test]
fn the_gaussian_curves_are_met_from_the_safe_side() {
    for (z, steps) in [(10.0, 1), (2.0, 1), (1.0, 1), (5.0, 100), (1.0, 9)] {
        let mu = (steps as f64).sqrt() / z;
        let events = [Event::new(1.0, z, steps)];
        for accountant in [&PldAccountant::default() as &dyn Accountant, &GdpAccountant] {
            let curve = PrivacyCurve::new(accountant, &events, 1e-12).unwrap();
            for alpha in ALPHAS {
                let (ours, exact) = (curve.trade_off(alpha).unwrap(), gaussian_trade_off(mu, alpha));
                assert!(ours <= exact, "{}: mu {mu}, alpha {alpha}: {ours} above {exact}", accountant.name());
                assert!(ours >= exact - 1e-3, "{}: mu {mu}, alpha {alpha}: {ours}, {exact}", accountant.name());
            }
            for epsilon in [0.0, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0] {
                let (ours, exact) = (curve.delta(epsilon).unwrap(), gaussian_delta(mu, epsilon));
                assert!(ours >= exact * (1.0 - 1e-9), "mu {mu}, epsilon {epsilon}: {ours} below {exact}");
                assert!(ours <= exact * 1.1 + 1e-3 * curve.advantage() + 1e-12, "mu {mu}, {epsilon}: {ours}, {exact}");
            }
            let exact = 1.0 - 2.0 * normal(-mu / 2.0);
            assert!((curve.advantage() - exact).abs() < 2e-3, "{} {exact}", curve.advantage());
        }
    }
}

#[test]
fn subsampled_curves_have_the_shape_of_a_trade_off() {
    let events = [Event::new(0.01, 1.0, 1000), Event::new(0.02, 2.0, 200)];
    let pld = PldAccountant::default();
    let curve = PrivacyCurve::new(&pld, &events, 1e-10).unwrap();
    let loose = PrivacyCurve::new(&RdpAccountant, &events, 1e-10).unwrap();
    for pair in curve.points().windows(2) {
        assert!(pair[0].epsilon <= pair[1].epsilon && pair[0].delta >= pair[1].delta, "{pair:?}");
    }
    let mut before = 1.0;
    for alpha in (0..=100).map(|i| f64::from(i) / 100.0) {
        let error = curve.trade_off(alpha).unwrap();
        assert!(error <= before && error <= 1.0 - alpha && error >= 0.0, "{alpha}: {error}");
        assert!(error >= loose.trade_off(alpha).unwrap() - 1e-3, "RDP proves more at {alpha}");
        before = error;
    }
    for epsilon in [0.0, 0.3, 1.0, 1.7, 2.5] {
        let (ours, exact) = (curve.delta(epsilon).unwrap(), pld.delta(&events, epsilon).unwrap());
        assert!(ours >= exact * (1.0 - 1e-5) && ours <= exact * 1.1, "{epsilon}: {ours} against {exact}");
    }
    let last = curve.points().last().unwrap();
    assert_eq!(curve.delta(last.epsilon + 50.0).unwrap(), last.delta);
}

#[test]
fn impossible_arguments_are_refused_by_name() {
    let curve = PrivacyCurve::new(&GdpAccountant, &[Event::new(1.0, 1.0, 1)], 1e-6).unwrap();
    assert!(curve.trade_off(1.5).unwrap_err().to_string().contains("type I error"));
    assert!(curve.delta(-0.1).unwrap_err().to_string().contains("epsilon"));
    let refused = PrivacyCurve::new(&GdpAccountant, &[Event::new(1.0, 1.0, 1)], 0.0).unwrap_err();
    assert!(refused.to_string().contains("delta"));
}
