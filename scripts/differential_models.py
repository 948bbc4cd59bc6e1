"""Random repositories of tiny models against transformers: token ids and logits of random texts.

    python scripts/differential_models.py RLDP [REPOSITORIES] [SEED]

Needs torch and transformers. Every repository draws a family, sizes, rotary positions, a tokenizer and the files beside it, and
50 texts; `rldp inspect logits` and transformers must agree on every id, and on logits to 1e-3 of their largest. Prints what
differs and the number of cases; exit 1 when something does.
"""

import importlib.util
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = pathlib.Path(__file__).parent.parent
TEXTS = 50
# Alphabets of the texts: words, digits, blanks, marks, scripts, tokens that some repositories know.
PARTS = "the ward lower newest 12 2024 it's we're naïve 漢字 🙂 e\u0301 <b> א ñ Ω ... --- \" ' _ \\".split(" ")
BLANKS = [" ", " ", " ", "  ", "\n", "\t", "\u00a0", ""]
TOKENS = ["<|endoftext|>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>", "<image>"]


def shapes():
    """The generator of the tokenizers' goldens, whose parts are drawn from here."""
    path = ROOT / "crates/rldp-data/testdata/tokenizers/generate.py"
    spec = importlib.util.spec_from_file_location("shapes", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text(rng):
    """One text."""
    parts = PARTS if rng.random() < 0.6 else PARTS + TOKENS
    words = [rng.choice(parts) + rng.choice(BLANKS) for _ in range(rng.randint(1, 14))]
    return rng.choice(["", "", " "]) + "".join(words)


def rope(rng):
    """Rotary positions, of 64 tokens before pretraining's end where that matters."""
    half = 4
    return rng.choice([
        dict(rope_type="default", rope_theta=rng.choice([1e4, 5e5])),
        dict(rope_type="linear", rope_theta=1e4, factor=rng.choice([1.5, 4.0])),
        dict(rope_type="dynamic", rope_theta=1e4, factor=rng.choice([2.0, 8.0])),
        dict(rope_type="llama3", rope_theta=5e5, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
             original_max_position_embeddings=32),
        dict(rope_type="yarn", rope_theta=1e4, factor=rng.choice([2.0, 4.0]), original_max_position_embeddings=32,
             **rng.choice([{}, {"attention_factor": 0.8}, {"beta_fast": 16.0, "beta_slow": 2.0}, {"truncate": False},
                           {"mscale": 0.7, "mscale_all_dim": 0.9}])),
        dict(rope_type="longrope", rope_theta=1e4, original_max_position_embeddings=16,
             short_factor=[rng.uniform(1, 2) for _ in range(half)], long_factor=[rng.uniform(1, 8) for _ in range(half)]),
    ])


def model(rng, family, vocab):
    """A tiny random model."""
    common = dict(vocab_size=vocab, bos_token_id=1, eos_token_id=2, initializer_range=0.1)
    if family == "gpt2":
        config = transformers.GPT2Config(
            n_embd=16, n_layer=2, n_head=2, n_positions=256, tie_word_embeddings=rng.random() < 0.7,
            activation_function=rng.choice(["gelu_new", "gelu"]), n_inner=rng.choice([None, 24]), **common,
        )
    else:
        kind = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config, "qwen3": transformers.Qwen3Config,
                "mistral": transformers.MistralConfig, "gemma": transformers.GemmaConfig}[family]
        extra = dict(attention_bias=rng.random() < 0.5, mlp_bias=rng.random() < 0.5) if family == "llama" else {}
        extra |= dict(sliding_window=rng.choice([None, 5, 64])) if family == "mistral" else {}
        config = kind(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=rng.choice([1, 2, 4]), head_dim=8, max_position_embeddings=rng.choice([64, 256]),
            tie_word_embeddings=rng.random() < 0.5, rms_norm_eps=rng.choice([1e-6, 1e-5]), rope_parameters=rope(rng),
            **common, **extra,
        )
    torch.manual_seed(rng.randrange(2**31))
    made = AutoModelForCausalLM.from_config(config)
    for parameter in made.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return made


