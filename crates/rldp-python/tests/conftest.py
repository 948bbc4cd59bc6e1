"""The embedded demo, with a few of its notes, and settings of a small run."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

import rldp

PATIENTS = 60


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> rldp.Demo:
    """The embedded model, and notes of 60 patients."""
    demo = rldp.unpack_demo(tmp_path_factory.mktemp("demo"))
    for path, patients in ((demo.train, PATIENTS), (demo.eval, 6)):
        notes = pandas.read_csv(path, dtype=str)
        kept = notes["patient"].drop_duplicates().head(patients)
        notes[notes["patient"].isin(kept)].to_csv(path, index=False)
    return demo


@pytest.fixture(scope="session")
def notes(demo: rldp.Demo) -> pandas.DataFrame:
    return pandas.read_csv(demo.train, dtype=str)


@pytest.fixture(scope="session")
def public(demo: rldp.Demo) -> pandas.DataFrame:
    return pandas.read_csv(demo.eval, dtype=str)


@pytest.fixture(scope="session")
def small(demo: rldp.Demo) -> dict[str, object]:
    """A private run of seconds."""
    return {
        "model": demo.model,
        "unit_column": "patient",
        "epsilon": 8,
        "delta": 1e-4,
        "steps": 6,
        "batch_size": 12,
        "interval": 2,
        "max_length": 48,
        "eval_every": 3,
        "checkpoint_every": 2,
        "precision": "f32",
        "quiet": True,
    }


@pytest.fixture(scope="session")
def run(
    small: dict[str, object], notes: pandas.DataFrame, public: pandas.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> rldp.Run:
    """A run from tables to its end, for tests that only look at it."""
    out: Path = tmp_path_factory.mktemp("runs") / "run"
    return rldp.train(**small, train=notes, eval=public, out=out)
