"""Generates repositories.json: the files of tiny tokenizer repositories, and the ids that AutoTokenizer gives.

    python crates/rldp-data/testdata/tokenizers/generate.py

Needs tokenizers and transformers; the versions used last are in the file. Vocabularies are trained here on a text of this
file's own. `contents` holds every text once; a case's `files` name them.
"""

import json
import pathlib
import random
import tempfile

import tokenizers
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

HERE = pathlib.Path(__file__).parent
SEED = 23
CORPUS = [
    "the ward was quiet and the patient slept, the nurse wrote the note and the doctor read the note",
    "low lower lowest new newer newest wide wider widest; 12 mg at 8, 24 mg at 20, none at 4",
    "it's what they'd said: we're done, I'm sure, you've seen, he'll come",
] * 20
WORDS = "the ward patient note lower newest widest 12 2024 it's we're naïve 漢字 🙂 \n \t  e\u0301 <b> </s>".split(" ")
END = "<|endoftext|>"


def token(content, **settings):
    """An added token as tokenizer_config.json writes it."""
    plain = dict(lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
    return {"content": content, **plain, **settings}


def typed(content, **settings):
    """A named token as tokenizer_config.json writes it."""
    return {"__type": "AddedToken", **token(content, **settings)}


def byte_level(pre_tokenizer=None, specials=(END,), post=None):
    """BPE on bytes, as GPT-2's."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=list(specials), show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    if post:
        made.post_processor = post(made)
    return made


def pieces(specials=("<unk>", "<s>", "</s>"), legacy=True):
    """BPE on pieces with bytes to fall back on, as Llama's."""
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    replace = normalizers.Replace(" ", "▁")
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace]) if legacy else replace
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=340, special_tokens=[*specials, *bytes_], show_progress=False)
    trainer_words = made.pre_tokenizer
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    made.train_from_iterator(CORPUS, trainer)
    made.pre_tokenizer = trainer_words
    state = json.loads(made.to_str())
    state["added_tokens"] = [entry for entry in state["added_tokens"] if entry["content"] in specials]
    return Tokenizer.from_str(json.dumps(state))


def qwen():
    """Byte-level BPE behind Qwen's normalizer and words."""
    return byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Split(tokenizers.Regex(transformers.models.qwen2.tokenization_qwen2.PRETOKENIZE_REGEX), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]))


def bos_first(made):
    """A post-processor that opens with <s>."""
    return processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", made.token_to_id("<s>"))])


def vocabulary(made):
    """vocab.json and merges.txt of a tokenizer."""
    model = json.loads(made.to_str())["model"]
    merges = "\n".join(" ".join(pair) for pair in model["merges"])
    return {"vocab.json": json.dumps(model["vocab"]), "merges.txt": f"#version: 0.2\n{merges}\n"}


