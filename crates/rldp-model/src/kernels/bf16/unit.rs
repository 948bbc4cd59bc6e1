//! A block of the result, by whichever kernel.
//!
//! All of it is reached through `product`, which has established that the processor has AVX512-BF16 (the tile unit is used
//! on processors that have both).

use std::marker::PhantomData;

use super::{
    BLOCK, Kernel, SIDE, Tile, amx,
    vectors::{ROWS, add_vectors},
};

/// The fastest kernel of this processor; asks the operating system for the tile registers on the way.
pub(super) fn fastest_on_this_processor() -> Option<Kernel> {
    let vectors = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16");
    match vectors {
        true if amx::exists() && amx::permitted() => Some(Kernel::Amx),
        true => Some(Kernel::Avx512),
        false => None,
    }
}

/// The running thread's use of a kernel; holds the thread's tile configuration.
pub(super) struct Unit {
    kernel: Kernel,
    accumulate: bool,
    /// The configuration belongs to the thread.
    thread: PhantomData<*const ()>,
}

impl Unit {
    /// Configures all eight tiles as 16 rows of 64 bytes. `product` has checked that the processor has the kernel.
    pub(super) fn new(kernel: Kernel) -> Self {
        if kernel == Kernel::Amx {
            // SAFETY: the processor has tiles and the process may use them.
            unsafe { amx::configure() };
        }
        Self { kernel, accumulate: true, thread: PhantomData }
    }

    /// Whether blocks are added to what is there, or replace it.
    pub(super) fn set_accumulate(&mut self, accumulate: bool) {
        self.accumulate = accumulate;
    }

    /// out (rows, columns), at most (32, 32), = or += a · b, with two panels of each operand, one above or beside the other, of
    /// which the first `pairs` pairs of depth count; rows of out are `stride` floats apart.
    pub(super) fn block(
        &self,
        a: [&[Tile]; 2],
        b: [&[Tile]; 2],
        pairs: usize,
        shape: (usize, usize),
        (out, stride): (&mut [f32], usize),
    ) {
        let (depth, (rows, columns)) = (a[0].len(), shape);
        assert!(a[1].len() == depth && b.iter().all(|b| b.len() == depth), "panels of different depth");
        assert!((1..=depth * SIDE).contains(&pairs), "{pairs} pairs in {depth} tiles");
        assert!((1..=BLOCK).contains(&rows) && (1..=BLOCK.min(stride)).contains(&columns), "no block: {shape:?}");
        assert!(out.len() >= (rows - 1) * stride + columns, "the block does not fit the output");
        match self.kernel {
            Kernel::Amx if shape == (BLOCK, BLOCK) => self.tiles(a, b, out, stride),
            Kernel::Amx => self.edge(a, b, shape, (out, stride)),
            Kernel::Avx512 => {
                for row in (0..rows).step_by(ROWS) {
                    let (a, shape) = ((a[row / SIDE], row % SIDE), (ROWS.min(rows - row), columns));
                    let out = (&mut out[row * stride..], stride);
                    // SAFETY: `product` has checked the processor's features, and the assertions bound every address.
                    unsafe {
                        if columns > SIDE {
                            add_vectors(a, b, pairs, shape, out, self.accumulate);
                        } else {
                            add_vectors(a, [b[0]], pairs, shape, out, self.accumulate);
                        }
                    }
                }
            }
        }
    }

    /// A whole block on the tile unit.
    fn tiles(&self, a: [&[Tile]; 2], b: [&[Tile]; 2], out: &mut [f32], stride: usize) {
        // SAFETY: the tiles are configured for this thread, and `block` has bounded every address.
        unsafe {
            if self.accumulate {
                amx::load_tiles(out.as_ptr(), stride);
            } else {
                amx::zero_tiles();
            }
            amx::add_tiles(a, b, a[0].len(), out.as_mut_ptr(), stride);
        }
    }

    /// A block of which only some rows and columns are wanted: the tile unit makes a whole one.
    fn edge(
        &self,
        a: [&[Tile]; 2],
        b: [&[Tile]; 2],
        (rows, columns): (usize, usize),
        (out, stride): (&mut [f32], usize),
    ) {
        let mut block = [0.0; BLOCK * BLOCK];
        let added_to = if self.accumulate { rows } else { 0 };
        for (block, out) in block.chunks_exact_mut(BLOCK).zip(out.chunks(stride)).take(added_to) {
            block[..columns].copy_from_slice(&out[..columns]);
        }
        self.tiles(a, b, &mut block, BLOCK);
        for (block, out) in block.chunks_exact(BLOCK).zip(out.chunks_mut(stride)).take(rows) {
            out[..columns].copy_from_slice(&block[..columns]);
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if self.kernel == Kernel::Amx {
            // SAFETY: the processor has tiles; nothing is kept in them.
            unsafe { amx::release() };
        }
    }
}
