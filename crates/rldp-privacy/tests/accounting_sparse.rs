//! The PLD accountant at tiny sampling rates, against the loss distribution's characteristic function by mpmath
//! (`testdata/accounting/generate_sparse.py`).

#![allow(clippy::print_stderr)]

use rldp_privacy::accounting::{Accountant, Event, PldAccountant};

#[test]
fn tiny_sampling_rates_are_accounted_within_one_percent() {
    let pld = PldAccountant::default();
    let mut rows = 0;
    for row in include_str!("../testdata/accounting/sparse_mpmath.csv").lines().skip(1) {
        let row: Vec<f64> = row.split(',').map(|cell| cell.parse().expect("a number")).collect();
        let [q, z, steps, delta, exact] = row[..] else { panic!("five columns") };
        let ours = pld.epsilon(&[Event::new(q, z, steps as u64)], delta).unwrap();
        let excess = ours / exact - 1.0;
        eprintln!("q {q:e} z {z} steps {steps:e} delta {delta:e}: {ours} against {exact}, {excess:e}");
        rows += 1;
        assert!((-1e-9..0.01).contains(&excess), "q {q} z {z} steps {steps} delta {delta}: {ours} against {exact}");
    }
    assert!(rows >= 5, "only {rows} plans");
}
