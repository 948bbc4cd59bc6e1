//! Draws that are made before their sum is there.

use zeroize::{Zeroize as _, Zeroizing};

/// Draws in the order of the generator, each to be used once. They are as secret as the generator: what was used, and what is left at the
/// end, is overwritten with zeros.
#[derive(Default)]
pub(super) struct Ahead {
    draws: Zeroizing<Vec<i64>>,
    /// How many of them are used.
    used: usize,
}

impl Ahead {
    /// Draws until `count` are there.
    pub(super) fn fill(&mut self, count: usize, mut draw: impl FnMut() -> i64) {
        let left = self.draws.len() - self.used;
        if left >= count {
            return;
        }
        // A vector that grows or moves its values would leave copies behind. Usually it is empty, and as large as the last step's.
        if self.draws.capacity() < count || self.used > 0 {
            let mut next = Zeroizing::new(Vec::with_capacity(count));
            next.extend_from_slice(&self.draws[self.used..]);
            (self.draws, self.used) = (next, 0);
        }
        self.draws.extend(std::iter::repeat_with(&mut draw).take(count - left));
    }

    /// Adds the next draws to the first of `values`, modulo 2^64, and gives the values for which there were none.
    pub(super) fn add_to<'a>(&mut self, values: &'a mut [i64]) -> &'a mut [i64] {
        let count = values.len().min(self.draws.len() - self.used);
        let (first, rest) = values.split_at_mut(count);
        for (value, draw) in first.iter_mut().zip(&mut self.draws[self.used..]) {
            *value = value.wrapping_add(*draw);
            draw.zeroize();
        }
        self.used += count;
        if self.used == self.draws.len() {
            self.draws.clear();
            self.used = 0;
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::NoiseSource;

    /// What several calls perturb zeros to.
    fn drawn(noise: &mut NoiseSource, lengths: &[usize]) -> Vec<Vec<i64>> {
        let of = |length: &usize| {
            let mut values = vec![0; *length];
            noise.perturb(&mut values);
            values
        };
        lengths.iter().map(of).collect()
    }

    #[test]
    fn draws_made_ahead_are_those_that_would_have_come() {
        let lengths = [100, 7, 0, 50, 100];
        let expected = drawn(&mut NoiseSource::unsafe_seeded(3), &lengths);
        for ahead in [0, 1, 99, 100, 107, 130, 500] {
            let mut noise = NoiseSource::unsafe_seeded(3);
            noise.draw_ahead(ahead);
            let mut found = drawn(&mut noise, &lengths[..2]);
            // More of them while some are left, and fewer than are left.
            noise.draw_ahead(ahead / 2);
            noise.draw_ahead(60);
            found.extend(drawn(&mut noise, &lengths[2..]));
            assert_eq!(found, expected, "{ahead} draws ahead");
        }
    }

    #[test]
    fn nothing_is_drawn_ahead_of_a_silent_source() {
        let mut noise = NoiseSource::unsafe_silent();
        noise.draw_ahead(5);
        assert_eq!(drawn(&mut noise, &[5]), [[0; 5]]);
    }

    #[test]
    fn used_draws_are_overwritten() {
        let mut ahead = Ahead::default();
        ahead.fill(4, || 9);
        ahead.add_to(&mut [0; 3]);
        assert_eq!(*ahead.draws, [0, 0, 0, 9]);
        let mut last = [1; 2];
        assert_eq!(ahead.add_to(&mut last).len(), 1);
        assert_eq!(last, [10, 1]);
        assert!(ahead.draws.is_empty());
    }
}
