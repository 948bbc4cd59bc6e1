"""Tables of other libraries as what Arrow's PyCapsule interface hands over, without a copy on disk."""

from __future__ import annotations

import os
from typing import Any

from ._errors import RefusedError, SettingError


class Exported:
    """A stream that was exported already, so that what went wrong was said in words that quote no record."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.capsule


def as_table(name: str, value: Any) -> Exported | None:
    """The table that ``value`` is; ``None`` when it names files."""
    if value is None or isinstance(value, (str, os.PathLike)):
        return None
    if isinstance(value, (list, tuple)) and all(isinstance(one, (str, os.PathLike)) for one in value):
        return None
    if not is_table(value):
        raise SettingError(
            f"{name} is a {type(value).__name__}, but must be a path, a DataFrame, a datasets.Dataset, a pyarrow.Table, or another "
            "table with __arrow_c_stream__"
        )
    # The words of other libraries quote values; they, and the exception they came with, must not get out.
    failed, capsule = "", None
    try:
        capsule = stream_of(value)
    except ImportError:
        failed = "needs pyarrow: pip install pyarrow"
    except Exception as error:
        failed = f"cannot be handed over as an Arrow table ({type(error).__name__}): a column may hold values of several types"
    if failed:
        raise RefusedError(f"{name} {failed}")
    return Exported(capsule)


def is_table(value: Any) -> bool:
    """Whether it is something with rows and columns."""
    return hasattr(value, "__arrow_c_stream__") or is_dataset(value) or is_frame(value)


def is_dataset(value: Any) -> bool:
    """Whether it is a ``datasets.Dataset``."""
    return hasattr(value, "with_format") and hasattr(value, "features") and hasattr(value, "column_names")


def is_frame(value: Any) -> bool:
    """Whether it is a DataFrame of a pandas that knows no Arrow interface."""
    return type(value).__module__.split(".")[0] == "pandas" and hasattr(value, "columns")


def stream_of(value: Any) -> Any:
    """The capsule of its rows."""
    if is_dataset(value):
        # Its rows as they are now, after select and shuffle.
        value = value.with_format("arrow")[:]
    elif not hasattr(value, "__arrow_c_stream__"):
        import pyarrow  # type: ignore[import-untyped]

        value = pyarrow.Table.from_pandas(value)
    return value.__arrow_c_stream__()
