"""What the kernel knows about processes, and ending them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from queuectl.host.processes import is_suspended
from support.waiting import wait_until

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        return text.rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        if Path("/proc/self").exists():
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def words_of(pid: int) -> list[bytes]:
    """Return the words of the command line of a process; none if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def waits_for_lock(pid: int) -> bool:
    """Whether a process waits within the kernel for a lock that another one holds (Linux only)."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and str(pid) in line.split() for line in lines)


def status_field(pid: int, name: str) -> str:
    """Return a field of /proc/PID/status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return line.partition(":")[2].strip()
    raise KeyError(name)


def suspend(*pids: int) -> None:
    """Stop processes by SIGSTOP, and wait until they stand: a busy machine takes its time."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(map(is_suspended, pids)), what="the processes to stop")


def kill(*pids: int) -> None:
    """Kill processes, and wait until they are gone."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, pids)), what="the killed to be gone")
