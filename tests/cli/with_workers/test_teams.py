"""A queue that a team shares: each of its users can do what its owner can."""

from __future__ import annotations

import json
import os
import signal
import stat
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Iterator

import pytest

from queuectl.host import lockfiles, processes
from queuectl.host.pools import living_pools
from queuectl.storage.for_workers import WorkerStorage
from support.forks import in_processes
from support.held import UNTIL_GO
from support.queue import Queue
from support.recovery import recovery_by, take_over_missing
from support.waiting import wait_until

_USER, _GROUP = 61_234, 61_000

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@pytest.fixture
def team(queue: Queue) -> Iterator[Path]:
    """A folder as teams have it: new files belong to its group, which can write them."""
    # Neither below the folder of this test nor in TMPDIR: another user must be able to enter it.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            os.chown(folder, 0, _GROUP)
        folder.chmod(0o2770)
        queue.database, queue.work = folder / "queue.db", folder
        queue.env["QUEUECTL_DB"] = str(queue.database)
        yield folder
        queue.close()


def _modes(folder: Path) -> dict[str, str]:
    return {
        path.name: stat.filemode(path.lstat().st_mode)
        for path in sorted(folder.rglob("*"))
        if path.name not in ("home", "go")
    }


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_everything_in_the_folder_of_a_team_belongs_to_the_team(
    queue: Queue, team: Path, umask: int
) -> None:
    """With any umask; other users can access nothing."""
    previous = os.umask(umask)
    try:
        queue.ok("--allow-shared", "enqueue", "seq 2000")
        queue.ok("--allow-shared", "enqueue", UNTIL_GO)
        queue.ok("--allow-shared", "worker", "start", "--detach")
        wait_until(lambda: queue.json("--allow-shared", "status")["jobs"]["processing"] == 1)
        wait_until(lambda: queue.json("--allow-shared", "status")["jobs"]["pending"] == 0)
        modes = _modes(team)
        (team / "go").touch()
        queue.ok("--allow-shared", "worker", "stop")
    finally:
        os.umask(previous)

    assert len(modes) >= 13
    folders = {name: mode for name, mode in modes.items() if mode.startswith("d")}
    assert folders == dict.fromkeys(["queue.db.d", "logs", "workers"], "drwxrws---")
    others = {name: mode[1:] for name, mode in modes.items() if name not in folders}
    assert others == dict.fromkeys(others, "rw-rw----")


def test_a_folder_that_only_others_can_write_makes_no_team(queue: Queue, team: Path) -> None:
    """As in /tmp: the group of a new file is that of its user, not a team's."""
    team.chmod(0o1777)

    queue.ok("--allow-shared", "enqueue", "true")

    modes = _modes(team)
    assert {mode[1:] for mode in modes.values()} == {"rw-------", "rwx------"}


@only_root
def test_another_user_of_the_team_can_do_what_the_owner_can(queue: Queue, team: Path) -> None:
    queue.ok("--allow-shared", "worker", "start", "--detach")

    def as_other(*args: str) -> str:
        called = queue.run("--allow-shared", *args, user=(_USER, _GROUP))
        assert (called.code, called.err) == (0, ""), called
        return called.out

    short = as_other("enqueue", "seq 2000").strip()
    as_other("wait", short)
    assert as_other("logs", short).split() == [str(n) for n in range(1, 2001)]
    assert len(json.loads(as_other("worker", "list", "--json"))) == 1
    held = as_other("enqueue", "sleep 600").strip()
    wait_until(lambda: queue.json("--allow-shared", "show", held)["state"] == "processing")
    as_other("cancel", held)
    wait_until(lambda: queue.json("--allow-shared", "show", held)["state"] == "cancelled")
    assert "fail" not in as_other("doctor")
    queue.ok("--allow-shared", "worker", "stop")


@only_root
def test_the_job_of_another_user_is_left_to_their_workers(queue: Queue, team: Path) -> None:
    """Another user cannot end its processes, so it waits for a worker of the same user."""
    job = queue.ok("--allow-shared", "enqueue", UNTIL_GO)
    queue.ok("--allow-shared", "worker", "start", "--detach")
    wait_until(lambda: queue.json("--allow-shared", "show", job)["state"] == "processing")
    (worker,) = queue.json("--allow-shared", "worker", "list")
    shared = queue.files._replace(allow_shared=True)
    (pool,) = living_pools(shared)
    for pid in (pool.pid, worker["pid"]):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: lockfiles.is_alive(shared, worker["id"]) is False)

    def recover_as_other() -> Any:
        processes.boot_id()  # imports a codec, where only root may be able to read it
        os.setgid(_GROUP)
        os.setuid(_USER)
        with closing(WorkerStorage.open(shared, write=True, wait_seconds=1)) as storage:
            recovery = recovery_by("w-1", storage)
            adopted = recovery.take_over(worker["id"])
            others = take_over_missing(recovery)
        return [adopted, others, lockfiles.is_alive(shared, worker["id"])]

    assert in_processes([recover_as_other]) == [[None, [], None]]
    assert queue.json("--allow-shared", "show", job)["state"] == "processing"
    (team / "go").touch()
    queue.ok("--allow-shared", "worker", "start", "--drain")
    shown = queue.json("--allow-shared", "show", job)
    assert (shown["state"], shown["attempts"]) == ("completed", 1)
