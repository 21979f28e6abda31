#!/usr/bin/env python3
"""Record .github/demo.svg: a terminal session with queuectl, as an animated picture.

    .ci/demo.py [FILE.svg]

It types the commands of SESSION into a shell in tmux, which has to be installed, with the queuectl
that is on the PATH or in .venv. What appears is recorded at fixed moments of the session and not
at fixed times, so each recording shows the same pictures, apart from ids and times. The SVG has
no script: CSS shows one picture after the other, in the colours that the reader prefers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unicodedata
from pathlib import Path
from typing import Callable, Iterator, NamedTuple
from xml.sax.saxutils import escape

COLUMNS, LINES = 80, 20
CELL_WIDTH, CELL_HEIGHT, MARGIN = 8.4, 17, 14

_CHECKOUT = Path(__file__).resolve().parents[1]

_ENCODE = """\
#!/bin/sh
# Stands for a program that takes a while, and fails for one file.
case $1 in
*3.wav) sleep 1; [ -s "$1" ] || { echo "$1: no audio in this file" >&2; exit 1; } ;;
*) sleep "$(echo "$1" | tr -dc 1-9 | sed 's/.*/2.&/')" ;;
esac
echo "wrote ${1%.wav}.ogg"
"""


class Step(NamedTuple):
    """A command that is typed, and the moments at which the screen is recorded."""

    command: str
    moments: tuple[str, ...] = ()
    """Conditions to wait for while the command runs, in their order: `ended N` jobs."""
    key: str = ""
    """The key that ends the command, by its name in tmux; empty if it ends by itself."""
    hold: float = 2.0
    """How long the last picture of the command is shown, in seconds."""


SESSION = (
    Step("ls", hold=1.5),
    Step("queuectl enqueue --max-retries 1 ./encode ::: *.wav", hold=3.5),
    Step("queuectl worker start --count 4 --detach", hold=3),
    Step(
        "queuectl status --watch",
        moments=("ended 0", "ended 1", "ended 2", "ended 5", "ended 9"),
        key="C-c",
        hold=2.5,
    ),
    Step("clear", hold=0.3),
    Step("queuectl dlq list", hold=3),
    Step("queuectl logs @failed", hold=2.5),
    Step("cp take1.wav take3.wav", hold=1),
    Step("queuectl dlq retry --all", hold=2),
    Step("queuectl wait --all && echo all done", hold=4),
)


class Picture(NamedTuple):
    """What is on the screen, and for how long."""

    rows: tuple[str, ...]
    """The lines with their escape sequences."""
    seconds: float


# The recording


def record(folder: Path) -> list[Picture]:
    """Play the session in an empty folder; return the pictures."""
    (folder / "encode").write_text(_ENCODE)
    (folder / "encode").chmod(0o755)
    for number in range(1, 10):
        (folder / f"take{number}.wav").write_text("" if number == 3 else "sound\n")
    environment = {
        "HOME": str(folder),
        "PATH": f"{_place_of_queuectl()}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TMUX_TMPDIR": str(folder.parent),
    }
    screen = _Screen(folder, environment)
    try:
        screen.prepare()
        return list(_play(screen))
    finally:
        subprocess.run(["queuectl", "worker", "stop", "--now", "-q"], env=environment, check=False)
        screen.close()


def _place_of_queuectl() -> str:
    found = shutil.which("queuectl") or str(_CHECKOUT / ".venv" / "bin" / "queuectl")
    if not os.path.exists(found) or shutil.which("tmux") is None:
        sys.exit("demo.py: queuectl and tmux must be installed")
    return os.path.dirname(found)


class _Screen:
    """A terminal in which a shell runs."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._environment = environment
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES),
            "-c", str(folder), "sh",
        )  # fmt: skip

    def prepare(self) -> None:
        """Leave nothing on the screen but a prompt."""
        self._tmux("set", "-g", "status", "off")
        self.type("PS1='$ '; clear")  # a shell of root shows # otherwise
        self.press("Enter")
        self.until(self.is_at_prompt)

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", "demo", *words],
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", "--", text)

    def press(self, key: str) -> None:
        self._tmux("send-keys", key)

    def rows(self) -> tuple[str, ...]:
        return tuple(self._tmux("capture-pane", "-p", "-e").split("\n")[:LINES])

    def is_at_prompt(self) -> bool:
        shown = [row for row in self._tmux("capture-pane", "-p").split("\n") if row.strip()]
        return bool(shown) and shown[-1].rstrip() == "$"

    def shows(self, text: str) -> bool:
        return text in self._tmux("capture-pane", "-p")

    def ended(self) -> int:
        """Return how many jobs have ended."""
        done = subprocess.run(
            ["queuectl", "status", "--json"], env=self._environment, stdout=subprocess.PIPE,
            check=True,
        )  # fmt: skip
        jobs = json.loads(done.stdout)["jobs"]
        return int(jobs["completed"] + jobs["dead"])

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            if time.monotonic() > deadline:
                sys.exit("demo.py: waited for too long for\n" + "\n".join(self.rows()))
            time.sleep(0.05)

    def close(self) -> None:
        self._tmux("kill-server")


def _play(screen: _Screen) -> Iterator[Picture]:
    for step in SESSION:
        yield from _typing(screen, step.command)
        screen.press("Enter")
        for moment in step.moments:
            count = int(moment.split()[1])
            screen.until(lambda count=count: screen.ended() >= count)
            time.sleep(1.2)  # The display is updated once a second.
            yield Picture(screen.rows(), 1.2)
        if step.key:
            screen.press(step.key)
        screen.until(screen.is_at_prompt)
        yield Picture(screen.rows(), step.hold)


