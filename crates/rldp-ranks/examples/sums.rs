//! Times what a step sends: `mpirun -n 2 target/release/examples/sums 2400000 23000000 100000000`.

use std::time::{Duration, Instant};

use rldp_ranks::{Group, RanksError, join};

#[expect(clippy::print_stdout, reason = "an example prints")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut group = join(Duration::from_secs(120))?;
    for argument in std::env::args().skip(1) {
        let count: usize = argument.parse()?;
        let (sum, broadcast) = time(group.as_mut(), count)?;
        if group.leads() {
            println!(
                "{count} numbers, {} ranks, {}: sum {sum:.1?}, broadcast {broadcast:.1?}",
                group.size(),
                group.describe()
            );
        }
    }
    Ok(())
}

/// Medians of five sums of `count` 64-bit numbers, each checked, and of five broadcasts of as many 32-bit ones.
fn time(group: &mut dyn Group, count: usize) -> Result<(Duration, Duration), RanksError> {
    let (rank, size) = (group.rank() as u64, group.size() as u64);
    let value = |i: usize, rank: u64| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_mul(rank + 1);
    let (mut sums, mut broadcasts) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let mut values: Vec<u64> = (0..count).map(|i| value(i, rank)).collect();
        group.broadcast(Vec::new())?;
        let began = Instant::now();
        group.reduce(&mut values)?;
        sums.push(began.elapsed());
        let want = |i: usize| (0..size).fold(0_u64, |sum, rank| sum.wrapping_add(value(i, rank)));
        assert!(rank > 0 || values.iter().enumerate().all(|(i, sum)| *sum == want(i)), "a sum is wrong");
        group.broadcast(Vec::new())?;
        let began = Instant::now();
        group.broadcast(vec![7; 4 * count])?;
        broadcasts.push(began.elapsed());
    }
    sums.sort();
    broadcasts.sort();
    Ok((sums[2], broadcasts[2]))
}
