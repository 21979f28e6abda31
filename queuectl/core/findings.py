"""Findings: something that is wrong, with its severity; words that findings have in common."""

from __future__ import annotations

from enum import Enum

from queuectl.core.named_tuples import NamedTuple


class Severity(str, Enum):
    """How bad a finding is."""

    CRITICAL = "critical"
    """Jobs do not run as they should, and nobody but a person changes that."""
    WARNING = "warning"
    """Something to know of before it becomes worse."""


class Finding(NamedTuple):
    """Something that is wrong."""

    code: str
    """Its kind, in one word for programs."""
    severity: Severity
    """How bad it is."""
    message: str
    """One sentence for people, without the full stop."""
    detail: str | None = None
    """Further facts that help to understand it; None if there are none."""
    remedy: str | None = None
    """The command that fixes it, or shows more of it; None if there is none."""


def critical(code: str, message: str, remedy: str | None, detail: str | None = None) -> Finding:
    """Return a critical finding."""
    return Finding(code, Severity.CRITICAL, message, detail, remedy)


def warning(code: str, message: str, remedy: str | None, detail: str | None = None) -> Finding:
    """Return a finding that is a warning."""
    return Finding(code, Severity.WARNING, message, detail, remedy)
