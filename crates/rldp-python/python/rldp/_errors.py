"""Exceptions. Their words are those of the command line."""

from __future__ import annotations


class RldpError(Exception):
    """Anything that rldp refuses. Messages never show a record."""


class SettingError(RldpError, ValueError):
    """A setting is unknown, out of bounds, or does not go with another (exit code 2 of the command line)."""


class RefusedError(RldpError):
    """The input was refused: a file, a column, a record, a run (exit code 1)."""


class VerificationError(RefusedError):
    """A run does not prove its claim. ``checks`` holds the checks that failed."""

    def __init__(self, message: str, checks: list[dict[str, object]]) -> None:
        super().__init__(message)
        self.checks = checks


class InternalError(RldpError, RuntimeError):
    """A defect of rldp (exit code 3); please report it."""
