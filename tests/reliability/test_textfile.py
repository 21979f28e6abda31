"""SIGKILL, and errors of the disk, at every system call that writes the textfile of `metrics`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client", reason="needs the extra metrics")

from support.queue import Queue
from support.small_disk import on_small_disk
from support.tracing import announced, faults, needs_strace, points, recording, sample, strace

_KILL = "signal=SIGKILL"
_OLD = "# the old figures\n"

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture
def target(queue: Queue) -> Path:
    """The textfile, with old figures, of a queue that has one job."""
    folder = queue.folder / "node-exporter"
    folder.mkdir()
    queue.enqueue("true")
    queue.close_storage()
    return _put_back(folder / "queuectl.prom")


def _put_back(target: Path) -> Path:
    for path in target.parent.iterdir():
        path.unlink()
    target.write_text(_OLD)
    return target


def _fill(disk: Path) -> None:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as ballast_file, suppress(OSError):
        while True:
            ballast_file.write(b"x" * 4096)


def _assert_complete(target: Path) -> None:
    """The old figures are there, or all of the new ones."""
    text = target.read_text()
    assert text == _OLD or text.splitlines()[-1].startswith("queuectl_build_info{"), text
    assert (target.stat().st_mode & 0o777) == 0o644


@needs_strace
@pytest.mark.on_disk
def test_a_kill_leaves_complete_figures(queue: Queue, target: Path) -> None:
    """The next call replaces them, and nothing is left of the one that was killed."""
    target.chmod(0o644)
    prefix = queue.folder / "trace"
    words = ("metrics", "--textfile", str(target))
    assert strace(queue, recording(prefix), *words).code == 0
    every = points(prefix, queue)
    assert {"flock", "fsync", "rename", "write"} <= {point.call for point in every}
    for point in sample(every, 12):
        _put_back(target).chmod(0o644)
        strace(queue, point.inject(_KILL), *words)
        _assert_complete(target)
        assert set(os.listdir(target.parent)) <= {"queuectl.prom", "queuectl.prom.unfinished"}
        queue.ok(*words)
        assert "queuectl_jobs{" in target.read_text(), point
        assert os.listdir(target.parent) == ["queuectl.prom"], point


@needs_strace
@pytest.mark.on_disk
def test_an_error_leaves_complete_figures(queue: Queue, target: Path) -> None:
    """The command fails with one line, or it has written everything."""
    prefix = queue.folder / "trace"
    words = ("metrics", "--textfile", str(target))
    assert strace(queue, recording(prefix), *words).code == 0
    for fault in announced(faults(points(prefix, queue))):
        _put_back(target).chmod(0o644)
        done = strace(queue, fault.options, *words)
        if done.code != 0 and "queuectl" not in done.err:
            continue  # Python itself could not start
        _assert_complete(target)
        assert done.code in (0, 1, 75), (fault, done)
        assert len(done.err.splitlines()) == (done.code != 0), (fault, done)
        if fault.point.call not in ("flock", "unlink"):  # then nobody can remove it
            assert os.listdir(target.parent) == ["queuectl.prom"], fault


def test_a_full_disk_leaves_the_old_figures(queue: Queue) -> None:
    """The command says so, and removes what it could not complete."""
    with on_small_disk(queue, "8m") as disk:
        queue.enqueue("true")
        queue.close_storage()
        target = disk / "queuectl.prom"
        target.write_text(_OLD)
        _fill(disk)

        message = queue.fails(1, "metrics", "--textfile", str(target))

        assert message == f"queuectl metrics: cannot write {target}: No space left on device"
        assert target.read_text() == _OLD
        assert not Path(f"{target}.unfinished").exists()
