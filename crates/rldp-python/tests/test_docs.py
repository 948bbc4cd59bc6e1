"""The five lines of the documentation, and the notebook, run."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import rldp

DOCS = Path(__file__).parents[3] / "docs"


def first_example(page: str) -> str:
    return (DOCS / page).read_text("utf-8").split("```python\n")[1].split("```")[0]


def test_the_five_line_example_runs(demo: rldp.Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "MODEL_DIR").symlink_to(demo.model)
    (tmp_path / "notes.csv").symlink_to(demo.train)
    monkeypatch.chdir(tmp_path)
    example = first_example("cookbook/python.md")
    assert len([line for line in example.splitlines() if line and not line.startswith("import")]) <= 5
    exec(compile(example, "python.md", "exec"), {})  # noqa: S102
    assert rldp.Run("run").verify(strict=True)["closed"]


def test_examples_in_docstrings_give_what_they_say() -> None:
    found = doctest.testmod(rldp.privacy)
    assert found.attempted > 0 and found.failed == 0


def test_the_notebook_runs(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(DOCS / "python.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert shown and not any(output["output_type"] == "error" for output in shown)
