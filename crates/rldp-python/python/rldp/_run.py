"""A run folder as an object."""

from __future__ import annotations

import html
import json
import os
from pathlib import Path
from typing import Any

from ._call import call, result
from ._errors import RefusedError, VerificationError

#: Beside these, a line of the metrics may hold lists.
AXES = (("step", "loss", "released loss"), ("eval", "perplexity", "perplexity"), ("step", "epsilon_spent", "epsilon spent"))


class Run:
    """What a run left: ``Run("run")`` opens the folder of any run, whoever made it.

    Nothing is cached: a run that goes on in another process can be watched.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not (self.path / "config.toml").exists():
            raise RefusedError(f"{self.path} holds no run (no config.toml)")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, machine, model with its digests, the unit."""
        found: dict[str, Any] = json.loads((self.path / "manifest.json").read_text("utf-8"))
        return found

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """The claim, one line a charge, and in a finished run what closes it."""
        return self._lines("ledger.jsonl")

    @property
    def claim(self) -> dict[str, Any]:
        """What the run promises; empty before its ledger begins."""
        found: dict[str, Any] = next((line["claim"] for line in self.ledger if "claim" in line), {})
        return found

    @property
    def statement(self) -> str:
        """The claim in words."""
        return str(self.manifest["statement"])

    @property
    def finished(self) -> bool:
        """Whether the run has made all its steps and closed its ledger."""
        ledger = self.ledger
        return bool(ledger) and ledger[-1].get("kind") == "close"

    @property
    def metrics(self) -> Any:
        """Every line of ``metrics.jsonl``, released and public values: a pandas DataFrame where pandas is installed, else a list of
        dicts. ``kind`` tells ``step``, ``eval`` and ``control`` apart.
        """
        lines = self._lines("metrics.jsonl")
        try:
            import pandas  # type: ignore[import-untyped]
        except ImportError:
            return lines
        return pandas.DataFrame(lines)

    @property
    def adapter(self) -> Path:
        """The adapter's folder: ``peft.PeftModel.from_pretrained(base, run.adapter)`` loads it."""
        return self.path / "adapter"

    def verify(self, public_key: str | os.PathLike[str] | None = None, *, strict: bool = False) -> dict[str, Any]:
        """All checks of ``rldp privacy verify``: ``holds``, ``closed``, ``statement`` and ``checks``, each with ``name``, ``passed`` and
        ``detail``. With ``strict``, a run whose claim does not hold raises :class:`VerificationError`.
        """
        found = result(["privacy", "verify"], {"public_key": public_key}, positional=[self.path])
        failed = [check for check in found["checks"] if not check["passed"]]
        if strict and not found["holds"]:
            words = "; ".join(f"{check['name']}: {check['detail']}" for check in failed)
            raise VerificationError(f"{self.path}: THE CLAIM DOES NOT HOLD ({words})", failed)
        return found

    def report(self) -> Path:
        """The HTML report; written where a run that was stopped has none yet."""
        page = self.path / "report.html"
        if not page.exists():
            call(["report"], {"out": page}, positional=[self.path])
        return page

    def plot(self) -> Any:
        """Released loss, perplexity on public records and spent epsilon over the steps, as a matplotlib Figure."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise ImportError("Run.plot() needs matplotlib: pip install matplotlib; Run.report() needs nothing") from None
        lines = self._lines("metrics.jsonl")
        shown = []
        for kind, key, label in AXES:
            points = [(line["step"], line[key]) for line in lines if line["kind"] == kind and line.get(key) is not None]
            if points:
                shown.append((points, label))
        figure = Figure(figsize=(4 * max(len(shown), 1), 3), layout="constrained")
        for index, (points, label) in enumerate(shown):
            axes = figure.add_subplot(1, len(shown), index + 1)
            axes.plot(*zip(*points), marker="o", markersize=2)
            axes.set_xlabel("step")
            axes.set_ylabel(label)
        return figure

    def _repr_html_(self) -> str:
        evals = [line for line in self._lines("metrics.jsonl") if line["kind"] == "eval"]
        steps = sum(line.get("kind") == "charge" for line in self.ledger)
        rows = [("run", str(self.path)), ("claim", self.statement), ("steps", f"{steps}{'' if self.finished else ', not finished'}")]
        if evals:
            rows.append(("perplexity", f"{evals[0]['perplexity']:.2f} to {evals[-1]['perplexity']:.2f}"))
        cells = "".join(f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in rows)
        return f"<table>{cells}</table>"

    def _lines(self, name: str) -> list[dict[str, Any]]:
        """Whole lines of a file of the run; the last may be one that is being written."""
        path = self.path / name
        text = path.read_text("utf-8") if path.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
