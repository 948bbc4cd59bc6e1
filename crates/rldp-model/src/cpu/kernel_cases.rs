//! Every kernel on the shapes of real models, for benchmarks.

use std::time::Instant;

use crate::{
    config::Activation,
    kernels::{
        activation,
        attention::{self, Group},
        lora::{self, Outer, Packed},
        norm::{self, RowStatistics},
        softmax,
    },
};

/// One kernel on one shape.
pub struct KernelCase {
    /// What it does, and on which shape.
    pub name: String,
    /// Multiplications and additions of one call, those of elementary functions not counted.
    pub flops: usize,
    run: Box<dyn FnMut()>,
}

impl KernelCase {
    fn new(name: String, flops: usize, run: impl FnMut() + 'static) -> Self {
        Self { name, flops, run: Box::new(run) }
    }

    /// Seconds of the fastest of `repeats` calls, after one that warms up.
    pub fn seconds(&mut self, repeats: usize) -> f64 {
        (self.run)();
        let time = |_| {
            let start = Instant::now();
            (self.run)();
            start.elapsed().as_secs_f64()
        };
        (0..repeats.max(1)).map(time).fold(f64::INFINITY, f64::min)
    }
}

/// All kernels but the products with frozen matrices, for which see [`super::product_speed`].
pub fn kernel_cases() -> Vec<KernelCase> {
    let mut cases = Vec::new();
    for (tokens, heads, kv_heads, dim) in [(70, 8, 4, 8), (58, 9, 3, 64), (128, 12, 12, 64)] {
        cases.extend(attention_cases(tokens, heads, kv_heads, dim));
    }
    for (rows, width) in [(160, 64), (160, 172), (63, 576), (63, 1536), (1024, 768), (1024, 3072)] {
        cases.extend(lora_cases(rows, width, 8));
    }
    cases.extend(lora_cases(1024, 768, 16));
    for (rows, width) in [(160, 64), (1024, 768)] {
        cases.extend(norm_cases(rows, width));
    }
    for (rows, width) in [(160, 172), (1024, 3072)] {
        cases.extend(activation_cases(rows, width));
    }
    cases.extend(softmax_cases(160, 512));
    cases
}

fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 % 1009) as f32 - 504.0) / 504.0).collect()
}

fn attention_cases(tokens: usize, heads: usize, kv_heads: usize, dim: usize) -> [KernelCase; 2] {
    let (stride, width, shared) = ((heads + 2 * kv_heads) * dim, heads * dim, heads / kv_heads);
    let groups: Vec<Group> = (0..kv_heads)
        .map(|kv| Group {
            stride,
            heads: shared,
            query: kv * shared * dim,
            key: (heads + kv) * dim,
            value: (heads + kv_heads + kv) * dim,
            dim,
            window: usize::MAX,
        })
        .collect();
    let rows = values(tokens * stride);
    let (mut out, mut lse) = (values(tokens * width), vec![0.0; heads * tokens]);
    let forward = {
        let (groups, rows, mut out, mut lse) = (groups.clone(), rows.clone(), out.clone(), lse.clone());
        move || {
            for group in &groups {
                let lse = &mut lse[group.query / dim * tokens..];
                attention::forward(*group, &rows, tokens, &mut out[group.query..], width, lse, tokens);
            }
        }
    };
    for group in &groups {
        let lse = &mut lse[group.query / dim * tokens..];
        attention::forward(*group, &rows, tokens, &mut out[group.query..], width, lse, tokens);
    }
    let (dout, mut drows) = (values(tokens * width), vec![0.0; rows.len()]);
    let backward = move || {
        for group in &groups {
            let (at, lse) = (group.query, &lse[group.query / dim * tokens..]);
            attention::backward(*group, &rows, &out[at..], &dout[at..], width, lse, tokens, &mut drows);
        }
    };
    // Products of a query with the keys it attends to.
    let product = heads * tokens * (tokens + 1) / 2 * 2 * dim;
    let shape = format!("{tokens} tokens, {heads} heads of {dim}, {kv_heads} of keys");
    [
        KernelCase::new(format!("attention, {shape}"), 2 * product, forward),
        KernelCase::new(format!("attention backward, {shape}"), 5 * product, backward),
    ]
}

