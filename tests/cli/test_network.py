"""A queue on a network file system, which the kernel's list of mounts shows."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import pytest

from support.processes import linux_only
from support.queue import Queue

pytestmark = linux_only


def _mount(monkeypatch: pytest.MonkeyPatch, place: Path, kind: str) -> None:
    """Pretend in that list that a file system of this kind is mounted there."""
    mounted = str(place).replace(" ", "\\040")
    mounts = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        f"23 22 0:40 / {mounted} rw,relatime shared:5 - {kind} host:/export rw\n"
        f"24 22 0:41 / {mounted}-beside rw - ext4 /dev/sdb1 rw\n"
    )
    really = builtins.open

    def pretended(path: Any, mode: str = "r", *args: Any, **more: Any) -> Any:
        if path != "/proc/self/mountinfo":
            return really(path, mode, *args, **more)
        return io.BytesIO(mounts.encode()) if "b" in mode else io.StringIO(mounts)

    monkeypatch.setattr(builtins, "open", pretended)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "a share"
    made.mkdir()
    return made


@pytest.mark.parametrize(("command", "more"), [("enqueue", "true"), ("worker start", "--drain")])
@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p"])
def test_no_queue_is_created_on_a_network_file_system(
    queue: Queue, place: Path, monkeypatch: pytest.MonkeyPatch, kind: str, command: str, more: str
) -> None:
    """One line names the path and what to do; the exit code is 1; nothing is written."""
    database = place / "queue.db"
    _mount(monkeypatch, place, kind)
    called = queue.run("--db", str(database), *command.split(), more)

    assert (called.code, called.out) == (1, "")
    assert called.err == (
        f"queuectl {command}: {database} is on a network file system ({kind}), "
        "where a queue is not safe (use --db with a path on a local disk)\n"
    )
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(("kind", "beside"), [("tmpfs", ""), ("nfs4", "-beside"), ("nfs4", "-too")])
def test_a_local_file_system_is_accepted(
    queue: Queue, place: Path, monkeypatch: pytest.MonkeyPatch, kind: str, beside: str
) -> None:
    """So is one with a similar name."""
    folder = Path(f"{place}{beside}")
    folder.mkdir(exist_ok=True)
    _mount(monkeypatch, place, kind)

    assert queue.run("--db", str(folder / "queue.db"), "enqueue", "true").code == 0


def test_doctor_reports_a_queue_on_a_network_file_system(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that was copied there can be read, but doctor reports a failure."""
    queue.enqueue("true")
    _mount(monkeypatch, queue.database.parent, "nfs4")
    called = queue.run("doctor")

    assert called.code == 1
    assert [line for line in called.out.splitlines() if "file system" in line] == [
        "fail  file system: nfs4, a network file system: locks do not work there"
    ]