def _typing(screen: _Screen, command: str) -> Iterator[Picture]:
    for start in range(0, len(command), 3):
        part = command[start : start + 3]
        screen.type(part)
        shown = f"$ {command[: start + 3].rstrip()}"
        screen.until(lambda shown=shown: screen.shows(shown))
        yield Picture(screen.rows(), 0.12)
    yield Picture(screen.rows(), 0.4)


# The picture

_STYLES = {1: "b", 2: "d", 31: "r", 32: "g", 33: "y", 34: "u", 35: "m", 36: "c"}
"""Classes of the styles that may appear: bold, dim and colours."""
_SEQUENCE = re.compile("\x1b\\[([0-9;]*)m")

_CSS = """
.s{fill:#f6f8fa}text{fill:#1f2328;white-space:pre}.b{font-weight:bold}.d{fill:#656d76}
.r{fill:#cf222e}.g{fill:#1a7f37}.y{fill:#9a6700}.u{fill:#0969da}.m{fill:#8250df}.c{fill:#1b7c83}
@media(prefers-color-scheme:dark){.s{fill:#161b22}text{fill:#e6edf3}.d{fill:#8b949e}
.r{fill:#ff7b72}.g{fill:#3fb950}.y{fill:#d29922}.u{fill:#58a6ff}.m{fill:#d2a8ff}.c{fill:#39c5cf}}
.f{opacity:0;animation-duration:%ss;animation-timing-function:step-end;animation-iteration-count:infinite}
@media(prefers-reduced-motion:reduce){.f{animation:none}.z{opacity:1}}
"""


def to_svg(pictures: list[Picture]) -> str:
    """Return the animation. A row that stays the same is drawn once, for all that time."""
    total = sum(picture.seconds for picture in pictures)
    starts = [sum(p.seconds for p in pictures[:number]) for number in range(len(pictures) + 1)]
    width = round(COLUMNS * CELL_WIDTH + 2 * MARGIN)
    height = LINES * CELL_HEIGHT + 2 * MARGIN
    shown: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for number, picture in enumerate(pictures):
        for row, text in enumerate(picture.rows):
            spans = shown.setdefault((row, text), [])
            if spans and spans[-1][1] == number:
                spans[-1] = (spans[-1][0], number + 1)
            else:
                spans.append((number, number + 1))
    names: dict[str, str] = {}
    rows = []
    for (row, text), spans in shown.items():
        drawn = _row(text)
        if drawn:
            frames = _keyframes([(starts[a] / total, starts[b] / total) for a, b in spans])
            name = names.setdefault(frames, f"k{len(names)}")
            last = " z" if spans[-1][1] == len(pictures) else ""
            at = MARGIN + CELL_HEIGHT * row + 13
            rows.append(
                f'<g class="f{last}" style="animation-name:{name}" '
                f'transform="translate({MARGIN} {at})">{drawn}</g>'
            )
    css = _CSS % f"{total:.2f}" + "".join(
        f"@keyframes {name}{{{frames}}}\n" for frames, name in names.items()
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-size="14" '
        'font-family="ui-monospace,SFMono-Regular,Menlo,DejaVu Sans Mono,Consolas,monospace">\n'
        f"<title>A terminal session with queuectl</title>\n<style>{css}</style>\n"
        f'<rect class="s" width="{width}" height="{height}" rx="8"/>\n'
        + "\n".join(rows)
        + "\n</svg>\n"
    )


def _keyframes(spans: list[tuple[float, float]]) -> str:
    """Return when something is visible, as shares of the whole time."""
    frames = [] if spans[0][0] == 0 else ["0%{opacity:0}"]
    for start, end in spans:
        frames.append(f"{start * 100:.3f}%{{opacity:1}}")
        if end < 1:
            frames.append(f"{end * 100:.3f}%{{opacity:0}}")
    return "".join(frames)


def _row(text: str) -> str:
    """Return the parts of a row, each where its first cell is and as wide as its cells."""
    drawn, column = [], 0
    for classes, part in _parts(text):
        stripped = part.rstrip(" ")
        if stripped.strip():
            start = column + len(stripped) - len(stripped.lstrip(" "))
            cells = _cells(stripped.lstrip(" "))
            style = f' class="{classes}"' if classes else ""
            drawn.append(
                f'<text x="{start * CELL_WIDTH:.1f}" textLength="{cells * CELL_WIDTH:.1f}"{style}>'
                f"{escape(stripped.lstrip(' '))}</text>"
            )
        column += _cells(part)
    return "".join(drawn)


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """Yield the classes of each part of a row, and the part."""
    active: set[str] = set()
    at = 0
    for found in _SEQUENCE.finditer(text):
        if found.start() > at:
            yield " ".join(sorted(active)), text[at : found.start()]
        at = found.end()
        for code in (int(word or 0) for word in found[1].split(";")):
            if code in (0, 22, 39):
                active &= set() if code == 0 else {"b", "d"} if code == 39 else set("rgyumc")
            elif code in _STYLES:
                active.add(_STYLES[code])
    if at < len(text):
        yield " ".join(sorted(active)), text[at:]


def _cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def main() -> None:
    """Record the session into the file that is named, or into .github/demo.svg."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else _CHECKOUT / ".github" / "demo.svg"
    with tempfile.TemporaryDirectory(prefix="queuectl-demo-") as above:
        folder = Path(above) / "music"
        folder.mkdir()
        pictures = record(folder)
    target.write_text(to_svg(pictures), encoding="utf-8")
    seconds = sum(picture.seconds for picture in pictures)
    sys.stdout.write(f"{target}: {len(pictures)} pictures, {seconds:.0f} s\n")


if __name__ == "__main__":
    main()
