"""Generates the goldens: tiny random models, PEFT adapters, and what PyTorch computes with them.

    python crates/rldp-model/testdata/goldens/generate.py [CASE…]

Needs torch, transformers and peft; the versions used last are in versions.txt. Every case is one directory:

    config.json, *.safetensors   the base model, as Hugging Face stores it
    adapter/                     a PEFT adapter whose B is not zero
    golden.safetensors           N sequences and what the model says of them, in f32 (the metadata holds FORMAT):
        tokens.{i} (T), scored_from (N), nll (N: sum over scored tokens), base_nll (N: without the adapter)
        logits.{i} (T, V)
        {PEFT tensor name} (N, ...): gradient of the sequence's mean NLL; zero where no token is scored
"""

import json
import pathlib
import shutil
import sys

import peft
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import GemmaConfig, GPT2Config, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

FORMAT = "1"
HERE = pathlib.Path(__file__).parent
# Length and first scored position; position 0 is never scored, so the first sequence has no scored token at all.
SEQUENCES = [(1, 0), (2, 0), (3, 2), (7, 0), (18, 11), (65, 1), (200, 30)]

COMMON = dict(vocab_size=64, bos_token_id=1, eos_token_id=2, pad_token_id=None, initializer_range=0.25)
LLAMA = dict(num_hidden_layers=2, max_position_embeddings=256, **COMMON)
CASES = {
    # Hub-style names without the leading `transformer.`, and the causal mask stored as a tensor.
    "gpt2-tied": dict(
        config=GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=200, **COMMON),
        storage=torch.float32, bare=True, rank=2, alpha=4, targets=["c_attn", "c_proj", "c_fc"],
    ),
    "gpt2-untied": dict(
        config=GPT2Config(
            n_embd=20, n_layer=2, n_head=4, n_inner=28, n_positions=200, activation_function="gelu",
            layer_norm_epsilon=1e-3, tie_word_embeddings=False, **COMMON,
        ),
        storage=torch.bfloat16, rank=3, alpha=2, targets=["attn.c_proj", "c_fc"],
    ),
    "llama-untied": dict(
        config=LlamaConfig(
            hidden_size=24, intermediate_size=40, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
            attention_bias=True, mlp_bias=True, tie_word_embeddings=False, rms_norm_eps=1e-5,
            rope_parameters=dict(
                rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=64,
            ),
            **LLAMA,
        ),
        storage=torch.float32, rank=4, alpha=8,
        targets=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    ),
    "llama-tied": dict(
        config=LlamaConfig(
            hidden_size=24, intermediate_size=32, num_attention_heads=6, num_key_value_heads=2,
            tie_word_embeddings=True, rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0), **LLAMA,
        ),
        storage=torch.float16, rank=2, alpha=3, targets=["q_proj", "v_proj", "down_proj"],
    ),
    # One query head per key head, and heads that are wider together than the hidden size.
    "llama-multihead": dict(
        config=LlamaConfig(
            hidden_size=16, intermediate_size=24, num_attention_heads=4, num_key_value_heads=4, head_dim=6,
            tie_word_embeddings=True, hidden_act="gelu_pytorch_tanh", **LLAMA,
        ),
        storage=torch.float32, rank=1, alpha=1, targets=["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "gate_proj"],
    ),
    "mistral": dict(
        config=MistralConfig(
            hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=1, sliding_window=9,
            tie_word_embeddings=False, rms_norm_eps=1e-5, **LLAMA,
        ),
        storage=torch.float32, shards="25KB", rank=2, alpha=16,
        targets=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    ),
    "qwen2": dict(
        config=Qwen2Config(
            hidden_size=24, intermediate_size=40, num_attention_heads=4, num_key_value_heads=2,
            tie_word_embeddings=True, **LLAMA,
        ),
        storage=torch.bfloat16, rank=2, alpha=4,
        targets=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    ),
    "qwen3": dict(
        config=Qwen3Config(
            hidden_size=24, intermediate_size=32, num_attention_heads=4, num_key_value_heads=2, head_dim=10,
            tie_word_embeddings=False, **LLAMA,
        ),
        storage=torch.float32, rank=3, alpha=6,
        targets=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    ),
    "gemma": dict(
        config=GemmaConfig(
            hidden_size=20, intermediate_size=28, num_attention_heads=2, num_key_value_heads=1, head_dim=12, **LLAMA,
        ),
        storage=torch.float32, rank=2, alpha=2,
        targets=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    ),
    # Positions for long contexts; sequences beyond the original context turn otherwise than those within it.
    "rope-yarn": dict(
        config=Qwen2Config(
            hidden_size=16, intermediate_size=24, num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
            rope_parameters=dict(
                rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=64, beta_fast=16.0,
            ),
            **{**LLAMA, "initializer_range": 0.1},
        ),
        storage=torch.float32, rank=2, alpha=4, targets=["q_proj", "v_proj"],
    ),
    "rope-dynamic": dict(
        config=LlamaConfig(
            hidden_size=16, intermediate_size=24, num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=True,
            rope_parameters=dict(rope_type="dynamic", rope_theta=10000.0, factor=8.0),
            **{**LLAMA, "max_position_embeddings": 32, "initializer_range": 0.1},
        ),
        storage=torch.float32, rank=2, alpha=4, targets=["q_proj", "v_proj"],
    ),
    "rope-long": dict(
        config=LlamaConfig(
            hidden_size=16, intermediate_size=24, num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=True,
            rope_parameters=dict(
                rope_type="longrope", rope_theta=10000.0, original_max_position_embeddings=32,
                short_factor=[1.0, 1.1, 1.3, 1.8], long_factor=[1.2, 2.0, 4.5, 8.0],
            ),
            **{**LLAMA, "initializer_range": 0.1},
        ),
        storage=torch.float32, rank=2, alpha=4, targets=["q_proj", "v_proj"],
    ),
}


