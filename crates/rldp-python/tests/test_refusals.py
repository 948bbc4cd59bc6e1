"""Errors are exceptions in the words of the command line, and show no record."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

import numpy
import pandas
import pytest

import rldp

SECRET = "SECRETMARKER"


def command_line(*words: object) -> tuple[int, str]:
    ran = subprocess.run([sys.executable, "-m", "rldp", *map(str, words)], capture_output=True, text=True)
    return ran.returncode, ran.stderr.removeprefix("error: ").split("\n\nUsage:")[0].split("\n\nFor more")[0].strip()


@pytest.mark.parametrize(
    ("settings", "flags"),
    [
        ({"epsilon": -1, "delta": 1e-5}, ["--epsilon=-1", "--delta=1e-5"]),
        ({"epsilon": 4, "delta": 2}, ["--epsilon=4", "--delta=2"]),
        ({"epsilon": 4}, ["--epsilon=4"]),
        ({"epsilon": 4, "delta": 1e-5, "stepz": 3}, ["--epsilon=4", "--delta=1e-5", "--stepz=3"]),
        ({"epsilon": 4, "delta": 1e-5, "steps": 1.5}, ["--epsilon=4", "--delta=1e-5", "--steps=1.5"]),
        ({"epsilon": 4, "delta": 1e-5, "controller": "magic"}, ["--epsilon=4", "--delta=1e-5", "--controller=magic"]),
        ({"epsilon": 4, "delta": 1e-5, "steps": 3, "epochs": 2}, ["--epsilon=4", "--delta=1e-5", "--steps=3", "--epochs=2"]),
        ({"epsilon": 4, "delta": 1e-5, "prompt_column": "p"}, ["--epsilon=4", "--delta=1e-5", "--prompt-column=p"]),
        ({"epsilon": 4, "delta": 1e-5, "unit_ids": "folded"}, ["--epsilon=4", "--delta=1e-5", "--unit-ids=folded"]),
    ],
)
def test_bad_settings_have_the_command_lines_words(
    demo: rldp.Demo, tmp_path: Path, settings: dict[str, object], flags: list[str]
) -> None:
    code, words = command_line("train", f"--model={demo.model}", f"--train={demo.train}", f"--out={tmp_path / 'a'}", *flags)
    with pytest.raises(rldp.SettingError) as caught:
        rldp.train(model=demo.model, train=demo.train, out=tmp_path / "a", **settings)
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, rldp.RldpError)
    assert code == 2 and str(caught.value) == words
    assert not (tmp_path / "a").exists()


def test_refused_input_has_the_command_lines_words(demo: rldp.Demo, small: dict[str, object], tmp_path: Path) -> None:
    code, words = command_line("evaluate", f"--model={demo.model}", "--data=none.csv")
    with pytest.raises(rldp.RefusedError) as caught:
        rldp.evaluate(model=demo.model, data="none.csv")
    assert code == 1 and str(caught.value) == words
    with pytest.raises(rldp.RefusedError, match="holds no run"):
        rldp.Run(tmp_path)


def refused(error: type[Exception], small: dict[str, object], train: object, tmp_path: Path, **more: object) -> str:
    with pytest.raises(error) as caught:
        rldp.train(**{**small, **more}, train=train, out=tmp_path / "run")
    shown = "".join(traceback.format_exception(caught.type, caught.value, caught.value.__traceback__))
    assert SECRET not in shown, "an error shows a record"
    return str(caught.value)


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (["p1", "P1"], "row 2: its unit and that of row 1 of memory:train differ only in case"),
        (["7", " 7"], "--unit-ids trimmed"),
        (["a", None], "row 2: `patient` is null"),
        (["a", ""], "row 2: the unit column is empty"),
        ([1.0, 1.5], "row 2: `patient` is a floating-point number with a fraction"),
        (pandas.to_datetime(["2020-01-01", "2020-01-02"]), "`patient` is a date or a time"),
    ],
)
def test_units_are_checked_as_in_files(small: dict[str, object], tmp_path: Path, ids: object, says: str) -> None:
    frame = pandas.DataFrame({"text": [f"{SECRET} one", f"{SECRET} two"], "patient": ids})
    assert says in refused(rldp.RefusedError, small, frame, tmp_path)


def test_numbers_of_one_value_are_one_unit(small: dict[str, object], notes: pandas.DataFrame, tmp_path: Path) -> None:
    """Whole numbers, floats and their spellings, as in a file."""
    numbers = pandas.factorize(notes.patient)[0]
    mixed = pandas.concat([notes.assign(patient=numbers), notes.assign(patient=numbers.astype(numpy.float64))])
    as_text = notes.assign(patient=[f"{number}.0" for number in numbers])
    for index, frame in enumerate((mixed, pandas.concat([notes.assign(patient=numbers.astype(str)), as_text]))):
        out = tmp_path / str(index)
        assert rldp.train(**small, train=frame, out=out).manifest["units"] == 60


def test_columns_are_named(small: dict[str, object], notes: pandas.DataFrame, tmp_path: Path) -> None:
    words = refused(rldp.RefusedError, small, notes.rename(columns={"patient": "who"}), tmp_path)
    assert words == "memory:train: there is no column `patient`; the columns are: `text`, `who`" or "`who`" in words
    assert "the table is empty" in refused(rldp.RefusedError, small, notes.head(0), tmp_path)
    numbers = notes.assign(text=range(len(notes)))
    assert "row 1: `text` is a number, but must be a string" in refused(rldp.RefusedError, small, numbers, tmp_path)


def test_other_libraries_words_stay_inside(small: dict[str, object], tmp_path: Path) -> None:
    """pandas and pyarrow quote what they cannot convert."""
    frame = pandas.DataFrame({"text": [f"{SECRET}", b"bytes"], "patient": [f"{SECRET}", 7]})
    assert "cannot be handed over as an Arrow table" in refused(rldp.RefusedError, small, frame, tmp_path)


def test_what_is_no_table_is_refused(small: dict[str, object], tmp_path: Path) -> None:
    words = refused(rldp.SettingError, small, {"text": [SECRET]}, tmp_path)
    assert words.startswith("train is a dict, but must be a path, a DataFrame")
    words = refused(rldp.SettingError, small, "train.csv", tmp_path, rank={"a": 1})
    assert words.startswith("rank is a dict, but must be text, a number")


def test_private_records_are_no_evaluation_records(
    small: dict[str, object], notes: pandas.DataFrame, public: pandas.DataFrame, tmp_path: Path
) -> None:
    words = refused(rldp.RefusedError, small, notes, tmp_path, eval=notes)
    assert "--eval memory:eval is the training table memory:train" in words
    assert "is the training table" in refused(rldp.RefusedError, small, notes, tmp_path, eval=notes, allow_shared_eval=True)
    some = pandas.concat([public, notes.head(1)])
    assert "holds records that --train holds too" in refused(rldp.RefusedError, small, notes, tmp_path, eval=some)
    words = refused(rldp.SettingError, small, notes, tmp_path, public="memory:train")
    assert "--public names files" in words


def test_a_run_that_was_changed_does_not_verify(run: rldp.Run, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    metrics = copy / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"step":6', '"step":7', 1))
    changed = rldp.Run(copy)
    assert not changed.verify()["holds"]
    with pytest.raises(rldp.VerificationError, match="DOES NOT HOLD") as caught:
        changed.verify(strict=True)
    assert caught.value.checks
