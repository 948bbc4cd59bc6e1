#!/usr/bin/env python3
"""What products of 8-bit integers would do to losses and per-record gradients (torch, transformers, tokenizers).

usage: eight_bit.py MODEL_DIR TRAINSET.csv [RECORDS]
A Llama with LoRA of rank 8 on all attention and MLP maps, records `mr | ref` of E2E one at a time. The frozen maps' operands are rounded
in f32 as each scheme says; the head stays in f32. Prints, against f32: the mean loss, the largest change of a record's loss, and the
mean and smallest cosine of a record's gradient; then the head's share of probabilities that matter.
"""

import math
import sys

import torch
from lengths import records
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM


def integers(x, group):
    """x rounded to 8-bit integers, a scale for each row, or for every `group` values of one."""
    width = x.shape[-1]
    padded = torch.nn.functional.pad(x, (0, -width % group if group else 0))
    parts = padded.reshape(*x.shape[:-1], -1, group or width)
    scale = parts.abs().amax(-1, keepdim=True) / 127
    scale = torch.where(scale == 0, 1.0, scale)
    return ((parts / scale).round() * scale).reshape(padded.shape)[..., :width]


def rotated(x, size=64):
    """Blocks of a row times a Hadamard matrix: outliers are spread over their block."""
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return ((x.reshape(*x.shape[:-1], -1, size) @ matrix) / math.sqrt(size)).reshape(x.shape)


def keep(x):
    return x


def bf16(x):
    return x.bfloat16().float()


def rows(x):
    return integers(x, 0)


def groups(x):
    return integers(x, 64)


# Rounding of x and W in y = x W, of dy and W in dx = dy W, and what both operands of the first are multiplied with before.
SCHEMES = {
    "bf16": (bf16, bf16, bf16, bf16, keep),
    "8 bits, a scale a row": (rows, rows, rows, rows, keep),
    "8 bits, a scale for 64 values": (groups, groups, groups, groups, keep),
    "8 bits, rotated, a scale a row": (rows, rows, groups, groups, rotated),
    "8 bits, rotated, a scale for 64 values": (groups, groups, groups, groups, rotated),
    "bf16 forward, 8 bits backward": (bf16, bf16, groups, groups, keep),
}


class Frozen(torch.autograd.Function):
    """x Wᵀ with rounded operands, and rounded operands backward."""

    scheme = (keep, keep, keep, keep, keep)

    @staticmethod
    def forward(ctx, x, weight):
        ctx.weight = weight
        of_x, of_weight, _, _, turn = Frozen.scheme
        return of_x(turn(x)) @ of_weight(turn(weight)).T

    @staticmethod
    def backward(ctx, dy):
        _, _, of_dy, of_weight, _ = Frozen.scheme
        return of_dy(dy) @ of_weight(ctx.weight.T.contiguous()).T, None


class Lora(torch.nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.weight = linear.weight.detach()
        fan_out, fan_in = self.weight.shape
        self.a = torch.nn.Parameter(torch.randn(8, fan_in) / math.sqrt(fan_in))
        self.b = torch.nn.Parameter(torch.randn(fan_out, 8) * 1e-3)

    def forward(self, x):
        return Frozen.apply(x, self.weight) + 2 * (x @ self.a.T) @ self.b.T


def with_lora(model):
    model.requires_grad_(False)
    for layer in model.model.layers:
        for module in (layer.self_attn, layer.mlp):
            for name, child in list(module.named_children()):
                if isinstance(child, torch.nn.Linear):
                    setattr(module, name, Lora(child))
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def steps(model, parameters, texts):
    """Mean loss and gradient of every text."""
    losses, gradients = [], []
    for tokens in texts:
        model.zero_grad(set_to_none=True)
        logits = model(tokens[None]).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(logits, tokens[1:])
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in parameters]).double())
    return losses, gradients


def report_head(model, texts):
    """Probabilities that matter to the head's backward pass: of elements, and of 32 × 32 tiles that hold any."""
    with torch.no_grad():
        found = [(torch.softmax(model(tokens[None]).logits[0, :-1], -1), tokens[1:]) for tokens in texts]
    for probabilities, targets in found:
        probabilities[torch.arange(len(targets)), targets] = 0
    p = torch.cat([probabilities for probabilities, _ in found])
    p = p[: len(p) // 32 * 32]
    for power in (12, 16, 20):
        small = p < 2.0**-power
        tiles = (~small).reshape(len(p) // 32, 32, -1, 32).any(3).any(1).float().mean()
        lost = (p * small).sum(1).mean()
        print(f"head, p >= 2^-{power}: {1 - small.float().mean():.3f} of elements, {tiles:.3f} of tiles; lost {lost:.1e}")


def main():
    directory, table = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 12
    torch.manual_seed(1)
    tokenizer = Tokenizer.from_file(f"{directory}/tokenizer.json")
    found = records(table, "{mr} | {ref}", count)
    texts = [torch.tensor([0, *tokenizer.encode(record).ids]) for record in found]
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    parameters = with_lora(model)
    exact, gradients = steps(model, parameters, texts)
    print(f"f32: loss {sum(exact) / count:.4f}")
    for name, scheme in SCHEMES.items():
        Frozen.scheme = scheme
        losses, found = steps(model, parameters, texts)
        cosines = [torch.nn.functional.cosine_similarity(a, b, 0).item() for a, b in zip(gradients, found, strict=True)]
        change = max(abs(a - b) for a, b in zip(exact, losses, strict=True))
        print(
            f"{name}: loss {sum(losses) / count:.4f}, changed by at most {change:.4f}, "
            f"cosine {sum(cosines) / count:.4f} (least {min(cosines):.4f})",
            flush=True,
        )
    Frozen.scheme = (keep, keep, keep, keep, keep)
    report_head(model, texts)


if __name__ == "__main__":
    main()
