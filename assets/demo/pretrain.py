"""Pretrains the demo's base model (GPT-2 architecture, about a million parameters) on the corpus of corpus.py.

usage: pretrain.py WORDNET_DIR OUT_DIR [STEPS]      needs torch, transformers, tokenizers
Writes config.json, tokenizer.json and model.safetensors (float16) in the Hugging Face layout, and prints the losses.
"""

import json
import os
import sys

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel

from corpus import documents

VOCABULARY, BLOCK, BATCH, RATE = 1536, 96, 32, 3e-3
# The tokenizer is trained on letters and digits beyond the corpus too, so that any text has short encodings.
EXTRA = ["Progress note. Admitted with, discharged. BP HR SpO2 mg ml kg mmHg year-old male female Plan: Pt c/o denies hx Dx Rx"] * 200


def train_tokenizer(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def main(wordnet, out, steps):
    torch.manual_seed(1)
    texts = list(documents(60_000, 1, wordnet))
    held_out = list(documents(200, 2, wordnet))
    tokenizer = train_tokenizer(texts + EXTRA)
    stream = lambda rows: torch.tensor([i for row in tokenizer.encode_batch(rows) for i in row.ids + [0]])
    tokens, check = stream(texts), stream(held_out)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=256, n_embd=128, n_layer=4, n_head=4, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )
    model = GPT2LMHeadModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.05)
    windows = check[: len(check) // BLOCK * BLOCK].view(-1, BLOCK)
    for step in range(1, steps + 1):
        at = torch.randint(len(tokens) - BLOCK, (BATCH,))
        batch = torch.stack([tokens[i : i + BLOCK] for i in at])
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            with torch.no_grad():
                print(f"step {step} train {loss.item():.3f} held-out {model(input_ids=windows, labels=windows).loss.item():.3f}", flush=True)
    os.makedirs(out, exist_ok=True)
    tensors = {name: value.detach().half().contiguous() for name, value in model.state_dict().items() if name != "lm_head.weight"}
    tensors = {name: value for name, value in tensors.items() if not name.endswith((".attn.bias", ".attn.masked_bias"))}
    save_file(tensors, f"{out}/model.safetensors", metadata={"format": "pt"})
    tokenizer.save(f"{out}/tokenizer.json")
    kept = {key: value for key, value in config.to_dict().items() if value is not None}
    kept.update(architectures=["GPT2LMHeadModel"], tie_word_embeddings=True)
    with open(f"{out}/config.json", "w", encoding="utf-8") as file:
        json.dump(kept, file, indent=1, sort_keys=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 2000)
