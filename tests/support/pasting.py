"""Examples of the documentation, run as if they were pasted into a shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.queue import Queue

PROGRAMS = {
    "make": 'echo "make $*" >> made',
    "rsync": "exit 0",
    "ffmpeg": 'for last; do :; done; : > "$last"',
    "notify-send": 'echo "$1" >> notified',
    "systemd-inhibit": 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"',
    "sudo": "exit 0",
    "systemctl": "exit 0",
    "loginctl": "exit 0",
}
"""Programs that the examples call, as far as a test cannot run the real ones."""


def paste(
    queue: Queue, script: str, *, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a script in `sh`, with the queue of the test as the default one."""
    return subprocess.run(
        ["sh", "-c", script],
        cwd=str(cwd or queue.work),
        env={**queue.env, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def stub(queue: Queue, name: str, script: str) -> str:
    """Make a program; return a PATH on which it is found."""
    folder = queue.folder / "bin"
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"{folder}:{queue.env['PATH']}"


def stubs(queue: Queue) -> str:
    """Make all PROGRAMS; return a PATH on which they are found."""
    return [stub(queue, name, script) for name, script in PROGRAMS.items()][-1]
