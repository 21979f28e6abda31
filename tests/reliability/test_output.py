"""Jobs that print without limit, or that lose their output, cost neither memory nor disk space."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Callable, NamedTuple

import pytest

from queuectl.runner import output_log
from queuectl.runner.output_log import OutputLog
from support.held import HELD
from support.outcomes import OK
from support.processes import alive, linux_only, status_field
from support.queue import Queue
from support.tracing import LONG
from support.waiting import wait_until

pytestmark = [pytest.mark.on_disk, linux_only, pytest.mark.timeout(1800)]

_LIMIT_BYTES = 1 << 19
_WORKER_BYTES = 100 << 20
_SLACK_BYTES = 16 << 10
"""Blocks of which a part is kept."""

_EXCESS_BYTES = 1.5 * (1 << 30)
"""More disk space than the log of a running job ever takes: 1 GiB, and what it prints meanwhile."""

_HELD = HELD + ";"


class _Case(NamedTuple):
    command: str
    """A shell command that prints `{size}` bytes."""
    size: int
    printed: Callable[[int, int], bytes]
    """Returns the output between two positions, both even."""


_TINY_BYTES = 8
# One line per system call.
_TINY_WRITES = (
    f"{sys.executable} -c 'import os, sys\n"
    'for n in range({size} // 8): os.write(1, b"%07d\\n" % n)'
    "'"
)


def _lines(start: int, stop: int) -> bytes:
    return b"".join(
        b"%07d\n" % number for number in range(start // _TINY_BYTES, stop // _TINY_BYTES)
    )


_CASES = {
    "many lines": _Case(
        "yes | head -c {size}",
        5_000_000_000 if LONG else 50_000_000,
        lambda start, stop: b"y\n" * ((stop - start) // 2),
    ),
    "one line": _Case(
        "head -c {size} /dev/zero | tr '\\0' x",
        1_000_000_000 if LONG else 20_000_000,
        lambda start, stop: b"x" * (stop - start),
    ),
    "tiny writes": _Case(_TINY_WRITES, _TINY_BYTES * (1_000_000 if LONG else 100_000), _lines),
    "truncated between": _Case(
        "yes no | head -c {size}; : > /dev/stdout; yes | head -c {size}",
        1_000_000_000 if LONG else 10_000_000,
        lambda start, stop: b"y\n" * ((stop - start) // 2),
    ),
}


@pytest.mark.parametrize("name", list(_CASES))
def test_output_without_limit_costs_neither_memory_nor_disk_space(queue: Queue, name: str) -> None:
    """The output does not pass through the worker, and takes little more disk space than the limit.

    The first and the last half of the limit are kept, and the job ends with its own exit code.
    """
    case = _CASES[name]
    queue.configure(output_limit=str(_LIMIT_BYTES))
    queue.start()
    queue.until(queue.add("true"), "completed")
    worker = queue.worker()
    log = queue.files.worker_log(worker["id"])
    before = _peak_bytes(worker["pid"])
    command = case.command.replace("{size}", str(case.size))
    job = queue.add(f"{command}; {_HELD} exit 7", timeout=0, max_retries=1)
    on_disk = 0

    def has_printed() -> bool:
        nonlocal on_disk
        on_disk = max(on_disk, os.stat(log).st_blocks * 512)
        return (queue.work / "running").exists()

    wait_until(has_printed, timeout=600, what="the output")
    wait_until(lambda: os.stat(log).st_blocks * 512 <= _LIMIT_BYTES + _SLACK_BYTES, what="the hole")
    queue.let_go()
    queue.until(job, "dead")
    memory = _peak_bytes(worker["pid"])
    print(f"{name}: {case.size} bytes; worker {before} -> {memory} bytes, log {on_disk} on disk")

    (attempt,) = queue.attempts(job)
    assert attempt.outcome is not None
    assert (attempt.outcome.value, attempt.exit_code) == ("exit", 7)
    assert (attempt.output.size_bytes, attempt.output.truncated) == (case.size, True)
    half = _LIMIT_BYTES // 2
    kept = Path(queue.files.execution_log(attempt.id)).read_bytes()
    assert kept.split(b"\n[queuectl: %d bytes not kept]\n" % (case.size - 2 * half)) == [
        case.printed(0, half),
        case.printed(case.size - half, case.size),
    ]
    assert memory < _WORKER_BYTES
    assert memory - before < 5 << 20
    assert on_disk <= _EXCESS_BYTES
    assert alive(worker["pid"])


def test_a_job_that_prints_in_small_pieces_is_limited_too(tmp_path: Path) -> None:
    """Regression: a hole smaller than a block frees nothing, and after days that was everything."""
    log = OutputLog(str(tmp_path / "worker.log"))
    log.begin(1 << 16)
    for _ in range(3000):
        os.write(log.descriptor, b"x" * 100)
        _pause(log)
    on_disk = _bytes_on_disk(log)
    log.remove()

    assert on_disk <= (1 << 16) + _SLACK_BYTES


@pytest.mark.parametrize(
    ("name", "value", "most"),
    [
        ("_MOST_EXCESS_BYTES", 1 << 20, 1 << 20),
        ("_free_bytes", lambda _: 64 << 20, 1 << 20),
        ("_LONGEST_EXCESS_SECONDS", 0.0, 0),
    ],
)
def test_a_job_that_never_pauses_is_limited_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object, most: int
) -> None:
    """It may exceed its limit a little, so that it need not wait at every look."""
    monkeypatch.setattr(output_log, "_LONGEST_EXCESS_SECONDS", 3600.0)
    monkeypatch.setattr(output_log, name, value)
    log = OutputLog(str(tmp_path / "worker.log"))
    log.begin(1 << 16)
    on_disk = []
    for _ in range(64):
        os.write(log.descriptor, b"x" * (1 << 16))
        log.enforce_limit()
        on_disk.append(_bytes_on_disk(log))
    log.remove()

    assert most <= max(on_disk) <= (1 << 16) + most + _SLACK_BYTES


def test_a_cut_output_stays_on_the_disk_until_its_result_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Freeing much space takes time, so it waits for the record, unless that needs the space."""
    sizes = []
    for free in (1 << 30, 1 << 20):
        monkeypatch.setattr(output_log, "_free_bytes", lambda _, free=free: free)
        log = OutputLog(str(tmp_path / "worker.log"))
        log.begin(1 << 16)
        os.write(log.descriptor, b"x" * (1 << 20))
        output = log.add_to(OK, str(tmp_path / "kept.log")).output
        assert (output.size_bytes, output.truncated) == (1 << 20, True)
        sizes.append(os.fstat(log.descriptor).st_size)
        log.clear()
        assert os.fstat(log.descriptor).st_size == 0
        log.remove()

    assert sizes == [1 << 20, 0]


