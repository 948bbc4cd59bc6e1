//! The kernels of clip and sum as functions that check their arguments' sizes.

use crate::{
    device::{Argument, Span},
    ops::{Done, Ops, THREADS, int, long},
    workspace::Clipping,
};

use Argument::{At, Double, Int};

impl Ops<'_> {
    /// Squared norms of the units' pairs. `slots` are below the slots of `gradients`.
    pub(crate) fn squares(
        self,
        (gradients, parameters): (Span, usize),
        (slots, units): (Span, usize),
        [begins, packed]: [Span; 2],
        (found, pairs): (Span, usize),
    ) -> Done {
        let (found, slots) = (found.holding(units * pairs, 8), slots.holding(units, 4));
        let (begins, packed) = (begins.holding(pairs, 8), packed.holding(pairs + 1, 8));
        let places = [At(gradients), At(slots), At(begins), At(packed), At(found)];
        let arguments = [&places[..], &[long(parameters), int(pairs)]].concat();
        self.0.launch("squares", [pairs, units, 1], THREADS, &arguments)
    }

    /// Factors of units by a rule's numbers, from their squares.
    pub(crate) fn unit_factors(
        self,
        clipping: &Clipping,
        losses: Span,
        (units, pairs): (usize, usize),
        [joint, normalizes]: [bool; 2],
        [stability, more, less]: [f64; 3],
    ) -> Done {
        let Clipping { squares, slots, bounds, bounds_squared, grid, factors, scales, norms, .. } = *clipping;
        let of_pairs = [bounds, bounds_squared, grid].map(|span| At(span.holding(pairs, 8)));
        let found = [factors, scales, squares].map(|span| At(span.holding(units * pairs, 8)));
        let numbers = [stability, more, less].map(Double);
        let arguments = [
            &[found[2], At(losses), At(slots.holding(units, 4)), int(units), int(pairs)][..],
            &of_pairs,
            &[joint, normalizes].map(|flag| Int(i32::from(flag))),
            &numbers,
            &[found[0], found[1], At(norms.holding(units, 8))],
        ];
        self.each("unit_factors", units, &arguments.concat())
    }

    /// The units' truncated contributions to `trained` sums.
    pub(crate) fn clip_sum(
        self,
        (gradients, parameters): (Span, usize),
        clipping: &Clipping,
        (units, pairs): (usize, usize),
        trained: usize,
    ) -> Done {
        let Clipping { slots, scales, begins, packed, sum, .. } = *clipping;
        let places = [At(gradients), At(slots), At(scales), At(begins), At(packed), At(sum.holding(trained, 8))];
        let sizes = [long(parameters), int(pairs), int(units)];
        self.each("clip_sum", trained, &[&places[..], &sizes].concat())
    }

    /// The units' statistics. `numbers` are the loss's bounds, their middle and half width, its weight, the room and the grid.
    pub(crate) fn statistic_sum(
        self,
        clipping: &Clipping,
        losses: Span,
        (units, pairs, bins): (usize, usize, usize),
        numbers: [f64; 7],
    ) -> Done {
        let length = 2 + pairs + bins;
        let sum = clipping.statistic.holding(length, 8);
        let arguments = [
            &[At(losses), At(clipping.factors), At(clipping.norms), At(clipping.slots), int(units), int(pairs)][..],
            &numbers.map(Double),
            &[At(clipping.parts), At(clipping.bins), int(bins), At(sum)],
        ];
        self.each("statistic_sum", length, &arguments.concat())
    }
}
