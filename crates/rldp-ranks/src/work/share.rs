//! Dividing work among ranks.

/// Parts that took less say little of how fast a rank is, in seconds.
const TELLING: f64 = 1e-3;
/// What the last part counts for a pace, beside those before.
const WEIGHT: f64 = 0.25;
/// No rank counts as slower than the fastest by more than this: one that was held up once must get work to show that it no longer is.
const SLOWEST: f64 = 1.0 / 16.0;

/// How fast each rank is, in tokens a second, by what its parts took: machines differ, and rank 0 draws noise while it works. Whom a unit
/// is dealt to changes no bit of a sum.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// Empty while all count alike.
    speeds: Vec<f64>,
}

impl Pace {
    /// Learns from parts of `loads` tokens that took `seconds`.
    pub(super) fn learn(&mut self, loads: &[usize], seconds: &[f64]) {
        if loads.contains(&0) || !seconds.iter().all(|seconds| *seconds >= TELLING) {
            return;
        }
        let now: Vec<f64> = loads.iter().zip(seconds).map(|(load, seconds)| *load as f64 / seconds).collect();
        if self.speeds.len() == now.len() {
            self.speeds.iter_mut().zip(now).for_each(|(speed, now)| *speed += WEIGHT * (now - *speed));
        } else {
            self.speeds = now;
        }
        let least = self.speeds.iter().copied().fold(0.0, f64::max) * SLOWEST;
        self.speeds.iter_mut().for_each(|speed| *speed = speed.max(least));
    }

    fn of(&self, rank: usize) -> f64 {
        self.speeds.get(rank).copied().unwrap_or(1.0)
    }
}

/// Deals items of these sizes to `ranks` so that all are done at about the same time: the largest first, each to whoever is done with it
/// first. Each rank's items in their order.
pub(super) fn deal(sizes: &[usize], ranks: usize, pace: &Pace) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&item| (std::cmp::Reverse(sizes[item]), item));
    let mut shares = vec![(0_usize, Vec::new()); ranks];
    for item in order {
        // An item without tokens still takes its turn.
        let size = sizes[item].max(1);
        let done = |(rank, (load, _)): &(usize, &mut (usize, Vec<usize>))| (*load + size) as f64 / pace.of(*rank);
        let first = shares.iter_mut().enumerate().min_by(|one, other| done(one).total_cmp(&done(other)));
        if let Some((_, (load, items))) = first {
            *load += size;
            items.push(item);
        }
    }
    let sorted = |(_, mut items): (usize, Vec<usize>)| {
        items.sort_unstable();
        items
    };
    shares.into_iter().map(sorted).collect()
}

/// Tokens of each rank's items.
pub(super) fn loads(sizes: &[usize], shares: &[Vec<usize>]) -> Vec<usize> {
    shares.iter().map(|share| share.iter().map(|&item| sizes[item]).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_dealt_once_and_loads_are_near() {
        let sizes: Vec<usize> = (0..97).map(|i| (i * 7919) % 128).collect();
        for ranks in [1, 2, 3, 5, 64, 120] {
            let shares = deal(&sizes, ranks, &Pace::default());
            let mut all: Vec<usize> = shares.concat();
            all.sort_unstable();
            assert_eq!(all, (0..97).collect::<Vec<_>>());
            let loads: Vec<usize> =
                shares.iter().map(|share| share.iter().map(|&item| sizes[item].max(1)).sum()).collect();
            let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
            assert!(most - least <= 128, "{loads:?}");
        }
    }

    /// Ranks of these speeds, of which the first loses `held` seconds a step.
    fn times(speeds: &[f64], held: f64, steps: usize) -> Vec<f64> {
        let sizes: Vec<usize> = (0..512).map(|i| 20 + (i * 7919) % 80).collect();
        let (mut pace, mut seconds) = (Pace::default(), Vec::new());
        for _ in 0..steps {
            let loads = loads(&sizes, &deal(&sizes, speeds.len(), &pace));
            seconds = loads.iter().zip(speeds).map(|(load, speed)| *load as f64 / speed).collect();
            seconds[0] += held;
            pace.learn(&loads, &seconds);
        }
        seconds
    }

    #[test]
    fn unequal_ranks_are_soon_done_together() {
        for (speeds, held) in [(vec![1e4; 4], 0.3), (vec![1e4, 2e4], 0.0), (vec![1e4, 3e4, 5e3], 0.1)] {
            let spread = |seconds: &[f64]| {
                let most = seconds.iter().copied().fold(0.0, f64::max);
                1.0 - seconds.iter().copied().fold(most, f64::min) / most
            };
            assert!(spread(&times(&speeds, held, 1)) > 0.2);
            let after = times(&speeds, held, 24);
            assert!(spread(&after) < 0.05, "{after:?}");
        }
    }

    #[test]
    fn a_rank_that_was_held_up_once_still_gets_work() {
        let mut pace = Pace::default();
        pace.learn(&[1000, 1000], &[0.1, 0.1]);
        (0..50).for_each(|_| pace.learn(&[1000, 1], &[0.1, 1000.0]));
        let shares = deal(&[10; 340], 2, &pace);
        assert_eq!(shares[1].len(), 20);
        let before = pace.clone();
        pace.learn(&[1000, 0], &[0.1, 0.1]);
        pace.learn(&[10, 10], &[1e-6, 1e-3]);
        assert_eq!(before.speeds, pace.speeds, "what says nothing teaches nothing");
    }
}
