"""How states and messages are styled: which signs and colours they have, and when.

Only these styles are used: red, always bold; green for a sign or a bar; bold; and faint. Yellow and
cyan cannot be read on white (contrast 1.7 and 2.0 in xterm), and bright black is invisible on the
dark Solarized theme (1.0). No text depends on a colour: each state is a word, too, with a sign
beside it on a terminal.

Text is styled here whether or not colours are wanted: click drops the codes where they are not.
"""

from __future__ import annotations

import click

from queuectl.cli import output
from queuectl.core.states import SIGNS, JobState


def good(text: str) -> str:
    """Style something that went well. Not for words: green is too light to read on white."""
    return click.style(text, fg="green")


def bad(text: str) -> str:
    """Style something that went wrong."""
    return click.style(text, fg="red", bold=True)


def strong(text: str) -> str:
    """Style something that matters now."""
    return click.style(text, bold=True)


def faint(text: str) -> str:
    """Style something of less interest."""
    return click.style(text, dim=True)


def state_word(state: JobState) -> str:
    """Return the name of a state with its style."""
    if state in (JobState.DEAD, JobState.FAILED):
        return bad(state.value)
    if state is JobState.PROCESSING:
        return strong(state.value)
    return faint(state.value) if state is JobState.CANCELLED else state.value


def state_sign(state: JobState) -> str:
    """Return the sign of a state with its style; empty if stdout cannot show it."""
    if output.needs_ascii():
        return ""
    sign = SIGNS[state]
    if state is JobState.COMPLETED:
        return good(sign)
    if state in (JobState.DEAD, JobState.FAILED):
        return bad(sign)
    if state is JobState.PROCESSING:
        return strong(sign)
    return faint(sign)


def signed_state(state: JobState) -> str:
    """Return the sign and the name of a state with their styles: `✓ completed`."""
    return f"{state_sign(state)} {state_word(state)}".lstrip()
