//! Vectors of 16 numbers that stay in registers. Compilers keep arrays that are summed into in memory; these they do not.

#[cfg(target_arch = "x86_64")]
mod avx512;

use std::ops::Range;

use super::math::{EXP2, exp, exp2, madd};

/// Numbers of a vector.
pub(crate) const LANES: usize = 16;

/// Numbers side by side, in memory.
pub(crate) type Lanes = [f32; LANES];

/// The places of each vector of `from..length`, of the last one those that are there.
#[inline(always)]
pub(crate) fn vectors(from: usize, length: usize) -> impl Iterator<Item = Range<usize>> {
    (from..length).step_by(LANES).map(move |start| start..length.min(start + LANES))
}

/// Sixteen numbers. Implementations for an instruction set are used in functions that are compiled for it only; the
/// `dispatch_vectors` macro sees to that.
pub(crate) trait Vector: Copy {
    fn load(lanes: &Lanes) -> Self;
    fn store(self, lanes: &mut Lanes);
    fn splat(x: f32) -> Self;
    /// The first number in even places, the second in odd ones.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "a pair in memory is loaded and spread in one instruction")]
    fn splat_pair(pair: &[f32; 2]) -> Self;
    /// Pairs (self, other) of every place: of the first two of each four places, and of the last two.
    fn interleave(self, other: Self) -> [Self; 2];
    /// self · b + c.
    fn madd(self, b: Self, c: Self) -> Self;
    fn add(self, other: Self) -> Self;
    fn subtract(self, other: Self) -> Self;
    fn multiply(self, other: Self) -> Self;
    fn divide(self, other: Self) -> Self;
    fn larger(self, other: Self) -> Self;
    /// e^self, as [`exp`] has it.
    fn exp(self) -> Self;
    /// 2^self, as [`exp2`] has it.
    fn exp2(self) -> Self;

    /// Sum of all places: halves first, then halves of the sums.
    fn total(self) -> f32;

    /// Rows become columns.
    fn transpose(rows: &mut [Self; LANES]);
    /// Fetches what lies there into the first cache: a hint, of which nothing can be seen but its speed.
    fn fetch(lanes: &Lanes);

    #[inline(always)]
    fn zero() -> Self {
        Self::splat(0.0)
    }

    /// At most 16 numbers; what is missing is zero.
    #[inline(always)]
    fn load_some(values: &[f32]) -> Self {
        if let Some(lanes) = values.first_chunk() {
            return Self::load(lanes);
        }
        let mut lanes = [0.0; LANES];
        lanes[..values.len()].copy_from_slice(values);
        Self::load(&lanes)
    }

    /// At most 16 numbers.
    #[inline(always)]
    fn store_some(self, values: &mut [f32]) {
        if let Some(lanes) = values.first_chunk_mut() {
            return self.store(lanes);
        }
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes);
        values.copy_from_slice(&lanes[..values.len()]);
    }
}

/// Vectors for any processor; `FMA` says whether fused multiply-add is an instruction.
#[derive(Clone, Copy)]
pub(crate) struct Portable<const FMA: bool>(Lanes);

impl<const FMA: bool> Portable<FMA> {
    #[inline(always)]
    fn zip(self, other: Self, function: impl Fn(f32, f32) -> f32) -> Self {
        let mut lanes = self.0;
        for i in 0..LANES {
            lanes[i] = function(lanes[i], other.0[i]);
        }
        Self(lanes)
    }
}