def tokenizer(rng, shape, family):
    """Files of a tokenizer."""
    settings, files = {}, {}
    named = rng.choice([{}, {"eos_token": "</s>"}, {"bos_token": "<s>", "eos_token": "<|im_end|>"}, {"pad_token": "<pad>"}])
    listed = rng.choice([{}, {"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}, {"image_token": "<image>"}])
    if family == "gpt2" and rng.random() < 0.5:
        files |= shape.vocabulary(shape.byte_level())
        settings |= {"add_bos_token": rng.random() < 0.4, "add_prefix_space": rng.random() < 0.4}
    elif family in ("qwen2", "qwen3"):
        made = shape.qwen()
        files |= shape.vocabulary(made) if family == "qwen2" and rng.random() < 0.4 else {"tokenizer.json": made.to_str()}
        settings["tokenizer_class"] = "Qwen2Tokenizer"
    elif family in ("llama", "mistral") and rng.random() < 0.5:
        files["tokenizer.json"] = shape.pieces().to_str()
        settings |= {"tokenizer_class": "LlamaTokenizer", "legacy": rng.random() < 0.5}
        named = rng.choice([{}, {"pad_token": "<pad>"}])
    elif family == "gemma":
        files["tokenizer.json"] = shape.pieces(("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"), legacy=False).to_str()
        settings["tokenizer_class"], named = "GemmaTokenizer", {}
    else:
        post = rng.choice([None, shape.bos_first])
        specials = ("<s>", "</s>", shape.END) if post else (shape.END,)
        files["tokenizer.json"] = shape.byte_level(specials=specials, post=post).to_str()
        settings["tokenizer_class"] = "GPT2Tokenizer" if family == "gpt2" else "PreTrainedTokenizerFast"
        if family == "gpt2":
            settings["add_prefix_space"] = rng.random() < 0.5
    if rng.random() < 0.5:
        files["special_tokens_map.json"] = json.dumps(named | ({} if "image_token" in listed else listed))
    else:
        settings |= named | listed
    files["tokenizer_config.json"] = json.dumps(settings)
    return files


def compare(rldp, rng, shape, seed):
    """Cases of one repository, and what differs."""
    family = rng.choice(["gpt2", "llama", "qwen2", "qwen3", "mistral", "gemma"])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        made = model(rng, family, 400)
        made.save_pretrained(folder)
        for file, content in tokenizer(rng, shape, family).items():
            (folder / file).write_text(content)
        texts = [text(rng) for _ in range(TEXTS)]
        rows = [entry for entry in texts if entry.strip()]
        (folder / "data.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
        out = folder / "out.safetensors"
        words = [rldp, "inspect", "logits", "--model", name, "--data", str(folder / "data.jsonl"), "--out", str(out)]
        ran = subprocess.run(words, capture_output=True, text=True)
        if ran.returncode:
            return 0, [f"seed {seed} {family}: {ran.stderr.strip()}"]
        found, auto = load_file(out), AutoTokenizer.from_pretrained(name)
        differences = []
        for i, row in enumerate(rows):
            ids = auto(row)["input_ids"]
            if len(ids) > made.config.max_position_embeddings:  # cut where positions end
                ids = ids[: max(found[f"tokens.{i}"].numel(), made.config.max_position_embeddings)]
            if found[f"tokens.{i}"].tolist() != ids:
                differences.append(f"seed {seed} {family}: {row!r}: {found[f'tokens.{i}'].tolist()} against {ids}")
                continue
            # Dynamic positions keep the longest sequence seen: every text gets a model of its own.
            fresh = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32, attn_implementation="eager").eval()
            with torch.no_grad():
                logits = fresh(torch.tensor([ids]), use_cache=False).logits[0]
            error = (found[f"logits.{i}"] - logits).abs().max().item() / max(1.0, logits.abs().max().item())
            if error > 1e-3:
                differences.append(f"seed {seed} {family} {made.config.to_dict().get('rope_parameters')}: logits off by {error:e}")
        return len(rows), differences


def main():
    """All repositories."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    rldp, repositories, first = sys.argv[1], int([*sys.argv[2:], 110][0]), 0
    first = int(sys.argv[3]) if len(sys.argv) > 3 else first
    shape, cases, differences = shapes(), 0, []
    for seed in range(first, first + repositories):
        count, wrong = compare(rldp, random.Random(seed), shape, seed)
        cases, differences = cases + count, differences + wrong
    print(*differences[:40], sep="\n")
    print(f"{cases} cases in {repositories} repositories, {len(differences)} differences")
    sys.exit(bool(differences))


if __name__ == "__main__":
    main()
