"""The command line that a wheel brings."""

from __future__ import annotations

import signal
import sys

from . import _rldp


def main() -> None:
    """``rldp …``; ``python -m rldp …`` is the same."""
    # The command line has its own ways with Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_rldp.main(["rldp", *sys.argv[1:]], [sys.executable, "-m", "rldp"]))
