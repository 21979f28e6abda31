"""The textfile: complete at any moment, readable by node_exporter, and never replaced by older."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from queuectl.core.errors import InvalidInput, NoQueue, QueueBusy, QueueUnusable
from queuectl.metrics import textfile
from support.waiting import wait_until


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "node-exporter"
    folder.mkdir()
    return folder / "queuectl.prom"


def _write(target: Path, content: bytes) -> None:
    with textfile.replacing(str(target)) as descriptor:
        os.write(descriptor, content)


def _in_child(target: Path, code: str) -> subprocess.Popen[str]:
    """Start a process that opens the textfile and runs some code before it is complete."""
    program = f"""
        import os, signal, time
        from queuectl.metrics import textfile
        with textfile.replacing({str(target)!r}) as descriptor:
            os.write(descriptor, b'half of it')
            print('writing', flush=True)
            {code}
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    )


def test_the_file_is_replaced(target: Path) -> None:
    """Everybody can read it, also under a strict umask, and nothing else is left."""
    before = os.umask(0o077)
    try:
        _write(target, b"old, and longer")
        _write(target, b"new")
    finally:
        os.umask(before)

    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert os.listdir(target.parent) == ["queuectl.prom"]


def test_an_error_leaves_the_old_file(target: Path) -> None:
    """A queue that is not there is found out after the file was opened."""
    _write(target, b"old")

    def fail_halfway() -> None:
        with textfile.replacing(str(target)) as descriptor:
            os.write(descriptor, b"half")
            raise NoQueue("q")

    with pytest.raises(NoQueue):
        fail_halfway()

    assert target.read_bytes() == b"old"
    assert os.listdir(target.parent) == ["queuectl.prom"]


def test_a_killed_process_leaves_the_old_file(target: Path) -> None:
    """Its unfinished file is not read by node_exporter, and the next process uses it up."""
    _write(target, b"old")
    child = _in_child(target, "os.kill(os.getpid(), signal.SIGKILL)")
    child.communicate()

    assert child.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"
    assert sorted(os.listdir(target.parent)) == ["queuectl.prom", "queuectl.prom.unfinished"]

    _write(target, b"new")

    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["queuectl.prom"]


def test_processes_take_turns(target: Path) -> None:
    """The figures of the later one are newer: it has not collected them before its turn."""
    child = _in_child(target, "time.sleep(0.3)")
    assert child.stdout is not None
    assert child.stdout.readline() == "writing\n"

    _write(target, b"newer")

    assert target.read_bytes() == b"newer"
    child.communicate()
    assert child.returncode == 0
    assert target.read_bytes() == b"newer"
    assert os.listdir(target.parent) == ["queuectl.prom"]


def test_a_turn_does_not_take_for_ever(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """cron starts one every minute; they must not pile up behind one that hangs."""
    monkeypatch.setattr(textfile, "_WAIT_SECONDS", 0.1)
    with textfile.replacing(str(target)), pytest.raises(QueueBusy) as caught:
        _write(target, b"new")

    assert str(caught.value) == f"another process is writing {target} (try again)"
    assert caught.value.exit_code == 75


def test_a_reader_never_sees_a_part(target: Path) -> None:
    """Each time it reads one whole content or the other."""
    contents = [b"a" * 100_000, b"b" * 200_000]
    _write(target, contents[0])
    seen = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(target.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        _write(target, contents[number % 2])
    wait_until(lambda: len(seen) == 2, what="both contents")
    done.set()
    reader.join()

    assert sorted(seen) == contents


@pytest.mark.parametrize("kind", ["link", "hard link", "foreign", "fifo", "folder"])
def test_nothing_else_is_written_through(target: Path, tmp_path: Path, kind: str) -> None:
    """Others may be able to write in that folder, and could put something in our way."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    unfinished = Path(f"{target}.unfinished")
    if kind == "link":
        unfinished.symlink_to(victim)
    elif kind == "hard link":
        os.link(victim, unfinished)
    elif kind == "foreign":
        if os.geteuid() != 0:
            pytest.skip("only root can make a file of somebody else")
        unfinished.touch(0o666)
        os.chown(unfinished, 65534, -1)
    elif kind == "fifo":
        os.mkfifo(unfinished)
    else:
        unfinished.mkdir()

    with pytest.raises(QueueUnusable):
        _write(target, b"new")

    assert victim.read_bytes() == b"precious"
    assert not target.exists()


def test_the_name_must_be_one_that_is_read(target: Path) -> None:
    """node_exporter ignores other files, without a word."""
    with pytest.raises(InvalidInput, match=r"must end in \.prom: "):
        _write(target.with_suffix(".txt"), b"new")


def test_the_lock_ends_with_the_process(target: Path) -> None:
    """An unfinished file that nobody writes can be locked at once."""
    Path(f"{target}.unfinished").write_bytes(b"left")
    with textfile.replacing(str(target)) as descriptor:
        again = os.open(f"{target}.unfinished", os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(again)
        assert os.fstat(descriptor).st_size == 0
