//! Accountants against the optional folder of reference numbers (`../shared/reference`).

#![allow(clippy::print_stderr, clippy::unwrap_used)]

use std::path::PathBuf;

use rldp_privacy::accounting::{Accountant, Event, PldAccountant, RdpAccountant, rdp};

/// The reference folder, or `None` with a word on stderr.
fn reference(file: &str) -> Option<String> {
    let shared = std::env::var_os("RLDP_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    let path = shared.join("reference").join(file);
    match fs_err::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// The rows of a CSV as numbers; empty cells are NaN.
fn rows(text: &str) -> Vec<Vec<f64>> {
    let number = |cell: &str| if cell.is_empty() { f64::NAN } else { cell.parse().expect("a number") };
    text.lines().skip(1).map(|line| line.split(',').map(number).collect()).collect()
}

#[test]
fn rdp_agrees_with_mpmath_at_every_order() {
    let Some(text) = reference("rdp_orders.csv") else { return };
    let mut worst: f64 = 0.0;
    for row in rows(&text) {
        let [q, z, order, _, exact] = row[..] else { panic!("five columns") };
        let ours = rdp(q, z, order).unwrap();
        let error = ours / exact - 1.0;
        worst = worst.max(error.abs());
        assert!((0.0..1e-9).contains(&error), "q {q} z {z} order {order}: {ours} against {exact}, relative {error:e}");
    }
    eprintln!("largest relative excess {worst:e}");
}

/// Asserts the band of the reference folder: not below `refined` by 1e-6, not above `coarse` by 0.1 %.
fn assert_in_band(label: &str, ours: f64, refined: Option<f64>, coarse: f64, worst: &mut (f64, f64)) {
    worst.1 = worst.1.max(ours / coarse - 1.0);
    assert!(ours <= coarse * 1.001, "{label}: {ours} is more than 0.1 % above {coarse}");
    if let Some(refined) = refined {
        worst.0 = worst.0.min(ours / refined - 1.0);
        assert!(ours >= refined * (1.0 - 1e-6), "{label}: {ours} is below the refined value {refined}");
    }
}

#[test]
fn pld_lies_in_the_band_of_the_grid() {
    let (Some(coarse), Some(refined)) = (reference("epsilon_grid.csv"), reference("epsilon_pld_refined.csv")) else {
        return;
    };
    let pld = PldAccountant::default();
    let mut worst = (f64::INFINITY, f64::NEG_INFINITY);
    for row in rows(&refined) {
        let [q, z, steps, delta, at_coarse, at_fine] = row[..] else { panic!("six columns") };
        let ours = pld.epsilon(&[Event::new(q, z, steps as u64)], delta).unwrap();
        assert_in_band(&format!("{row:?}"), ours, Some(at_fine), at_coarse, &mut worst);
    }
    for row in rows(&coarse) {
        assert_on_the_grid(&row, &mut worst);
    }
    eprintln!("relative to the refined column at least {:e}, to the coarse column at most {:e}", worst.0, worst.1);
}

/// Thirty points of the grid, computed with dp-accounting 0.6.0 and prv-accountant 0.2.0, for a clone that has no reference folder.
#[test]
fn pld_and_rdp_lie_in_the_band_of_thirty_points() {
    let points = rows(include_str!("../testdata/accounting/epsilon_grid_30.csv"));
    assert_eq!(points.len(), 30);
    let mut worst = (f64::INFINITY, f64::NEG_INFINITY);
    for row in points {
        assert_on_the_grid(&row, &mut worst);
    }
}

/// Holds one row of `epsilon_grid.csv` against both accountants.
fn assert_on_the_grid(row: &[f64], worst: &mut (f64, f64)) {
    let [q, z, steps, delta, rdp_google, pld_google, prv_low, _] = row[..] else { panic!("eight columns") };
    let events = [Event::new(q, z, steps as u64)];
    let ours = PldAccountant::default().epsilon(&events, delta).unwrap();
    assert_in_band(&format!("{row:?}"), ours, None, pld_google, worst);
    assert!(prv_low.is_nan() || ours >= prv_low, "{row:?}: {ours} is below the lower bound {prv_low}");
    let by_rdp = RdpAccountant.epsilon(&events, delta).unwrap();
    assert!(by_rdp >= ours && by_rdp <= rdp_google * 1.002, "{row:?}: RDP gives {by_rdp}, PLD {ours}");
}

#[test]
fn pld_lies_in_the_band_of_the_compositions() {
    let Some(text) = reference("compositions.json") else { return };
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut worst = (f64::INFINITY, f64::NEG_INFINITY);
    for composition in file["compositions"].as_array().unwrap() {
        let number = |value: &serde_json::Value| value.as_f64().expect("a number");
        let events: Vec<Event> = composition["segments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|segment| Event::new(number(&segment[0]), number(&segment[1]), number(&segment[2]) as u64))
            .collect();
        for (delta, theirs) in composition["eps_pld"].as_object().unwrap() {
            let ours = PldAccountant::default().epsilon(&events, delta.parse().unwrap()).unwrap();
            let label = format!("{} at {delta}", composition["name"]);
            assert_in_band(&label, ours, None, number(theirs), &mut worst);
            let by_rdp = RdpAccountant.epsilon(&events, delta.parse().unwrap()).unwrap();
            let rdp_google = number(&composition["eps_rdp"][delta]);
            assert!(by_rdp >= ours && by_rdp <= rdp_google * 1.002, "{label}: RDP {by_rdp} against {rdp_google}");
            eprintln!("{label}: {:e} {:e}", ours / number(theirs) - 1.0, by_rdp / rdp_google - 1.0);
        }
    }
    eprintln!("relative to the coarse column at most {:e}", worst.1);
}
