"""Jobs that run with another /bin/sh."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def own_shell() -> str:
    """Return the name of the shell that /bin/sh is on this machine."""
    return Path("/bin/sh").resolve().name


def in_shell(shell: str) -> list[str]:
    """Return words that, put before a command, make another shell its /bin/sh.

    Skip the test if that is not possible.
    """
    if own_shell() == shell:
        return []
    there = shutil.which(shell)
    if there is None or sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip(f"/bin/sh is {own_shell()}, and cannot be made {shell} for a test")
    swap = f'mount --bind {there} {Path("/bin/sh").resolve()} && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", swap, "-"]
    if subprocess.run([*words, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no mount namespace can be made here")
    return words