def test_a_leftover_process_does_not_keep_a_cut_output_on_the_disk(tmp_path: Path) -> None:
    """The kept part is in another file by then, and a daemon may have this one open for ever."""
    log = OutputLog(str(tmp_path / "worker.log"))
    log.begin(1 << 16)
    held = os.dup(log.descriptor)
    os.write(held, b"x" * (1 << 20))
    outcome = log.add_to(OK, str(tmp_path / "kept.log"))
    log.remove()
    on_disk = os.fstat(held).st_blocks * 512
    os.close(held)

    output = outcome.output
    assert (output.size_bytes, output.truncated, outcome.leftovers) == (1 << 20, True, True)
    assert (tmp_path / "kept.log").stat().st_size > 1 << 16
    assert on_disk == 0


def test_a_job_survives_if_the_end_of_its_output_cannot_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: without holes, a full disk ended the worker, and each that adopted the job."""
    monkeypatch.setattr(output_log, "_punch", lambda *_: False)
    (tmp_path / "worker.log.tail").mkdir()
    log = OutputLog(str(tmp_path / "worker.log"))
    log.begin(1 << 16)
    for _ in range(3):
        os.write(log.descriptor, b"x" * (1 << 17))
        _pause(log)
    bounded = os.fstat(log.descriptor).st_size
    os.write(log.descriptor, b"end")
    output = log.add_to(OK, str(tmp_path / "kept.log")).output
    log.remove()

    assert bounded == 1 << 15
    assert output.truncated
    assert (output.size_bytes, output.tail[-4:]) == (3 * (1 << 17) + 3, b"xend")
    assert (tmp_path / "kept.log").read_bytes().endswith(b"bytes not kept]\nend")


def _pause(log: OutputLog) -> None:
    """Enforce the limit twice, with nothing printed in between."""
    log.enforce_limit()
    log.enforce_limit()


def _bytes_on_disk(log: OutputLog) -> int:
    return os.fstat(log.descriptor).st_blocks * 512


def _peak_bytes(pid: int) -> int:
    return int(status_field(pid, "VmHWM").split()[0]) * 1024


def test_a_job_that_loses_its_output_ends_with_its_own_exit_code(queue: Queue) -> None:
    """Output that was closed, truncated or redirected is lost, and nothing else."""
    cases = {
        "exec >&- 2>&-; echo lost; exit 0": ("completed", 0, ""),
        "exec >&- 2>&-; echo lost || exit 3": ("dead", 3, ""),
        "exec >&- 2>&- 8>&-; sleep 0.1; exit 3": ("dead", 3, ""),
        "seq 100000; : > /dev/stdout; echo after; exit 3": ("dead", 3, "after\n"),
        "seq 100000; truncate -s 0 /dev/stderr; echo after": ("completed", 0, "after\n"),
        "seq 100000; exec > elsewhere; echo x": ("completed", 0, None),
        "exec > /dev/full; echo x || exit 4": ("dead", 4, None),
    }
    queue.configure(output_limit="10000")
    ids = queue.add_many(*cases, max_retries=1)
    queue.drain(workers=2)

    found = {}
    for (command, (_, _, text)), job in zip(cases.items(), ids):
        ended = queue.get(job)
        printed = None if text is None else queue.run("logs", job).out
        found[command] = (ended.state.value, ended.exit_code or 0, printed)
    assert found == cases


def test_an_output_that_fills_the_disk_costs_only_itself(small_disk: Path, queue: Queue) -> None:
    """The job ends with its own exit code, which is recorded, and the next job runs.

    Regression: the output was kept, and the result waited for ever for the space that it took.
    """
    size = 5_000_000_000 if LONG else 50_000_000
    # Without holes, the disk is full long before the limit is reached.
    queue.configure(output_limit="8MiB")
    full = queue.add(
        f"head -c {size} /dev/zero; echo $? > {queue.work}/code; exit 9", max_retries=1
    )
    after = queue.add("echo after", max_retries=1)
    said = queue.drain(workers=1)

    assert (queue.work / "code").read_text() == "1\n"
    (attempt,) = queue.attempts(full)
    assert (queue.state(full), attempt.exit_code, attempt.output.truncated) == ("dead", 9, True)
    assert attempt.output.size_bytes < 2 << 20
    assert (queue.state(after), queue.ok("logs", after)) == ("completed", "after")
    assert "Traceback" not in said
