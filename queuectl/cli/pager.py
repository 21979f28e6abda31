"""Printing a long text through the user's pager, if somebody sits at a terminal."""

from __future__ import annotations

import os
import signal
import sys

from queuectl.cli import output


def print_page(text: str) -> None:
    """Print a text: through $PAGER (default: less) on a terminal, else as it is."""
    if not (sys.stdin.isatty() and output.can_animate() and _through_pager(text)):
        output.print_data(text, line_break=False)


def _through_pager(text: str) -> bool:
    """Return whether a pager was started; without one nothing was printed."""
    import shutil  # only when it is needed
    import subprocess  # only when it is needed

    pager = os.environ.get("PAGER", "less" if shutil.which("less") else "")
    if pager in ("", "cat"):
        return False
    env = dict(os.environ)
    # As git does: leave at once if the text fits on the screen, print colours, do not clear.
    env.setdefault("LESS", "FRX")
    env.setdefault("LESSCHARSET", "utf-8")
    process = subprocess.Popen(["sh", "-c", pager], stdin=subprocess.PIPE, env=env)
    # Ctrl+C belongs to the pager, which would otherwise fight with our shell for the terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.communicate(text.encode(errors="surrogateescape"))
    except BrokenPipeError:  # it was left before the end
        process.wait()
    return process.returncode != 127  # sh found no such program
