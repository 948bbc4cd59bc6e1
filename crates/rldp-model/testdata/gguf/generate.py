"""Generates the GGUF fixtures: blocks of every quantised format, and tiny models with their tokenizers.

    python crates/rldp-model/testdata/gguf/generate.py

Needs gguf, sentencepiece, torch and transformers; the versions used last are in versions.txt.

    blocks.safetensors    for every format: `NAME.blocks`, random bytes with sane scales, and `NAME.values`, what the
                          `gguf` package reads in them
    NAME.gguf             a tiny model; `llama` has a matrix of every format
    NAME.safetensors      what transformers computes when it loads that file: `tokens` (T), `logits` (T, V)
    NAME.tokens.json      texts and what the tokenizer's own library makes of them
"""

import io
import json
import pathlib

import gguf
import numpy as np
import sentencepiece
import tokenizers
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
FORMATS = [Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.Q4_K, Type.Q5_K, Type.Q6_K]
# Where a block's f16 factors stand.
FACTORS = {
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
    Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
}
TEXTS = [
    "The patient was seen on the ward.", "  two spaces, 123 digits and\nlines\n\n", "naïve café – ₿ 漢字 🙂", "", " ",
    "don't they're I'll", "a\tb\r\nc",
]


def random_blocks(rng, kind, count, size):
    """Random blocks whose values are about `size`."""
    block, width = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (count, width), dtype=np.uint8)
    levels = {Type.Q8_0: 70, Type.Q4_K: 300, Type.Q5_K: 600, Type.Q6_K: 1400}.get(kind, 8)
    for at in FACTORS[kind]:
        factor = (size / levels * rng.uniform(0.5, 1.5, (count, 1))).astype(np.float16)
        blocks[:, at : at + 2] = factor.view(np.uint8).reshape(count, 2)
    return blocks


def blocks(rng):
    """The fixture of formats."""
    tensors = {}
    for kind in FORMATS:
        raw = random_blocks(rng, kind, 12, 1.0)
        tensors[f"{kind.name}.blocks"] = torch.from_numpy(raw)
        tensors[f"{kind.name}.values"] = torch.from_numpy(gguf.quants.dequantize(raw, kind).astype(np.float32))
    save_file(tensors, HERE / "blocks.safetensors")


class Writer:
    """A GGUF file in the making."""

    def __init__(self, rng, name, architecture):
        self.rng, self.path = rng, HERE / f"{name}.gguf"
        self.file = gguf.GGUFWriter(self.path, architecture)

    def matrix(self, name, rows, columns, kind):
        """A random matrix of about orthogonal scale."""
        size = columns**-0.5
        if kind in FACTORS:
            block, width = gguf.GGML_QUANT_SIZES[kind]
            raw = random_blocks(self.rng, kind, rows * columns // block, size).reshape(rows, -1)
        else:
            values = torch.from_numpy(self.rng.normal(0, size, (rows, columns)).astype(np.float32))
            stored = {Type.F32: torch.float32, Type.F16: torch.float16, Type.BF16: torch.bfloat16}[kind]
            raw = values.to(stored).contiguous().view(torch.uint8).numpy()
        self.file.add_tensor(f"{name}.weight", raw, raw_dtype=kind)

    def vector(self, name, size, centre):
        self.file.add_tensor(name, (centre + self.rng.normal(0, 0.2, size)).astype(np.float32))

    def close(self):
        self.file.write_header_to_file()
        self.file.write_kv_data_to_file()
        self.file.write_tensors_to_file()
        self.file.close()


def sentence_piece(out):
    """A BPE of 320 pieces with bytes, trained on this file, put into a GGUF's metadata; returns the library's own model."""
    model = io.BytesIO()
    lines = (HERE / "generate.py").read_text().splitlines()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=420, model_type="bpe", byte_fallback=True,
        minloglevel=2, normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.99,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    kinds = []
    for i in range(len(pieces)):
        unknown, control, byte = pieces.is_unknown(i), pieces.is_control(i), pieces.is_byte(i)
        kinds.append(2 if unknown else 3 if control else 6 if byte else 1)
    out.add_tokenizer_model("llama")
    out.add_token_list([pieces.id_to_piece(i) for i in range(len(pieces))])
    out.add_token_scores([pieces.get_score(i) for i in range(len(pieces))])
    out.add_token_types(kinds)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)
    return pieces


def byte_level(out, pre):
    """The demo's byte-level BPE, put into a GGUF's metadata; returns its vocabulary and merges."""
    whole = json.loads((HERE / "../../../../assets/demo/model/tokenizer.json").read_text())["model"]
    words = sorted(whole["vocab"], key=whole["vocab"].get)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in whole["merges"]]
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre(pre)
    out.add_token_list(words)
    out.add_token_types([3 if i == 0 else 1 for i in range(len(words))])
    out.add_token_merges(merges)
    out.add_bos_token_id(0)
    out.add_eos_token_id(0)
    out.add_chat_template("{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}")
    return whole["vocab"], [tuple(merge.split(" ")) for merge in merges]


def rotary(writer, hidden, heads, kv_heads, head_dim, width, layers):
    """The metadata that Llama and Qwen share."""
    out = writer.file
    out.add_context_length(128)
    out.add_embedding_length(hidden)
    out.add_block_count(layers)
    out.add_feed_forward_length(width)
    out.add_head_count(heads)
    out.add_head_count_kv(kv_heads)
    out.add_key_length(head_dim)
    out.add_value_length(head_dim)
    out.add_rope_dimension_count(head_dim)
    out.add_rope_freq_base(10000.0)
    out.add_layer_norm_rms_eps(1e-5)


