"""Accounting: what a plan spends, and what noise a promise needs."""

from __future__ import annotations

from typing import Any, Sequence

from . import _rldp
from ._call import result

__all__ = ["calibrate", "epsilon"]


def epsilon(
    *,
    delta: float,
    sampling_rate: float | None = None,
    noise_multiplier: float | None = None,
    steps: int | None = None,
    segments: Sequence[tuple[float, float, int]] | None = None,
    accountant: str = "pld",
) -> float:
    """Epsilon of a plan: of ``steps`` at one ``sampling_rate`` and ``noise_multiplier``, or of ``segments`` of them.

    >>> round(epsilon(sampling_rate=0.01, noise_multiplier=1.0, steps=1000, delta=1e-5), 3)
    1.828
    """
    if segments is not None and sampling_rate is noise_multiplier is steps is None:
        kinds = [(float(q), float(z), int(count)) for q, z, count in segments]
        return _rldp.epsilon_of(kinds, float(delta), accountant)
    options = {
        "sampling_rate": sampling_rate,
        "noise_multiplier": noise_multiplier,
        "steps": steps,
        # Given beside the others it is refused, in the command line's words.
        "segments": segments if segments is None else "-",
        "delta": delta,
        "accountant": accountant,
    }
    return float(result(["privacy", "epsilon"], options)["epsilon"])


def calibrate(
    *,
    epsilon: float,
    delta: float,
    steps: int,
    sampling_rate: float | None = None,
    units: int | None = None,
    batch_size: float | None = None,
    accountant: str = "pld",
) -> dict[str, Any]:
    """The least noise that keeps a promise: ``noise_multiplier``, and the ``epsilon`` that it gives.

    Give ``sampling_rate``, or the number of ``units`` and the expected ``batch_size``.
    """
    options = {
        "epsilon": epsilon,
        "delta": delta,
        "steps": steps,
        "sampling_rate": sampling_rate,
        "units": units,
        "batch_size": batch_size,
        "accountant": accountant,
    }
    return result(["privacy", "calibrate"], options)