impl<const FMA: bool> Vector for Portable<FMA> {
    #[inline(always)]
    fn load(lanes: &Lanes) -> Self {
        Self(*lanes)
    }
    #[inline(always)]
    fn store(self, lanes: &mut Lanes) {
        *lanes = self.0;
    }
    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; LANES])
    }
    #[inline(always)]
    fn splat_pair(pair: &[f32; 2]) -> Self {
        Self(std::array::from_fn(|i| pair[i % 2]))
    }
    #[inline(always)]
    fn interleave(self, other: Self) -> [Self; 2] {
        [0, 2].map(|half| {
            Self(std::array::from_fn(|i| {
                let place = i / 4 * 4 + half + i % 4 / 2;
                if i % 2 == 0 { self.0[place] } else { other.0[place] }
            }))
        })
    }
    #[inline(always)]
    fn madd(self, b: Self, c: Self) -> Self {
        let mut lanes = self.0;
        for i in 0..LANES {
            lanes[i] = madd::<FMA>(lanes[i], b.0[i], c.0[i]);
        }
        Self(lanes)
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |x, y| x + y)
    }
    #[inline(always)]
    fn subtract(self, other: Self) -> Self {
        self.zip(other, |x, y| x - y)
    }
    #[inline(always)]
    fn multiply(self, other: Self) -> Self {
        self.zip(other, |x, y| x * y)
    }
    #[inline(always)]
    fn divide(self, other: Self) -> Self {
        self.zip(other, |x, y| x / y)
    }
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        self.zip(other, |x, y| if x > y { x } else { y })
    }
    #[inline(always)]
    fn exp(self) -> Self {
        let mut lanes = self.0;
        for x in &mut lanes {
            *x = exp::<FMA>(*x);
        }
        Self(lanes)
    }
    #[inline(always)]
    fn exp2(self) -> Self {
        let mut lanes = self.0;
        for x in &mut lanes {
            *x = exp2::<FMA>(*x);
        }
        Self(lanes)
    }
    #[inline(always)]
    fn total(self) -> f32 {
        let mut lanes = self.0;
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
        }
        lanes[0]
    }
    #[inline(always)]
    fn transpose(rows: &mut [Self; LANES]) {
        let before = *rows;
        for i in 0..LANES {
            for j in 0..LANES {
                rows[i].0[j] = before[j].0[i];
            }
        }
    }
    #[inline(always)]
    fn fetch(_: &Lanes) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<V: Vector>() {
        for i in -600..600 {
            let x: Lanes = std::array::from_fn(|lane| (i * 16 + lane as i32) as f32 * 0.0097);
            let mut found = [0.0; LANES];
            V::load(&x).exp().store(&mut found);
            for (found, x) in found.iter().zip(x) {
                let want = exp::<true>(x);
                assert!((found - want).abs() <= 4e-7 * want, "e^{x} is {found}, not {want}");
            }
        }
        for i in -3000..10 {
            let x: Lanes = std::array::from_fn(|lane| (i * 16 + lane as i32) as f32 * 0.0031);
            let mut found = [0.0; LANES];
            V::load(&x).exp2().store(&mut found);
            for (found, x) in found.iter().zip(x) {
                let want = f64::from(x).exp2();
                let error = (f64::from(*found) - want).abs();
                assert!(error <= 4e-7 * want + 2e-38, "2^{x} is {found}, not {want}");
            }
        }
        let mut found = [1.0; LANES];
        V::splat(-2e30).exp2().store(&mut found);
        assert_eq!(found, [0.0; LANES]);
        for length in 0..=LANES {
            let values: Vec<f32> = (1..=length).map(|i| i as f32).collect();
            let (mut found, mut stored) = ([7.0; LANES], vec![0.0; length]);
            V::load_some(&values).store(&mut found);
            assert_eq!(found, std::array::from_fn(|i| if i < length { (i + 1) as f32 } else { 0.0 }));
            V::load(&found).store_some(&mut stored);
            assert_eq!(stored, values);
        }
        let places: Lanes = std::array::from_fn(|i| i as f32);
        let [low, high] = V::load(&places).interleave(V::load(&places.map(|i| -i)));
        for (half, first) in [(low, 0), (high, 2)] {
            half.store(&mut found);
            let place = |i: usize| (i / 4 * 4 + first + i % 4 / 2) as f32;
            assert_eq!(found, std::array::from_fn(|i| if i % 2 == 0 { place(i) } else { -place(i) }));
        }
        assert_eq!(V::load(&places.map(|i| 0.1 * i)).total(), Portable::<false>(places.map(|i| 0.1 * i)).total());
        V::splat_pair(&[1.0, 2.0]).store(&mut found);
        assert_eq!(found, std::array::from_fn(|i| (1 + i % 2) as f32));
        let mut rows: [V; LANES] = std::array::from_fn(|i| V::load(&std::array::from_fn(|j| (i * LANES + j) as f32)));
        V::transpose(&mut rows);
        for (i, row) in rows.into_iter().enumerate() {
            let mut found = [0.0; LANES];
            row.store(&mut found);
            assert_eq!(found, std::array::from_fn(|j| (j * LANES + i) as f32));
        }
    }

    #[test]
    fn every_implementation_does_the_same() {
        check::<Portable<false>>();
        check::<Portable<true>>();
        #[cfg(target_arch = "x86_64")]
        if crate::kernels::level() == crate::kernels::Level::V4 {
            #[target_feature(enable = "avx512f")]
            fn vectors() {
                check::<std::arch::x86_64::__m512>();
            }
            // SAFETY: `level` found the feature.
            unsafe { vectors() };
        }
    }
}
