"""Runs: started, and taken up again."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _rldp
from ._call import call
from ._run import Run
from ._show import Callback, Listener
from ._tables import is_table

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._settings import Settings

#: Settings that may be tables in memory.
TABLES = ("train", "eval")


def train(
    *,
    model: str | os.PathLike[str] | None = None,
    train: Any = None,
    epsilon: float | None = None,
    delta: float | None = None,
    out: str | os.PathLike[str] | None = None,
    eval: Any = None,
    callback: Callback | None = None,
    config: str | os.PathLike[str] | None = None,
    quiet: bool = False,
    **settings: Unpack[Settings],
) -> Run:
    """Fine-tune a model with LoRA under (epsilon, delta)-differential privacy; returns the :class:`Run`.

    ``train`` and ``eval`` are a DataFrame, a ``datasets.Dataset``, a ``pyarrow.Table`` or another table with
    ``__arrow_c_stream__``, whose records go over in memory and to no file; or a path as on the command line. ``model`` is a
    directory, a GGUF file or a name on the hub; ``out`` is the run folder to create. ``config`` is a TOML file of settings.

    ``callback`` is called with a dict for every step (``kind`` is ``"step"``), evaluation (``"eval"``) and look at public text
    (``"public"``). It holds what ``metrics.jsonl`` holds: released and public values. Where it returns ``True`` the run stops
    after this step, saved; what it raises is raised again after that. So does Ctrl-C. :func:`resume` goes on.

    The other settings are those of ``rldp train``, by the names of their flags:
    """
    given = {"model": model, "train": train, "epsilon": epsilon, "delta": delta, "out": out, "eval": eval, "config": config}
    return started({**given, **settings}, out, callback, quiet)


def resume(
    path: str | os.PathLike[str],
    *,
    train: Any = None,
    eval: Any = None,
    callback: Callback | None = None,
    quiet: bool = False,
    **settings: Unpack[Settings],
) -> Run:
    """Take up a run that was stopped or killed, from its last checkpoint. What was charged stays charged.

    Records that were in memory are handed over again as ``train`` and ``eval``; files are read from where they were. Settings may
    change as far as they are no part of the promise.
    """
    return started({"resume": path, "train": train, "eval": eval, **settings}, path, callback, quiet)


def started(options: dict[str, Any], out: Any, callback: Callback | None, quiet: bool) -> Run:
    """Runs ``rldp train`` and says how to go on when it ends early."""
    listener = Listener(callback, quiet)
    try:
        lines = call(["train"], {**options, "quiet": quiet}, tables=TABLES, listener=listener)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(words(options, out)) from None
    except Exception as error:
        # An exception of the callback; those of rldp say by themselves what to do.
        if callback is not None and listener.failed and sys.version_info >= (3, 11):
            error.add_note(words(options, out))
        raise
    run = Run(lines[-1])
    if not run.finished and not quiet:
        listener.note("stopped", words(options, out))
    return run


def words(options: dict[str, Any], out: Any) -> str:
    """How to go on with a run that was stopped."""
    if out is None or not (Path(out) / "ledger.jsonl").exists():
        return "stopped before anything was spent"
    tables = "".join(f", {name}=records" for name in TABLES if is_table(options.get(name)))
    return f"the run is stopped and saved; continue with rldp.resume({str(out)!r}{tables})"


def listed() -> str:
    """Every setting with its type, default and sentence, as the library declares them."""
    lines, group = [], ""
    for name, heading, sentence, kind, default in _rldp.settings_list():
        if heading != group:
            group = heading
            lines.append(f"\n    {group}:")
        lines.append(f"      {name}: {kind}{f' = {default}' if default else ''}\n          {sentence}.")
    return "\n".join(lines) + "\n"


train.__doc__ = (train.__doc__ or "").rstrip() + "\n" + listed()