def cases():
    """Name, model_type, files; JSON values are written as text."""
    plain, opened = byte_level(), byte_level(specials=("<s>", "</s>", END), post=bos_first)
    llama, gemma = pieces(), pieces(("<pad>", "<eos>", "<bos>", "<unk>", "<mask>"), legacy=False)
    files, whole = vocabulary(plain), lambda made: {"tokenizer.json": made.to_str()}
    config = lambda **settings: {"tokenizer_config.json": settings}
    fast = "PreTrainedTokenizerFast"
    chat = ["<|im_start|>", "<|im_end|>"]
    return {
        "gpt2: vocab and merges": ("gpt2", files),
        "gpt2: vocab, merges, class": ("gpt2", {**files, **config(tokenizer_class="GPT2Tokenizer", model_max_length=9)}),
        "gpt2: vocab, merges, prefix space": ("gpt2", {**files, **config(add_prefix_space=True)}),
        "gpt2: vocab, merges, bos": ("gpt2", {**files, **config(add_bos_token=True)}),
        "gpt2: vocab, merges, bos and eos": ("gpt2", {**files, **config(add_bos_token=True, add_eos_token=True)}),
        "gpt2: vocab, merges, added tokens": ("gpt2", {**files, "added_tokens.json": {"<pad>": 321, "lower": 322, "<x>": 320}}),
        "gpt2: vocab, merges, map and added tokens": ("gpt2", {
            **files,
            "special_tokens_map.json": {"eos_token": "</s>", "pad_token": token("<pad>"), "additional_special_tokens": chat},
            "added_tokens.json": {"<pad>": 320, "</s>": 321, "<|im_start|>": 322, "<|im_end|>": 323},
        }),
        "gpt2: vocab, merges, other bos": ("gpt2", {**files, **config(bos_token="<s>", eos_token="the", add_bos_token=True)}),
        "gpt2: whole file, prefix space": ("gpt2", {**whole(plain), **config(tokenizer_class="GPT2Tokenizer", add_prefix_space=True)}),
        "gpt2: whole file with prefix space, class without": ("gpt2", {
            **whole(byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))), **config(tokenizer_class="GPT2Tokenizer"),
        }),
        "llama: whole file alone": ("llama", whole(opened)),
        "llama: whole file of GPT-2, prefix space": ("llama", {
            **whole(plain), **config(tokenizer_class="GPT2TokenizerFast", add_prefix_space=True),
        }),
        "llama: map alone": ("llama", {
            **whole(plain), "special_tokens_map.json": {"bos_token": "<s>", "eos_token": token("</s>"), "pad_token": END},
        }),
        "llama: added tokens alone": ("llama", {**whole(plain), "added_tokens.json": {"<image>": 320, "ward": 321}}),
        "llama: decoder": ("llama", {**whole(plain), **config(tokenizer_class=fast, added_tokens_decoder={
            "0": token(END), "320": token("<|im_start|>"), "321": token("<|im_end|>", special=True),
            "322": token("patient", special=False, normalized=True, single_word=True), "323": token("[X]", rstrip=True, lstrip=True),
        })}),
        "llama: decoder goes before the map": ("llama", {
            **whole(plain), "special_tokens_map.json": {"eos_token": "<never>"}, "added_tokens.json": {"<neither>": 330},
            **config(tokenizer_class=fast, eos_token="<|im_end|>", added_tokens_decoder={"320": token("<|im_end|>")}),
        }),
        "llama: additional special tokens": ("llama", {
            **whole(plain), **config(tokenizer_class=fast, additional_special_tokens=chat, image_token="<image>"),
        }),
        "llama: additional special tokens of the map": ("llama", {
            **whole(plain), **config(tokenizer_class=fast), "special_tokens_map.json": {"additional_special_tokens": [*chat, "note"]},
        }),
        "llama: extra special tokens by name": ("llama", {
            **whole(plain), **config(tokenizer_class=fast, extra_special_tokens={"end_token": "<end>", "image_token": "<image>"}),
        }),
        "llama: named tokens with settings": ("llama", {
            **whole(plain), **config(tokenizer_class=fast, bos_token=typed("<s>", rstrip=True), eos_token=typed("</s>", lstrip=True)),
        }),
        "llama: special tokens are split": ("llama", {**whole(plain), **config(tokenizer_class=fast, split_special_tokens=True)}),
        "llama: flags beside a whole file": ("llama", {
            **whole(plain), **config(tokenizer_class=fast, bos_token=END, add_bos_token=True, add_eos_token=True),
        }),
        "llama: pieces": ("llama", {**whole(llama), **config(tokenizer_class="LlamaTokenizer", legacy=False)}),
        "llama: pieces, legacy": ("llama", {**whole(llama), **config(tokenizer_class="LlamaTokenizerFast", legacy=True)}),
        "llama: pieces, no prefix space": ("llama", {
            **whole(llama), **config(tokenizer_class="LlamaTokenizer", add_prefix_space=False),
        }),
        "llama: pieces without class": ("llama", whole(llama)),
        "mistral: pieces": ("mistral", {**whole(llama), **config(tokenizer_class="LlamaTokenizer", legacy=False)}),
        "gemma: pieces": ("gemma", {**whole(gemma), **config(tokenizer_class="GemmaTokenizer", additional_special_tokens=["<start>"])}),
        "qwen2: vocab and merges": ("qwen2", {**vocabulary(qwen()), **config(
            tokenizer_class="Qwen2Tokenizer", eos_token="<|im_end|>", additional_special_tokens=chat,
            added_tokens_decoder={"0": token(END), "320": token("<|im_start|>"), "321": token("<|im_end|>")},
        )}),
        "qwen2: whole file": ("qwen2", {**whole(qwen()), **config(tokenizer_class="Qwen2Tokenizer", pad_token="<pad>", add_prefix_space=False)}),
        "qwen3: whole file, Llama's class": ("qwen3", {**whole(qwen()), **config(tokenizer_class="LlamaTokenizerFast", eos_token="</s>")}),
    }


def texts():
    """Fixed texts, and random ones of words, blanks and tokens that some cases know."""
    rng = random.Random(SEED)
    specials = [END, "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>", "<image>", "[X]", "<x>", "<end>", "<start>", "<eos>"]
    fixed = ["", " ", "the ward", " the ward", f"{END}the ward{END}", "the</s> ward <s>note", "lower", "impatient patient [X] note"]
    mixed = ["".join(rng.choice([*WORDS, *specials, " ", " "]) for _ in range(rng.randint(1, 12))) for _ in range(32)]
    return fixed + mixed


def main():
    """All cases."""
    transformers.logging.set_verbosity_error()
    contents, out, samples = {}, [], texts()
    for name, (model_type, files) in cases().items():
        files = {**files, "config.json": {"model_type": model_type}}
        files = {file: text if isinstance(text, str) else json.dumps(text) for file, text in files.items()}
        with tempfile.TemporaryDirectory() as folder:
            for file, text in files.items():
                (pathlib.Path(folder) / file).write_text(text)
            auto = AutoTokenizer.from_pretrained(folder)
            ids = [[auto(text)["input_ids"], auto(text, add_special_tokens=False)["input_ids"]] for text in samples]
        keys = {file: contents.setdefault(text, f"text {len(contents)}") for file, text in sorted(files.items())}
        same = [row[0] if row[0] == row[1] else row for row in ids]
        out.append({"name": name, "class": type(auto).__name__, "files": keys, "ids": same, "eos": auto.eos_token_id})
    versions = {module.__name__: module.__version__ for module in (tokenizers, transformers)}
    document = {"versions": versions, "texts": samples, "contents": {key: text for text, key in contents.items()}}
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in out)
    head = json.dumps(document, ensure_ascii=False)[:-1]
    (HERE / "repositories.json").write_text(f'{head},\n"cases": [\n{lines}\n]}}\n')
    print(len(out), "cases of", len(samples), "texts")


if __name__ == "__main__":
    main()