def rotary_block(writer, layer, sizes, kinds):
    """The tensors of one block of Llama or Qwen."""
    hidden, q, kv, width = sizes
    maps = dict(
        attn_q=(q, hidden), attn_k=(kv, hidden), attn_v=(kv, hidden), attn_output=(hidden, q), ffn_gate=(width, hidden),
        ffn_up=(width, hidden), ffn_down=(hidden, width),
    )
    for kind, (name, (rows, columns)) in zip(kinds, maps.items()):
        writer.matrix(f"blk.{layer}.{name}", rows, columns, kind)
    for norm in ["attn_norm", "ffn_norm"]:
        writer.vector(f"blk.{layer}.{norm}.weight", hidden, 1.0)


def llama(rng):
    writer = Writer(rng, "llama", "llama")
    pieces = sentence_piece(writer.file)
    rotary(writer, 256, 4, 2, 64, 256, 1)
    writer.matrix("token_embd", len(pieces), 256, Type.Q5_1)
    kinds = [Type.Q4_K, Type.Q5_K, Type.Q6_K, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q8_0]
    rotary_block(writer, 0, (256, 256, 128, 256), kinds)
    writer.vector("output_norm.weight", 256, 1.0)
    writer.matrix("output", len(pieces), 256, Type.BF16)
    writer.close()
    tokens("llama", lambda text: [1] + pieces.encode(text) if text else [1])
    golden("llama", len(pieces))


def qwen2(rng):
    writer = Writer(rng, "qwen2", "qwen2")
    vocabulary, merges = byte_level(writer.file, "qwen2")
    rotary(writer, 64, 4, 2, 16, 96, 2)
    writer.matrix("token_embd", len(vocabulary), 64, Type.Q8_0)
    for layer in range(2):
        rotary_block(writer, layer, (64, 64, 32, 96), [Type.F16] * 7)
        for name, size in [("attn_q", 64), ("attn_k", 32), ("attn_v", 32)]:
            writer.vector(f"blk.{layer}.{name}.bias", size, 0.0)
    writer.vector("output_norm.weight", 64, 1.0)
    writer.close()
    own = transformers.Qwen2Tokenizer(vocab=vocabulary, merges=merges)
    own.add_special_tokens({"eos_token": "<|endoftext|>"})
    tokens("qwen2", lambda text: own(text)["input_ids"])
    golden("qwen2", len(vocabulary))


def gpt2(rng):
    writer = Writer(rng, "gpt2", "gpt2")
    vocabulary, merges = byte_level(writer.file, "gpt-2")
    out = writer.file
    out.add_context_length(1024)
    out.add_embedding_length(32)
    out.add_block_count(2)
    out.add_feed_forward_length(128)
    out.add_head_count(2)
    out.add_layer_norm_eps(1e-5)
    writer.matrix("token_embd", len(vocabulary), 32, Type.F16)
    writer.matrix("position_embd", 1024, 32, Type.F16)
    for layer in range(2):
        for name, rows, columns in [("attn_qkv", 96, 32), ("attn_output", 32, 32), ("ffn_up", 128, 32), ("ffn_down", 32, 128)]:
            writer.matrix(f"blk.{layer}.{name}", rows, columns, Type.Q8_0 if layer else Type.F16)
            writer.vector(f"blk.{layer}.{name}.bias", rows, 0.0)
        for norm in ["attn_norm", "ffn_norm"]:
            writer.vector(f"blk.{layer}.{norm}.weight", 32, 1.0)
            writer.vector(f"blk.{layer}.{norm}.bias", 32, 0.0)
    writer.vector("output_norm.weight", 32, 1.0)
    writer.vector("output_norm.bias", 32, 0.0)
    writer.matrix("output", len(vocabulary), 32, Type.F16)
    writer.close()
    own = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=merges))
    own.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens("gpt2", lambda text: own.encode(text).ids)
    golden("gpt2", len(vocabulary))


def tokens(name, encode):
    """What the tokenizer's own library makes of the texts."""
    cases = [{"text": text, "tokens": encode(text)} for text in TEXTS]
    (HERE / f"{name}.tokens.json").write_text(json.dumps(cases, indent=1) + "\n")


def golden(name, vocab):
    """Logits of a random sequence, by transformers from the same file."""
    load = transformers.AutoModelForCausalLM.from_pretrained
    model = load(HERE, gguf_file=f"{name}.gguf", dtype=torch.float32, attn_implementation="eager").eval()
    sequence = torch.randint(vocab, (20,), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        logits = model(sequence[None], use_cache=False).logits[0]
    save_file({"tokens": sequence, "logits": logits.contiguous()}, HERE / f"{name}.safetensors")


def main():
    """All fixtures."""
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    blocks(rng)
    for make in [llama, qwen2, gpt2]:
        make(rng)
    modules = (torch, transformers, sentencepiece, tokenizers)
    versions = {module.__name__: module.__version__ for module in modules}
    (HERE / "versions.txt").write_text(json.dumps(versions, indent=1) + "\n")


if __name__ == "__main__":
    main()
