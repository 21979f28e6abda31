"""Sessions in the documentation: blocks of `console`, compared with what the program prints now.

A line that begins with `$ ` is typed on a terminal of 80 columns; the lines below it are what
appears. QUEUECTL_REWRITE_SCREENS=1 puts what appears now into the page; look at the difference
before you commit it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Iterator

from support.pages import Page
from support.queue import Queue
from support.screens import stable
from support.terminal import on_terminal

_HOME = "/home/me"
_CONTROL = re.compile("\x1b\\[[0-9;?]*[a-zA-Z]|\r")
_CLOCK = re.compile(r"\b\d\d:\d\d:\d\d\b")
_BATCH = re.compile(r"(?<=-)[0-9a-f]{6}(?![0-9a-z])")
_ANY_TIME = re.compile(r"\b\d+(\.\d+)? (s|ms|min|h)\b")


def check(queue: Queue, page: Page, path: Path, heading: str) -> None:
    """Type all sessions under a heading, in their order; compare what they show."""
    sessions = [b.text for b in page.blocks if (b.heading, b.language) == (heading, "console")]
    assert sessions
    now = ["".join(_typed(queue, session)) for session in sessions]
    if os.environ.get("QUEUECTL_REWRITE_SCREENS"):
        text = path.read_text(encoding="utf-8")
        for before, after in zip(sessions, now):
            text = text.replace(f"```console\n{before}```", f"```console\n{after}```")
        path.write_text(text, encoding="utf-8")
    else:
        hint = f"QUEUECTL_REWRITE_SCREENS=1 writes the session into {path.name} anew"
        assert _comparable("\n".join(now)) == _comparable("\n".join(sessions)), hint


def _typed(queue: Queue, session: str) -> Iterator[str]:
    """Yield the commands of a session, each with what it shows."""
    env = {"QUEUECTL_DB": "", "NO_COLOR": "1", "TERM": "dumb"}  # dumb: nothing is redrawn
    for line in session.splitlines():
        if line.startswith("$ "):
            yield f"{line}\n"
            shown = on_terminal(
                queue, "-c", line[2:], program=["sh"], streams="stdout stderr", env=env,
                size=(80, 24),
            ).screen  # fmt: skip
            shown = _CONTROL.sub("", shown.replace(str(queue.home), _HOME))
            yield "".join(f"{shown_line.rstrip()}\n" for shown_line in shown.split("\n")[:-1])


def _comparable(text: str) -> str:
    """Return a text in which ids, times, durations and the widths of columns are the same.

    The lines that a command shows are sorted: jobs that run at the same time end in any order.
    """
    text = _BATCH.sub("a1b2c3", _CLOCK.sub("12:00:00", stable(text)))
    text = re.sub(r"[ \t]+", " ", _ANY_TIME.sub("1 s", text))
    parts = re.split(r"^(\$ .*\n)", text, flags=re.MULTILINE)
    return "".join("".join(sorted(part.splitlines(keepends=True))) for part in parts)