def randomize(model, generator):
    """Moves norms and biases, which start at one and zero, so that mistakes in them show."""
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            # Gemma stores the norms' weights less one.
            one = 0.0 if model.config.model_type == "gemma" else 1.0
            centre = one if ("norm" in name or "ln_" in name) and name.endswith("weight") else 0.0
            parameter.data = centre + 0.2 * torch.randn(parameter.shape, generator=generator)


def store(model, directory, case):
    """Writes config.json and the weights in the case's precision."""
    model.to(case["storage"]).save_pretrained(directory, max_shard_size=case.get("shards", "5GB"))
    (directory / "generation_config.json").unlink(missing_ok=True)
    if case.get("bare"):
        path = directory / "model.safetensors"
        tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(path).items()}
        tensors["h.0.attn.bias"] = torch.tril(torch.ones(8, 8, dtype=torch.uint8))[None, None]
        save_file(tensors, path, metadata={"format": "pt"})


def nll(model, tokens, scored_from):
    """Sum of the negative log-likelihoods of the scored tokens, and all logits."""
    logits = model(tokens[None], use_cache=False).logits[0]
    first = max(scored_from, 1)
    scores = torch.nn.functional.cross_entropy(logits[:-1], tokens[1:], reduction="none")
    return scores[first - 1 :].sum(), logits


def golden(base, adapted, sequences):
    """Everything that an engine has to reproduce."""
    out = {"scored_from": torch.tensor([s for _, s in sequences])}
    out["nll"], out["base_nll"] = torch.zeros(len(sequences)), torch.zeros(len(sequences))
    factors = {n.replace(".default", ""): p for n, p in adapted.named_parameters() if "lora_" in n}
    for name, factor in factors.items():
        factor.requires_grad_(True)
        out[name] = torch.zeros(len(sequences), *factor.shape)
    for i, (tokens, scored_from) in enumerate(sequences):
        total, logits = nll(adapted, tokens, scored_from)
        out[f"tokens.{i}"], out[f"logits.{i}"] = tokens, logits.detach().contiguous()
        scored = len(tokens) - max(scored_from, 1)
        if scored > 0:
            out["nll"][i] = total.detach()
            for name, gradient in zip(factors, torch.autograd.grad(total / scored, list(factors.values()))):
                out[name][i] = gradient
        with torch.no_grad():
            out["base_nll"][i] = nll(base, tokens, scored_from)[0] if scored > 0 else 0.0
    return out


def make(name, case, seed):
    """One case, written from nothing."""
    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(case["config"])
    randomize(model, generator)
    store(model, directory, case)

    load = lambda: transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    lora = LoraConfig(
        r=case["rank"], lora_alpha=case["alpha"], target_modules=case["targets"], task_type="CAUSAL_LM",
        fan_in_fan_out=name.startswith("gpt2"),
    )
    adapted = get_peft_model(load(), lora)
    for parameter_name, parameter in adapted.named_parameters():
        if "lora_B" in parameter_name:
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    adapted.peft_config["default"].base_model_name_or_path = name
    adapted.save_pretrained(directory / "adapter")
    (directory / "adapter" / "README.md").unlink(missing_ok=True)
    path = directory / "adapter" / "adapter_config.json"
    settings = json.loads(path.read_text())
    settings["target_modules"].sort()  # PEFT keeps a set, whose order changes from run to run
    path.write_text(json.dumps(settings, indent=1) + "\n")

    adapted = PeftModel.from_pretrained(load(), directory / "adapter").eval()
    vocab = case["config"].vocab_size
    sequences = [(torch.randint(vocab, (length,), generator=generator), start) for length, start in SEQUENCES]
    save_file(golden(load(), adapted, sequences), directory / "golden.safetensors", metadata={"format": FORMAT})


def main():
    """All cases, or those that are named."""
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    for seed, (name, case) in enumerate(CASES.items()):
        if name in (sys.argv[1:] or CASES):
            make(name, case, seed)
    versions = {module.__name__: module.__version__ for module in (torch, transformers, peft)}
    (HERE / "versions.txt").write_text(json.dumps(versions, indent=1) + "\n")


if __name__ == "__main__":
    main()