fn lora_cases(rows: usize, width: usize, rank: usize) -> [KernelCase; 4] {
    let (x, left, weights) = (values(rows * width), values(rows * rank), values(rank * width));
    let packed = Packed::new(width, rank, |i, r| weights[r * width + i]);
    let (wide, mut thin) = (x.clone(), vec![0.0; rows * rank]);
    let narrow = move || lora::narrow(&wide, width, &packed, &mut thin);
    let (thin, mut out) = (left.clone(), x.clone());
    let widen = move || lora::widen(rank, width, &thin, &weights, &mut out, width);
    let mut sum = vec![0.0; rank * width];
    let mut turned = sum.clone();
    let (thin, wide) = (left.clone(), x.clone());
    let outer =
        move || lora::outer_sum(Outer { left: &thin, rank, right: &wide, width, stride: width }, false, &mut sum);
    let transposed = move || {
        let outer = Outer { left: &left, rank, right: &x, width, stride: width };
        lora::outer_sum_transposed(outer, 1.0, false, &mut turned);
    };
    let (flops, shape) = (2 * rows * width * rank, format!("{rows} x {width}, rank {rank}"));
    [
        KernelCase::new(format!("LoRA, x A^T, {shape}"), flops, narrow),
        KernelCase::new(format!("LoRA, + y B^T, {shape}"), flops, widen),
        KernelCase::new(format!("LoRA, gradient of A, {shape}"), flops, outer),
        KernelCase::new(format!("LoRA, gradient of B, {shape}"), flops, transposed),
    ]
}

fn norm_cases(rows: usize, width: usize) -> [KernelCase; 2] {
    let (x, weight, dout) = (values(rows * width), values(width), values(rows * width));
    let (mut out, mut statistics) = (x.clone(), vec![RowStatistics::default(); rows]);
    let (mut dx, fixed) = (x.clone(), vec![RowStatistics { mean: 0.0, inverse: 1.0 }; rows]);
    let (wide, scale) = (x.clone(), weight.clone());
    let forward = move || norm::forward(&wide, &scale, None, 1e-5, &mut out, &mut statistics);
    let backward = move || {
        dx.fill(0.0);
        norm::backward(&x, &weight, false, &fixed, &dout, &mut dx);
    };
    [
        KernelCase::new(format!("RMSNorm, {rows} x {width}"), 4 * rows * width, forward),
        KernelCase::new(format!("RMSNorm backward, {rows} x {width}"), 8 * rows * width, backward),
    ]
}

fn activation_cases(rows: usize, width: usize) -> [KernelCase; 2] {
    let (x, up, dout) = (values(rows * width), values(rows * width), values(rows * width));
    let mut out = x.clone();
    let (mut dx, mut dup, mut again) = (x.clone(), x.clone(), x.clone());
    let (gate, wide) = (x.clone(), up.clone());
    let forward = move || activation::forward(Activation::Silu, &gate, Some(&wide), &mut out);
    let backward =
        move || activation::backward(Activation::Silu, &x, Some(&up), &dout, &mut dx, Some(&mut dup), Some(&mut again));
    [
        KernelCase::new(format!("gated SiLU, {rows} x {width}"), 3 * rows * width, forward),
        KernelCase::new(format!("gated SiLU backward, {rows} x {width}"), 8 * rows * width, backward),
    ]
}

fn softmax_cases(rows: usize, width: usize) -> [KernelCase; 1] {
    let (logits, mut out) = (values(rows * width), vec![0.0; rows * width]);
    let run = move || {
        out.copy_from_slice(&logits);
        for row in out.chunks_exact_mut(width) {
            let (_, sum) = softmax::exponentials(row, f32::MIN);
            softmax::scale(row, 1.0 / sum);
        }
    };
    [KernelCase::new(format!("softmax, {rows} x {width}"), 4 * rows * width, run)]
}
