"""The findings in `status`: what is wrong, and the command that fixes it."""

from __future__ import annotations

from typing import Callable, List, Optional, Sequence, Tuple

from queuectl.cli import colors
from queuectl.core.cells import cut, wrap
from queuectl.core.cells import width as cells
from queuectl.core.escaping import escape
from queuectl.core.findings import Finding, Severity

MOST_FINDINGS = 10
"""How many findings are shown at most."""

_HEADING = "Attention:"
_INDENT = 4
_SIGNS = {Severity.CRITICAL: "!", Severity.WARNING: "-"}
_ALL = "queuectl status --json"

_Line = List[Tuple[str, Optional[Callable[[str], str]]]]


def plain_lines(findings: Sequence[Finding]) -> list[str]:
    """Return one line per finding, below a heading; no lines if there are no findings."""
    if not findings:
        return []
    lines = [_HEADING]
    for finding in findings[:MOST_FINDINGS]:
        remedy = f" ({finding.remedy})" if finding.remedy else ""
        lines.append(f"  {_SIGNS[finding.severity]} {finding.message}{remedy}")
    if len(findings) > MOST_FINDINGS:
        lines.append(f"  … {len(findings) - MOST_FINDINGS} more: {_ALL}")
    return lines


def terminal_lines(findings: Sequence[Finding], width: int, at_most: int) -> list[_Line]:
    """Return the same with styles, within a number of cells and a number of lines.

    A message takes two lines if it needs them. A remedy is never broken, so that it can be copied:
    it has a line of its own if it does not fit behind its message. The last line says how many
    findings are left out.
    """
    if not findings or at_most < 1:
        return []
    lines: list[_Line] = [[(_HEADING, colors.strong)]]
    shown = 0
    for finding in findings[:MOST_FINDINGS]:
        added = _lines_of(finding, width)
        is_last = shown + 1 == len(findings)
        if shown and len(lines) + len(added) + (not is_last) > at_most:
            break
        lines += added
        shown += 1
    if shown < len(findings):
        lines.append([(f"  … {len(findings) - shown} more: {_ALL}", colors.faint)])
    return lines[:at_most]


def _lines_of(finding: Finding, width: int) -> list[_Line]:
    is_critical = finding.severity is Severity.CRITICAL
    style = colors.bad if is_critical else colors.strong
    sign: _Line = [("  ", None), (_SIGNS[finding.severity], style), (" ", None)]
    room = width - _INDENT
    message = escape(finding.message)
    remedy = f"({escape(finding.remedy)})" if finding.remedy is not None else ""
    if remedy and cells(message) + 1 + cells(remedy) <= room:
        return [[*sign, (message, None), (f" {remedy}", colors.faint)]]
    first, *rest = wrap(message, room)
    lines: list[_Line] = [[*sign, (cut(first, room), None)]]
    if rest:
        lines.append([(" " * _INDENT, None), (cut(" ".join(rest), room), None)])
    if remedy:
        lines.append([(" " * _INDENT, None), (cut(remedy[1:-1], room), colors.faint)])
    return lines
