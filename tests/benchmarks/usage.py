"""CPU time, memory and disk writes of processes, read from /proc."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Iterable

from measurement import Missing


def family(pid: int) -> list[int]:
    """Return a PID and those of all descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue  # it ended meanwhile
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time of all these processes together."""
    total = 0.0
    for pid in pids:
        # `schedstat` counts in ns; the ticks of `stat` are too coarse for idle workers.
        accounts = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
        if accounts:
            total += sum(int(_read(str(path)).split()[0]) for path in accounts) / 1e9
        else:
            fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def idle_percent(pids: list[int], seconds: float) -> float:
    """Return the share of one core, in percent, that they use in the next seconds."""
    before, start = cpu_seconds(pids), time.monotonic()
    time.sleep(seconds)
    return 100 * (cpu_seconds(pids) - before) / (time.monotonic() - start)


def memory_mb(pid: int) -> tuple[float, float]:
    """Return the resident and the private memory of a process in MB."""
    kilobytes: dict[str, int] = {}
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines()[1:]:
        key, _, value = line.partition(":")
        kilobytes[key] = int(value.split()[0])
    private = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return kilobytes["Rss"] * 1024 / 1e6, private * 1024 / 1e6


def written_bytes(pids: list[int]) -> int:
    """Return the bytes that these processes have written to the disk."""
    total = 0
    for pid in pids:
        for line in _read(f"/proc/{pid}/io").splitlines():
            if line.startswith("write_bytes:"):
                total += int(line.split()[1])
    return total


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise Missing(f"cannot read {path}") from error
