#!/usr/bin/env python3
"""Times private LoRA steps of Opacus and PEFT on GPT-2 small with random weights (torch, transformers, peft, opacus).

usage: opacus_step.py [--bf16] [--repeats N] [--units B] [--tokens T]
One step: forward, backward, per-sample gradients, clipping, noise, AdamW; rank 8 on attention and MLP, random tokens. Prints one
line: median and range of seconds, tokens/s, peak memory. The first step is not counted.
"""

import argparse
import resource
import statistics
import time
import warnings

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

warnings.filterwarnings("ignore")


def model():
    """GPT-2 small; dropout off, as in rldp."""
    torch.manual_seed(1)
    base = GPT2LMHeadModel(GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False))
    base.loss_type = "ForCausalLM"
    lora = LoraConfig(r=8, lora_alpha=16, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    return get_peft_model(base, lora)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--units", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128)
    arguments = parser.parse_args()
    private = GradSampleModule(model(), batch_first=True, loss_reduction="mean")
    private.train()
    optimizer = DPOptimizer(
        torch.optim.AdamW((p for p in private.parameters() if p.requires_grad), lr=1e-3),
        noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=arguments.units,
    )
    tokens = torch.randint(50257, (arguments.units, arguments.tokens))
    positions = torch.arange(arguments.tokens).expand(arguments.units, -1)
    seconds = []
    for turn in range(arguments.repeats + 1):
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.bf16):
            logits = private(input_ids=tokens, position_ids=positions).logits
            loss = torch.nn.functional.cross_entropy(
                logits[:, :-1].reshape(-1, logits.shape[-1]).float(), tokens[:, 1:].reshape(-1)
            )
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if turn > 0:
            seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    kind = "bf16 autocast" if arguments.bf16 else "f32"
    count = arguments.units * arguments.tokens
    print(
        f"Opacus {kind}: {count} tokens in {median:.3f} s ({min(seconds):.3f} to {max(seconds):.3f}), "
        f"{count / median:.0f} tokens/s; peak memory {peak:.0f} MB", flush=True,
    )


if __name__ == "__main__":
    main()
