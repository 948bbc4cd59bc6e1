"""Ctrl-C, as a real signal to a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

import rldp

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")

TRAIN = """
import json, sys
import pandas, rldp
settings, train, out = json.loads(sys.argv[1]), pandas.read_csv(sys.argv[2], dtype=str), sys.argv[3]
rldp.train(**settings, train=train, out=out, callback=lambda event: print("event", flush=True))
print("not stopped", flush=True)
"""

EVALUATE = """
import sys
import pandas, rldp
data = pandas.concat([pandas.read_csv(sys.argv[2], dtype=str)] * 2000)
print("event", flush=True)
rldp.evaluate(model=sys.argv[1], data=data)
print("not stopped", flush=True)
"""


def heeds_ctrl_c() -> None:
    """In the child: what is started in the background is started deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(script: str, *words: object) -> subprocess.Popen[str]:
    """A Python at work on ``script``, after its first event."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", script, *map(str, words)], preexec_fn=heeds_ctrl_c, **pipes)
    assert process.stdout is not None
    if process.stdout.readline() != "event\n":
        pytest.fail(process.communicate()[1])
    return process


def test_ctrl_c_saves_a_run_and_says_how_to_go_on(small: dict[str, object], demo: rldp.Demo, tmp_path: Path) -> None:
    settings = {**small, "model": str(demo.model), "steps": 4000}
    process = started(TRAIN, json.dumps(settings), demo.train, tmp_path / "run")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGINT, err
    assert "not stopped" not in out
    last = err.strip().splitlines()[-1]
    assert last == f"KeyboardInterrupt: the run is stopped and saved; continue with rldp.resume('{tmp_path}/run', train=records)"
    run = rldp.Run(tmp_path / "run")
    assert not run.finished and run.verify()["holds"]
    assert run.ledger[-1]["kind"] == "pause"
    charged = run.ledger[-1]["steps_charged"]
    train = pandas.read_csv(demo.train, dtype=str)
    more = rldp.resume(run.path, train=train, quiet=True, callback=lambda event: event["step"] >= charged + 2)
    assert more.verify()["holds"] and more.ledger[-1]["steps_charged"] == charged + 2


def test_ctrl_c_ends_an_evaluation(demo: rldp.Demo) -> None:
    process = started(EVALUATE, demo.model, demo.eval)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGINT and "not stopped" not in out
    assert err.strip().splitlines()[-1].startswith("KeyboardInterrupt")


def test_ctrl_c_stops_the_command_line_of_the_wheel(small: dict[str, object], demo: rldp.Demo, tmp_path: Path) -> None:
    """Its own handler saves the run; Python's must not stand in its way."""
    settings = {name: value for name, value in {**small, "steps": 60}.items() if name != "quiet"}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "rldp", "train", *flags, f"--train={demo.train}", f"--out={tmp_path / 'run'}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, preexec_fn=heeds_ctrl_c, **pipes)
    assert process.stderr is not None
    told = [next(line for line in process.stderr if " step 6/60 " in line)]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and f"rldp train --resume {tmp_path}/run" in err, (told, err)
    assert rldp.Run(tmp_path / "run").ledger[-1]["kind"] == "pause"
