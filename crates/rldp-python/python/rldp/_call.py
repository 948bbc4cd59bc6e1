"""From Python's values to a call of a command."""

from __future__ import annotations

import json
import numbers
import os
from typing import Any, Iterable, Mapping, Sequence

from . import _rldp
from ._errors import SettingError
from ._show import Listener
from ._tables import as_table


def call(
    command: Sequence[str],
    options: Mapping[str, Any],
    positional: Iterable[Any] = (),
    tables: Sequence[str] = (),
    beside: Mapping[str, Any] | None = None,
    listener: Listener | None = None,
) -> list[str]:
    """Runs a command; the options named in ``tables`` may be tables in memory, and those ``beside`` are, for files that a run names.
    Returns the lines that it printed."""
    lent: list[tuple[str, object]] = []
    words: list[tuple[str, bool | str | list[str]]] = []
    for name, value in (beside or {}).items():
        table = as_table(name, value)
        if table is not None:
            lent.append((name, table))
        elif value is not None:
            raise SettingError(f"{name} must be a table; the run itself says where its files are")
    for name, value in options.items():
        table = as_table(name, value) if name in tables else None
        if table is not None:
            lent.append((name, table))
            words.append((name, f"memory:{name}"))
        elif value is not None:
            words.append((name, word(name, value)))
    listener = listener or Listener()
    try:
        return _rldp.call(list(command), [os.fspath(path) for path in positional], words, lent, listener)
    finally:
        listener.end_line()


def result(command: Sequence[str], options: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What a command prints with ``--json``."""
    lines = call(command, {**options, "json": True}, **more)
    found: dict[str, Any] = json.loads("".join(lines))
    return found


def word(name: str, value: Any) -> bool | str | list[str]:
    """A value as the command line reads it."""
    if isinstance(value, (list, tuple)):
        return [text(name, one) for one in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)) and getattr(value, "shape", None) == ():
        value = value.item()
    return value if isinstance(value, bool) else text(name, value)


def text(name: str, value: Any) -> str:
    """One value in the spelling of the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        return repr(float(value))
    raise SettingError(
        f"{name} is a {type(value).__name__}, but must be text, a number, a boolean, a path, or a list of them"
    )
