"""Runs as objects, and what the package says of itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas
import pytest

import rldp
from rldp import _rldp, _show, _train


def test_a_run_shows_itself_in_a_notebook(run: rldp.Run) -> None:
    shown = run._repr_html_()
    assert shown.startswith("<table>") and len(shown) < 2000
    assert "<th>claim</th>" in shown and "<th>perplexity</th>" in shown and ">6<" in shown
    assert repr(run) == f"Run({str(run.path)!r})"


def test_metrics_need_no_pandas(run: rldp.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    lines = run.metrics
    assert isinstance(lines, list) and lines[0]["kind"] in {"step", "eval"}
    assert not isinstance(lines, pandas.DataFrame)


def test_curves_are_drawn_where_matplotlib_is(run: rldp.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ImportError, match="pip install matplotlib"):
            run.plot()
    pytest.importorskip("matplotlib")
    figure = run.plot()
    assert len(figure.axes) >= 2
    figure.savefig(tmp_path / "plot.png")


def test_a_line_that_is_being_written_is_left_out(run: rldp.Run, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    with (copy / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"kind": "ste')
    assert len(rldp.Run(copy).metrics) == len(run.metrics)


class Screen:
    """A terminal."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


def test_a_terminal_has_one_line_that_renews_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    listener = _show.Listener()
    listener.progress("{}", "train step 1/2", False)
    listener.progress("{}", "train step 2", True)
    listener.note("stopped", "here")
    assert screen.text == "\rtrain step 1/2\rtrain step 2  \nstopped: here\n"


def test_every_setting_is_documented_once(demo: rldp.Demo) -> None:
    """The help, the types and the command line are made from one declaration."""
    names = [name for name, *_ in _rldp.settings_list()]
    assert len(names) == len(set(names)) > 60
    for name in names:
        assert f"      {name}: " in (_train.train.__doc__ or "")
    assert typed_settings() == SETTINGS.read_text("utf-8"), "run the tests with RLDP_BLESS=1 and commit _settings.py"


SETTINGS = Path(__file__).parents[1] / "python" / "rldp" / "_settings.py"

#: Parameters of their own in `rldp.train`.
NAMED = {"model", "train", "eval", "epsilon", "delta", "out"}


def typed_settings() -> str:
    """The settings as a type, for editors and type checkers."""
    lines = [
        '"""Settings of ``rldp train`` as a type. Made from their declaration by tests/test_run.py; do not edit."""',
        "",
        "from __future__ import annotations",
        "",
        "import os",
        "from typing import Any, Literal, Sequence, TypedDict, Union",
        "",
        'Path = Union[str, "os.PathLike[str]"]',
        "",
        "",
        "class Settings(TypedDict, total=False):",
        '    """Keyword arguments of ``rldp.train`` beside its own."""',
        "",
    ]
    for name, _, sentence, kind, _ in _rldp.settings_list():
        if name not in NAMED:
            lines += [f"    {name}: {kind}", f'    r"""{sentence}."""']
    text = "\n".join(lines).replace("import Any, Literal", "import Literal") + "\n"
    if os.environ.get("RLDP_BLESS") == "1":
        SETTINGS.write_text(text, "utf-8")
    return text
