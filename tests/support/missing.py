"""Running a command as if packages that are installed were missing."""

from __future__ import annotations

import subprocess
import sys
from typing import Mapping, Sequence

from support.queue import Queue


def run_without(
    queue: Queue, modules: Sequence[str], *words: str, env: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Run `queuectl WORDS` in a process in which none of these modules can be imported.

    Returns its exit code, its stdout and its stderr.
    """
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({list(modules)!r})); "
        "from queuectl.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env={**queue.env, **(env or {})},
        cwd=str(queue.work),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
