"""The other commands as functions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Sequence

from . import _rldp
from ._call import call, result

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._settings import Settings


def plan(
    *,
    hours: float | None = None,
    records: float | None = None,
    write_config: str | os.PathLike[str] | None = None,
    config: str | os.PathLike[str] | None = None,
    **settings: Unpack[Settings],
) -> dict[str, Any]:
    """What a run would take and give, before anything is spent, from public numbers alone.

    Give ``units``, the number of units, or ``train``, whose units are counted; ``epsilon`` and ``delta``; and for times and memory
    ``model``, which is timed for some seconds. ``plans`` holds the plans, ``recommended`` the index of the best.
    """
    options = {"hours": hours, "records": records, "write_config": write_config, "config": config, **settings}
    return result(["plan"], options, tables=("train", "eval"))


def evaluate(
    *,
    model: str | os.PathLike[str],
    data: Any,
    adapter: str | os.PathLike[str] | None = None,
    metrics: Sequence[str] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Perplexity of a model, with or without an adapter, on records that are assumed public: a table or a path.

    ``metrics`` may name ``bleu``, ``rouge-l`` and ``accuracy``, for records with ``prompt_column`` and ``completion_column``. Further
    options are those of ``rldp evaluate``: ``text_column``, ``messages_column``, ``max_length``, ``engine``, ``device``, …
    """
    given = {"model": model, "data": data, "adapter": adapter, "metrics": metrics, **options}
    return result(["evaluate"], given, tables=("data",))


def generate(
    *,
    model: str | os.PathLike[str],
    prompt: str,
    adapter: str | os.PathLike[str] | None = None,
    chat: bool = False,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    **options: Any,
) -> str:
    """Continue a prompt; with ``chat``, let the assistant answer it by the model's chat template.

    Further options are those of ``rldp generate``: ``top_p``, ``min_p``, ``repetition_penalty``, ``seed``, ``device``.
    """
    given = {
        "model": model,
        "prompt": prompt,
        "adapter": adapter,
        "chat": chat,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        **options,
    }
    return "\n".join(call(["generate"], given))


def audit(
    run: str | os.PathLike[str] | None = None,
    *,
    members: Any = None,
    non_members: Any = None,
    train: Any = None,
    **options: Any,
) -> dict[str, Any]:
    """Try to falsify a privacy claim by attacking an adapter; keys are those of ``rldp audit --json``.

    Give a run that was trained with ``hold_out_members`` or ``canaries``, or tables or files of ``members`` and ``non_members``. Where
    the run's own records were in memory, hand them over again as ``train``. What an audit finds is a function of the records: it is
    not for release.
    """
    given = {"members": members, "non_members": non_members, **options}
    tables = ("members", "non_members")
    return result(["audit"], given, positional=[] if run is None else [run], tables=tables, beside={"train": train})


class Demo(NamedTuple):
    """The embedded model and invented notes, as files."""

    #: Model directory.
    model: Path
    #: Notes to train on, with columns ``text`` and ``patient``.
    train: Path
    #: Notes of other patients.
    eval: Path


def unpack_demo(folder: str | os.PathLike[str]) -> Demo:
    """Write the embedded model and invented notes into a folder."""
    return Demo(*_rldp.unpack_demo(Path(folder)))
