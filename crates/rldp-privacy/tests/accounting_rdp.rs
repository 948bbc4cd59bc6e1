//! RDP against a committed table of mpmath values.

use rldp_privacy::accounting::rdp;

/// One row of the table: q, z, order and the exact divergence.
fn table() -> impl Iterator<Item = [f64; 4]> {
    include_str!("../testdata/accounting/rdp_mpmath.csv").lines().skip(1).map(|line| {
        let cells: Vec<f64> = line.split(',').map(|cell| cell.parse().expect("a number")).collect();
        [cells[0], cells[1], cells[2], cells[3]]
    })
}

#[test]
fn every_order_agrees_with_mpmath_and_rounds_up() {
    let mut rows = 0;
    for [q, z, order, exact] in table() {
        let ours = rdp(q, z, order).unwrap();
        let error = ours / exact - 1.0;
        assert!((0.0..1e-9).contains(&error), "q {q} z {z} order {order}: {ours} against {exact}, relative {error:e}");
        rows += 1;
    }
    assert!(rows > 100, "the table has only {rows} rows");
}
