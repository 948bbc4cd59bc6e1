"""From a table to a run."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pandas
import pyarrow
import pytest

import rldp


def test_a_frame_goes_in_and_a_run_that_verifies_comes_out(run: rldp.Run) -> None:
    assert run.finished and run.claim["target_epsilon"] == 8 and run.claim["unit"] == "patient"
    found = run.verify(strict=True)
    assert found["holds"] and found["closed"] and all(check["passed"] for check in found["checks"])
    assert isinstance(run.metrics, pandas.DataFrame)
    steps = run.metrics[run.metrics.kind == "step"]
    assert list(steps.step) == [1, 2, 3, 4, 5, 6] and steps.epsilon_spent.iloc[-1] <= 8
    assert (run.adapter / "adapter_model.safetensors").exists() and run.report().name == "report.html"


def test_the_manifest_says_what_was_in_memory_and_nothing_private(run: rldp.Run, public: pandas.DataFrame) -> None:
    tables = run.manifest["in_memory"]
    assert tables["train"] == {"columns": ["text", "patient"]}, "neither rows nor a digest of private records"
    assert tables["eval"]["columns"] == ["text"] and tables["eval"]["records"] == len(public)
    assert len(tables["eval"]["sha256"]) == 64
    config = (run.path / "config.toml").read_text()
    assert 'train = "memory:train"' in config and 'eval = "memory:eval"' in config


def test_records_reach_no_file(
    small: dict[str, object], notes: pandas.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the run nor in the folder of temporary files, while it runs or after."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    secret = "SECRETMARKER"
    marked = notes.assign(text=notes.text + " " + secret)
    seen: list[str] = []

    def look(event: dict[str, object]) -> None:
        seen.extend(str(path) for path in scratch.rglob("*"))

    run = rldp.train(**small, train=marked, out=tmp_path / "run", callback=look)
    assert seen == [] and list(scratch.rglob("*")) == []
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert len(files) > 8
    assert [path for path in files if secret.encode() in path.read_bytes()] == []
    assert all(path.stat().st_mode & 0o077 == 0 for path in files), "files of a run are the user's alone"


def test_the_process_gets_its_ways_back(run: rldp.Run) -> None:
    before = os.umask(0o022)
    os.umask(before)
    assert before != 0o077
    if hasattr(os, "uname") and os.uname().sysname == "Linux":
        import ctypes

        assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 1, "the process can be traced again"


def evaluations(run: rldp.Run) -> list[float]:
    return [line["nll"] for line in run._lines("metrics.jsonl") if line["kind"] == "eval"]


def test_a_table_trains_the_bits_of_its_file(
    small: dict[str, object], demo: rldp.Demo, notes: pandas.DataFrame, public: pandas.DataFrame, tmp_path: Path
) -> None:
    """Frames, Arrow tables in several batches, categories and views of text are the file that they came from."""
    seeded = {**small, "unsafe_noise_seed": 3}
    file = evaluations(rldp.train(**seeded, train=demo.train, eval=demo.eval, out=tmp_path / "file"))
    assert len(file) == 3
    table = pyarrow.Table.from_pandas(notes, preserve_index=False)
    pieces = pyarrow.concat_tables([table.slice(0, 7), table.slice(7, 1), table.slice(8)])
    packed = pieces.set_column(pieces.schema.get_field_index("text"), "text", pieces["text"].cast(pyarrow.large_string()))
    tables = {
        "frame": notes,
        "pieces": pieces,
        "packed": packed,
        "categories": notes.assign(patient=notes.patient.astype("category")),
    }
    for name, train in tables.items():
        assert evaluations(rldp.train(**seeded, train=train, eval=public, out=tmp_path / name)) == file, name


def test_a_polars_frame_trains_the_bits_of_its_file(
    small: dict[str, object], demo: rldp.Demo, notes: pandas.DataFrame, tmp_path: Path
) -> None:
    polars = pytest.importorskip("polars")
    seeded = {**small, "unsafe_noise_seed": 3, "eval": demo.eval}
    frame = polars.DataFrame({"text": list(notes.text), "patient": list(notes.patient)})
    found = evaluations(rldp.train(**seeded, train=frame, out=tmp_path / "polars"))
    assert found == evaluations(rldp.train(**seeded, train=demo.train, out=tmp_path / "file"))


def test_a_dataset_trains_the_rows_that_it_shows(
    small: dict[str, object], demo: rldp.Demo, notes: pandas.DataFrame, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_pandas(notes, preserve_index=False)
    backwards = whole.select(range(len(whole) - 1, -1, -1))
    seeded = {**small, "unsafe_noise_seed": 3, "eval": demo.eval}
    found = evaluations(rldp.train(**seeded, train=backwards, out=tmp_path / "dataset"))
    expected = evaluations(rldp.train(**seeded, train=notes.iloc[::-1], out=tmp_path / "frame"))
    assert found == expected


def test_a_callback_sees_released_values_alone_and_may_stop(
    small: dict[str, object], notes: pandas.DataFrame, public: pandas.DataFrame, tmp_path: Path
) -> None:
    events: list[dict[str, object]] = []

    def watch(event: dict[str, object]) -> bool:
        events.append(event)
        return event["kind"] == "step" and event["step"] == 4

    run = rldp.train(**small, train=notes, eval=public, out=tmp_path / "run", callback=watch)
    assert not run.finished and run.verify()["holds"]
    written = {(line["kind"], line["step"]): set(line) for line in run._lines("metrics.jsonl")}
    for event in events:
        kind, step = str(event["kind"]), int(str(event["step"]))
        assert set(event) - {"steps"} <= written[kind, step], "an event holds more than the metrics"
    assert [event["step"] for event in events if event["kind"] == "step"] == [1, 2, 3, 4]
    with pytest.raises(rldp.RefusedError, match="memory of a Python program"):
        rldp.resume(run.path)
    done = rldp.resume(run.path, train=notes, eval=public)
    assert done.finished and done.verify(strict=True)["holds"]
    assert sorted(int(step) for step in done.metrics[done.metrics.kind == "step"].step) == [1, 2, 3, 4, 5, 6]


def test_what_a_callback_raises_comes_out_after_the_run_is_saved(
    small: dict[str, object], notes: pandas.DataFrame, tmp_path: Path
) -> None:
    def fail(event: dict[str, object]) -> None:
        raise LookupError(f"at step {event['step']}")

    with pytest.raises(LookupError, match="at step 1") as caught:
        rldp.train(**small, train=notes, out=tmp_path / "run", callback=fail)
    run = rldp.Run(tmp_path / "run")
    assert not run.finished and run.verify()["holds"]
    if hasattr(caught.value, "__notes__"):
        assert "rldp.resume(" in caught.value.__notes__[0] and "train=records" in caught.value.__notes__[0]


def test_other_threads_work_meanwhile(small: dict[str, object], notes: pandas.DataFrame, tmp_path: Path) -> None:
    counted: list[float] = []
    over = threading.Event()

    def count() -> None:
        while not over.is_set():
            counted.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    times: list[float] = []
    rldp.train(**small, train=notes, out=tmp_path / "run", callback=lambda event: times.append(time.perf_counter()))
    over.set()
    thread.join()
    during = [at for at in counted if times[0] < at < times[-1]]
    assert len(during) > len(times), "the interpreter's lock was held through the steps"


def test_two_runs_at_once_do_not_mix(
    small: dict[str, object], notes: pandas.DataFrame, public: pandas.DataFrame, tmp_path: Path
) -> None:
    half = notes[notes.patient.isin(notes.patient.drop_duplicates().head(30))]
    tables = {"whole": notes, "half": half}
    threads = [
        threading.Thread(target=lambda name=name: rldp.train(**small, train=tables[name], out=tmp_path / name))
        for name in tables
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert [rldp.Run(tmp_path / name).manifest["units"] for name in tables] == [60, 30]


def test_progress_is_told_in_lines(
    small: dict[str, object], notes: pandas.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rldp.train(**{**small, "quiet": False}, train=notes, out=tmp_path / "run")
    told = capsys.readouterr().err
    assert "claim: " in told and "plan: 6 steps" in told and "train step 6/6" in told
    rldp.train(**small, train=notes, out=tmp_path / "quiet")
    assert "step" not in capsys.readouterr().err


def test_settings_may_stand_in_a_file(demo: rldp.Demo, notes: pandas.DataFrame, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    rldp.plan(units=60, epsilon=8, delta=1e-4, unit_column="patient", max_length=48, steps=4, batch_size=12, write_config=plan)
    run = rldp.train(model=demo.model, train=notes, config=plan, out=tmp_path / "run", quiet=True)
    assert run.claim["target_epsilon"] == 8 and len(run.metrics[run.metrics.kind == "step"]) == 4
    assert json.loads((run.path / "manifest.json").read_text())["unit"] == "patient"
