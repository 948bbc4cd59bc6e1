#!/usr/bin/env python3
"""Compares `rldp inspect logits` with transformers and peft on the same model and adapter (torch, transformers, peft).

usage: compare_peft.py MODEL ADAPTER LOGITS      LOGITS is the safetensors file with logits.{row} (T, V) and tokens.{row} (T)
Prints the largest absolute difference over all rows in f32; exits 1 when it is 1e-3 or more.
"""

import sys

import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file


def main(model, adapter, logits):
    base = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="eager")
    adapted = PeftModel.from_pretrained(base, adapter).eval()
    ours = load_file(logits)
    rows = sorted(int(name.split(".")[1]) for name in ours if name.startswith("tokens."))
    worst, scale = 0.0, 0.0
    with torch.no_grad():
        for row in rows:
            theirs = adapted(ours[f"tokens.{row}"].long()[None], use_cache=False).logits[0]
            worst = max(worst, (theirs - ours[f"logits.{row}"]).abs().max().item())
            scale = max(scale, theirs.abs().max().item())
    print(f"{len(rows)} rows, largest difference {worst:.2e}, largest logit {scale:.1f}")
    return 0 if worst < 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
