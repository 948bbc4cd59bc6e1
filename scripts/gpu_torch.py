"""Tokens per second of LoRA in PyTorch on one card: without privacy, and with Opacus where it is installed.

usage: gpu_torch.py SHAPE UNITS TOKENS [RANK]      SHAPE: toy, gpt2-small, llama-1b
Random weights in bf16, adapters in f32 on every linear map of the blocks, a step is forward and backward; medians of five.
"""

import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

SHAPES = {  # vocabulary, width, MLP, layers, heads, key heads, gated
    "toy": (600, 64, 96, 2, 4, 2, True),
    "gpt2-small": (50257, 768, 3072, 12, 12, 12, False),
    "llama-1b": (128256, 2048, 8192, 16, 32, 8, True),
}


class Lora(nn.Module):
    def __init__(self, fan_in, fan_out, rank):
        super().__init__()
        self.base = nn.Linear(fan_in, fan_out, bias=False, dtype=torch.bfloat16).requires_grad_(False)
        self.a = nn.Linear(fan_in, rank, bias=False)
        self.b = nn.Linear(rank, fan_out, bias=False)
        nn.init.normal_(self.b.weight, std=0.01)

    def forward(self, x):
        return self.base(x) + 2 * self.b(self.a(x.float())).to(x.dtype)


class Block(nn.Module):
    def __init__(self, width, mlp, heads, shared, gated, rank):
        super().__init__()
        self.heads, self.shared, self.dim = heads, shared, width // heads
        self.first, self.second = (nn.LayerNorm(width, dtype=torch.bfloat16).requires_grad_(False) for _ in range(2))
        self.query, self.out = Lora(width, width, rank), Lora(width, width, rank)
        self.key, self.value = (Lora(width, shared * self.dim, rank) for _ in range(2))
        self.gate = Lora(width, mlp, rank) if gated else None
        self.up, self.down = Lora(width, mlp, rank), Lora(mlp, width, rank)

    def forward(self, x):
        b, t, width = x.shape
        h = self.first(x)
        split = lambda y, heads: y.view(b, t, heads, self.dim).transpose(1, 2)
        q, k, v = split(self.query(h), self.heads), split(self.key(h), self.shared), split(self.value(h), self.shared)
        k, v = (y.repeat_interleave(self.heads // self.shared, 1) for y in (k, v))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, width))
        h = self.second(x)
        h = F.silu(self.gate(h)) * self.up(h) if self.gate else F.gelu(self.up(h), approximate="tanh")
        return x + self.down(h)


class Model(nn.Module):
    def __init__(self, shape, rank):
        super().__init__()
        vocab, width, mlp, layers, heads, shared, gated = SHAPES[shape]
        self.table = nn.Embedding(vocab, width, dtype=torch.bfloat16).requires_grad_(False)
        self.blocks = nn.ModuleList(Block(width, mlp, heads, shared, gated, rank) for _ in range(layers))
        self.norm = nn.LayerNorm(width, dtype=torch.bfloat16).requires_grad_(False)

    def forward(self, tokens):
        x = self.table(tokens)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.table.weight)


def measure(name, model, tokens, device):
    def step():
        logits = model(tokens)[:, :-1].float()
        F.cross_entropy(logits.reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1)).backward()
        for parameter in model.parameters():
            parameter.grad = None
            if hasattr(parameter, "grad_sample"):
                parameter.grad_sample = None
        if device == "cuda":
            torch.cuda.synchronize()

    step()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
    print(f"torch {name}: {tokens.numel() / statistics.median(times):.0f} tokens/s; {memory:.2f} GiB", flush=True)


def main():
    shape, units, length, *rest = sys.argv[1:]
    rank, device = int(rest[0]) if rest else 8, "cuda" if torch.cuda.is_available() else "cpu"
    label = f"{shape}, {units} x {length}, rank {rank}"
    torch.manual_seed(0)
    tokens = torch.randint(SHAPES[shape][0], (int(units), int(length)), device=device)
    measure(f"LoRA without privacy, {label}", Model(shape, rank).to(device), tokens, device)
    try:
        from opacus import GradSampleModule
    except ImportError:
        print("torch Opacus: not run, it is not installed")
        return
    try:
        measure(f"Opacus, {label}", GradSampleModule(Model(shape, rank).to(device)), tokens, device)
    except torch.cuda.OutOfMemoryError:
        print(f"torch Opacus, {label}: out of memory")


main()
