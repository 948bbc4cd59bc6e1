"""Where notes and progress go: a line that renews itself in a notebook and on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import sys
from typing import Any, Callable, Dict, Optional

Callback = Callable[[Dict[str, Any]], Optional[bool]]


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


class Listener:
    """What a call tells. A callback that returns ``True`` stops a run, and what it raises is raised again once the run is saved."""

    def __init__(self, callback: Callback | None = None, quiet: bool = False) -> None:
        self.callback = callback
        self.quiet = quiet
        self.stopped = False
        self.failed = False
        notebook = in_notebook()
        self.stream: Any = sys.stdout if notebook else sys.stderr
        self.renews = notebook or bool(getattr(self.stream, "isatty", lambda: False)())
        self.width = 0

    def note(self, label: str, text: str) -> None:
        """A sentence on a line of its own."""
        self.end_line()
        self.write(f"{label}: {text}\n")

    def progress(self, event: str, words: str, milestone: bool) -> bool:
        """An event, handed to the callback; its words are shown."""
        if not self.quiet:
            self.show(words, milestone)
        if self.callback is not None:
            # Until it returns, it has failed.
            self.failed = True
            self.stopped = self.callback(json.loads(event)) is True or self.stopped
            self.failed = False
        return self.stopped

    def show(self, words: str, milestone: bool) -> None:
        """Renews the line, or writes one now and then."""
        if self.renews:
            self.write("\r" + words.ljust(self.width))
            self.width = len(words)
        elif milestone:
            self.write(words + "\n")

    def end_line(self) -> None:
        """What is written next stands on a line of its own."""
        if self.width > 0:
            self.write("\n")
            self.width = 0

    def write(self, text: str) -> None:
        """Notebooks and services may have no standard error."""
        if self.stream is not None:
            self.stream.write(text)
            self.stream.flush()
