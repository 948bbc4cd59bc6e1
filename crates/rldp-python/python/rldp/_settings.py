"""Settings of ``rldp train`` as a type. Made from their declaration by tests/test_run.py; do not edit."""

from __future__ import annotations

import os
from typing import Literal, Sequence, TypedDict, Union

Path = Union[str, "os.PathLike[str]"]


class Settings(TypedDict, total=False):
    """Keyword arguments of ``rldp.train`` beside its own."""

    adapter: Path
    r"""PEFT adapter to start from; rank, alpha and modules are its own."""
    after: Path
    r"""Run to go on from: its adapter, and a statement of what both runs promise together."""
    rank: int
    r"""R, LoRA rank."""
    lora_alpha: float
    r"""LoRA's alpha."""
    target_modules: Sequence[str]
    r"""Adapted modules by PEFT's names, separated by commas."""
    use_rslora: bool
    r"""Scale updates by alpha over the root of the rank (rsLoRA)."""
    init_lora_weights: Literal["default", "gaussian"]
    r"""How A begins."""
    trainable: Literal["both", "b"]
    r"""What is trained of every adapter pair."""
    engine: Literal["cpu", "reference"]
    r"""Which engine computes gradients."""
    device: str
    r"""Where it computes: auto (the first card that can be used, or the CPU), cpu, cuda or cuda:N."""
    precision: Literal["f32", "bf16"]
    r"""Products with the frozen base model."""
    micro_batch_tokens: int
    r"""Tokens processed at once; bounds memory, changes no result."""
    memory_limit: str | int
    r"""Memory that the run may take, such as 6GiB; chooses the micro-batch, which changes no result, and the longest block where --max-length does not."""
    public: Sequence[Path]
    r"""Text that you declare public: the adapter is trained on it, without noise, before the first private step; may be given more than once."""
    text_column: str
    r"""Column that holds the text."""
    prompt_column: str
    r"""Column that holds the prompt, which is not scored; a text, or an array of messages."""
    completion_column: str
    r"""Column that holds the completion, which alone is scored."""
    messages_column: str
    r"""Column that holds a conversation, an array of messages with role and content (or from and value), rendered by the model's chat template with the column tools, where there is one; the assistant's turns alone are scored."""
    unit_column: str
    r"""Column that names the privacy unit, such as a patient; without it every record is a unit."""
    unit_ids: Literal["checked", "as-written", "trimmed", "folded"]
    r"""When two ids in that column are one unit. What differs only in blanks, case, leading zeros or Unicode form is refused where ids are checked."""
    delimiter: str
    r"""What separates the fields of CSV, such as ; or \t."""
    prompt_end: str
    r"""What stands between a prompt and its completion; \n and \t are understood."""
    units: int
    r"""N, a public number that the training file has at most, such as all of a hospital's patients: the promise then holds for adding and removing a unit, and nothing that is written shows how many there are."""
    allow_shared_eval: bool
    r"""Train although records of --eval stand in --train as well; the claim then leaves out the figures of --eval."""
    max_records_per_unit: int
    r"""Use at most this many records of a unit, sampled secretly."""
    max_length: int
    r"""Longest block in tokens. Of a longer record a prompt and earlier turns lose their start; what is scored and does not fit goes on in a further block of the same unit."""
    steps: int
    r"""T, number of noisy steps."""
    batch_size: float
    r"""B, expected batch size in units (Poisson sampling)."""
    other_steps: int
    r"""Steps of other runs on the same records, at the same batch size, that epsilon covers as well: a tuning paid from one budget."""
    noise_bands: int
    r"""b, how many steps noise is correlated over, so that later steps take back a part of it; 1 where noise may not be correlated."""
    regime: Literal["committed", "deck", "adaptive"]
    r"""Committed or adaptive noise."""
    accountant: Literal["pld", "rdp", "gdp"]
    r"""Accountant of the committed regime."""
    clipping: Literal["pair-wise", "joint", "flat"]
    r"""What is bounded: every adapter pair, or all of them together."""
    scaling: Literal["clip", "normalize"]
    r"""How gradients come under their bound."""
    geometry: Literal["none", "adaclip", "geoclip"]
    r"""Coordinates in which gradients are bounded."""
    clip_norm: float
    r"""C, joint L2 bound on one unit's contribution at the start; pair-wise clipping starts at C/√K for each pair."""
    statistics_share: float
    r"""w_0, share of every step's budget that buys the released loss and clip fractions; 0 buys none."""
    epochs: float
    r"""Passes over the records, in place of --steps."""
    optimizer: Literal["adamw", "adam-bc", "sgd"]
    r"""The update rule."""
    learning_rate: float
    r"""Peak learning rate."""
    warmup: float
    r"""Fraction of the steps over which the learning rate rises from zero."""
    decay: Literal["linear", "cosine", "constant"]
    r"""Schedule after warm-up."""
    beta1: float
    r"""Decay of the first moment."""
    beta2: float
    r"""Decay of the second moment."""
    adam_epsilon: float
    r"""Added to the root of the second moment, in units of the gradient."""
    noise_floor: float
    r"""Least corrected second moment of adam-bc, over the noise's variance."""
    weight_decay: float
    r"""Decoupled weight decay."""
    controller: Literal["fixed", "random", "sac", "set", "set-scratch", "quantile", "dc-sgd-p", "dc-sgd-e", "spectral", "snr-shares", "mse-split", "wiener", "noise-rising", "noise-falling"]
    r"""Who chooses clip norms, shares or noise."""
    interval: int
    r"""Steps between two decisions of the controller."""
    rate_search: bool
    r"""Search for the learning rate from released gradients; AdamW's is believed near the default, whatever is given."""
    rate_adaptation: bool
    r"""Let the learning rate follow how far releases agree with each other: up to all that the rule took off for noise, or down."""
    policy: Path
    r"""Saved policy to start from."""
    frozen_policy: bool
    r"""Follow the saved policy's mean action, and learn nothing more."""
    allow_private_policy: bool
    r"""Begin with the policy of another private run, whose budget adds to this one's; the claim then says so."""
    public_probe: bool
    r"""Declare the --eval file a public probe: the controller is rewarded for its perplexity instead of the released loss."""
    sac_batch_size: int
    r"""Transitions of an update of soft actor-critic."""
    sac_updates_per_interval: int
    r"""Updates of soft actor-critic at each decision."""
    book: Path
    r"""Budget book of these people, which the run enters before it starts; `rldp privacy book FILE` begins one."""
    eval_every: int
    r"""Steps between evaluations on --eval."""
    checkpoint_every: int
    r"""Steps between checkpoints."""
    seed: int
    r"""Seed of public streams only; never reaches sampling or noise."""
    hold_out_members: float
    r"""For an audit: hold every unit out with this probability (0.5 when none is given). The coins stand in RUN/private, which is never to be released."""
    canaries: int
    r"""For an audit: plant this many secrets, each with probability one half. They stand in RUN/private."""
    canary_kinds: Sequence[Literal["digits", "names", "rare"]]
    r"""Kinds of canaries, in turn; all by default."""
    canary_repetitions: Sequence[int]
    r"""In how many units a canary stands, in turn; 1,4,16 by default."""
    unsafe_noise_seed: int
    r"""Research only, NO PRIVACY: draw sampling and noise from this seed."""
    unsafe_non_private: bool
    r"""Research only, NO PRIVACY: neither clip nor add noise; takes no --epsilon and --delta, and only --controller fixed."""
    unsafe_raw_observations: bool
    r"""Research only, NO PRIVACY: show the controller gradient norms and losses without noise, as in the paper."""
