#!/usr/bin/env python3
"""Times private LoRA steps of Opacus and PEFT (torch, transformers, peft, opacus).

usage: opacus_step.py [--model DIR] [--bf16] [--repeats N] [--units B] [--tokens T | --lengths FILE]
Without --model: GPT-2 small with random weights. With --lengths, a line a record, the batch is its first B records, padded to the longest.
One step: forward, backward, per-sample gradients, clipping, noise, AdamW; rank 8 on attention and MLP, random tokens. Prints one
line: median and range of seconds, tokens/s, records/s, peak memory. The first step is not counted.
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
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

warnings.filterwarnings("ignore")


def gpt2():
    """GPT-2 small of random weights; dropout off, as in rldp."""
    return GPT2LMHeadModel(GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False))


def model(directory):
    """A base with LoRA of rank 8 on attention and MLP."""
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32) if directory else gpt2()
    base.loss_type = "ForCausalLM"
    conv1d = base.config.model_type == "gpt2"
    targets = ["c_attn", "c_proj", "c_fc"] if conv1d else ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    lora = LoraConfig(r=8, lora_alpha=16, target_modules=targets, fan_in_fan_out=conv1d, task_type="CAUSAL_LM")
    return get_peft_model(base, lora), base.config.vocab_size


def batch(arguments, vocabulary):
    """Random tokens, labels (-100 where padded) and the count of tokens that are no padding."""
    lengths = [arguments.tokens] * arguments.units
    if arguments.lengths:
        lengths = [int(line) for line in open(arguments.lengths)][: arguments.units]
    tokens = torch.randint(vocabulary, (len(lengths), max(lengths)))
    labels = tokens.clone()
    for row, length in enumerate(lengths):
        labels[row, length:] = -100
    return tokens, labels, sum(lengths)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    parser.add_argument("--lengths")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--units", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128)
    arguments = parser.parse_args()
    lora, vocabulary = model(arguments.model)
    private = GradSampleModule(lora, batch_first=True, loss_reduction="mean")
    private.train()
    optimizer = DPOptimizer(
        torch.optim.AdamW((p for p in private.parameters() if p.requires_grad), lr=1e-3),
        noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=arguments.units,
    )
    tokens, labels, count = batch(arguments, vocabulary)
    positions = torch.arange(tokens.shape[1]).expand(len(tokens), -1)
    seconds = []
    for turn in range(arguments.repeats + 1):
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.bf16):
            logits = private(input_ids=tokens, position_ids=positions).logits
            loss = torch.nn.functional.cross_entropy(
                logits[:, :-1].reshape(-1, logits.shape[-1]).float(), labels[:, 1:].reshape(-1)
            )
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if turn > 0:
            seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    kind = "bf16 autocast" if arguments.bf16 else "f32"
    print(
        f"Opacus {kind}: {median:.3f} s a step of {arguments.units} ({min(seconds):.3f} to {max(seconds):.3f}), "
        f"{count / median:.0f} tokens/s, {arguments.units / median:.2f} records/s; peak memory {peak:.0f} MB", flush=True,
    )


if __name__ == "__main__":
    main()
