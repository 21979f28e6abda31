"""Copies of a queue that were not made by `backup`: each becomes a queue of its own."""

from __future__ import annotations

import os
import shutil
from contextlib import closing

import pytest

from queuectl.core.errors import QueueReplaced
from queuectl.core.hooks import NewHook
from queuectl.core.models import Worker
from queuectl.core.states import JobState
from queuectl.host import files, processes
from queuectl.storage import Storage
from queuectl.storage.for_workers import WorkerStorage
from support.forks import in_processes
from support.rows import add, sql
from support.schedules import add_schedule
from support.watch.file_watch import by_hand


def at(path):
    return files.find(str(path), None, False)


@pytest.fixture
def original(tmp_path):
    """The path of a queue to which nothing is connected."""
    (tmp_path / "a").mkdir(0o700)
    path = tmp_path / "a" / "queue.db"
    Storage.open(at(path), create=True).close()
    return path


def copy_of(original, name="b"):
    """Copy everything of a queue to another folder, as `cp -a` does."""
    folder = original.parent.with_name(name)
    with by_hand():
        shutil.copytree(original.parent, folder)
    return folder / original.name


def named(path, now):
    """Return what `name_copy` says, and the id of the queue afterwards."""
    with closing(Storage.open(at(path), write=True)) as storage:
        return storage.name_copy(now=now), storage.queue_id


def test_a_copy_gets_an_id_of_its_own_once(original, clock):
    """Prevents: a retry in the copy ended the running job of the original."""
    copy = copy_of(original)
    first, second = named(copy, clock.now), named(copy, clock.now)

    assert first == (0, second[1])
    assert second == (None, first[1])
    assert named(original, clock.now) == (None, named(original, clock.now)[1])
    assert first[1] != named(original, clock.now)[1]


def test_a_copy_is_known_before_workers_have_ever_served_the_original(original, clock):
    """The note is made with the file: a queue may be copied before its first worker starts."""
    assert named(copy_of(original), clock.now)[0] == 0


def test_a_moved_queue_stays_what_it_is(original, clock):
    """Its jobs run on under its id."""
    before = named(original, clock.now)[1]
    moved = original.parent.with_name("moved")
    os.rename(original.parent, moved)

    assert named(moved / original.name, clock.now) == (None, before)


def test_each_copy_of_a_backup_gets_an_id_of_its_own(original, tmp_path, clock):
    """One backup may be restored in several places."""
    with closing(Storage.open(at(original), write=True)) as storage:
        storage.back_up(str(tmp_path / "backup.db"), now=clock.now)
    ids = {named(original, clock.now)[1]}
    for name in ("c", "d"):
        (tmp_path / name).mkdir(0o700)
        with by_hand():
            shutil.copy2(tmp_path / "backup.db", tmp_path / name / "queue.db")
        ids.add(named(tmp_path / name / "queue.db", clock.now)[1])

    assert len(ids) == 3


def test_a_paused_job_that_dies_in_a_copy_is_not_paused_there(original, tmp_path, clock):
    """Prevents: a dead job was listed as paused. One that is retried stays paused."""
    (tmp_path / "c").mkdir(0o700)
    copy = tmp_path / "c" / "queue.db"
    with closing(Storage.open(at(original), write=True)) as storage:
        add(storage, clock.now, "last", max_retries=1)
        add(storage, clock.now, "retried", max_retries=2)
        for worker in ("w-1", "w-2"):
            storage.claim(worker, now=clock.now)
        for job_id in ("last", "retried"):
            storage.pause(storage.get(job_id), now=clock.now, clock=1.0)
        storage.back_up(str(copy), now=clock.now)

    with closing(Storage.open(at(copy))) as storage:
        jobs = [storage.get(job_id) for job_id in ("last", "retried")]
    assert [(job.state, job.paused_at) for job in jobs] == [
        (JobState.DEAD, None),
        (JobState.FAILED, clock.now),
    ]


def test_processes_that_start_on_a_copy_at_once_name_it_once(original, clock):
    copy = copy_of(original)
    results = in_processes([lambda: named(copy, clock.now)] * 4)

    assert sorted(repr(result[0]) for result in results) == ["0", "None", "None", "None"]
    assert len({result[1] for result in results}) == 1


def test_jobs_that_run_in_the_original_are_lost_in_the_copy(original, clock):
    """Those whose processes are gone are left to the recovery, which may know how they ended."""
    pid = os.getpid()
    ticks, boot = processes.start_ticks(pid), processes.boot_id()
    starts = {"w-1": (pid, ticks, boot), "w-2": (pid, 1, boot), "w-3": (pid, ticks, "other boot")}
    with closing(Storage.open(at(original), write=True)) as storage:
        add(storage, clock.now, "a", "b", "c")
        for worker, start in starts.items():
            storage.register_worker(Worker(worker, "w", *start, "host", (), clock.now))
            storage.claim(worker, now=clock.now)
    copy = copy_of(original)

    assert named(copy, clock.now)[0] == (1 if ticks is not None else 3)
    with closing(Storage.open(at(copy))) as storage:
        job = storage.get("a")
        assert job.state is JobState.FAILED
        assert job.last_error == "lost: it runs in the queue that this one was copied from"
        if ticks is not None:
            assert [worker.id for worker in storage.workers()] == ["w-2", "w-3"]
            assert storage.get("b").state is storage.get("c").state is JobState.PROCESSING
    with closing(Storage.open(at(original))) as storage:
        assert storage.by_state()[JobState.PROCESSING] == 3


def test_a_worker_refuses_a_copy_that_was_not_named(original, clock):
    """It was put in the place of the file after `worker start` had looked at that."""
    copy = copy_of(original)
    with closing(WorkerStorage.open(at(copy), write=True)) as storage:
        with pytest.raises(QueueReplaced):
            storage.refuse_copy()
    named(copy, clock.now)
    with closing(WorkerStorage.open(at(copy), write=True)) as storage:
        storage.refuse_copy()


@pytest.mark.parametrize("made_by", ["backup", "cp"])
def test_what_is_lost_in_a_copy_has_ended_there_as_any_other_job(original, clock, made_by):
    """Hooks report it, and its schedule knows. Prevents a bug: nobody was told of these deaths."""
    add_schedule(at(original), "nightly", now=clock.now)
    with closing(Storage.open(at(original), write=True)) as storage:
        events = ("dead", "failed", "drained")
        storage.add_hook(NewHook("ops", events, command="notify"), now=clock.now)
        process = os.getpid(), processes.start_ticks(os.getpid()), processes.boot_id()
        storage.register_worker(Worker("w-1", "w", *process, "host", (), clock.now))
        add(storage, clock.now, "last", max_retries=1, on_failure="undo")
        add(storage, clock.now, "again", "odd")
        for _ in range(3):
            storage.claim("w-1", now=clock.now)
        sql(storage, "UPDATE jobs SET schedule = 'nightly' WHERE id = 'last'")
        sql(storage, "UPDATE jobs SET label = x'6162' WHERE id = 'odd'")
        copy = original.parent / "backup.db"
        storage.back_up(str(copy), now=clock.now)
    if made_by == "cp":
        copy = copy_of(original)
        assert named(copy, clock.now)[0] == 3

    with closing(Storage.open(at(copy))) as storage:
        reported = [
            (name, job.env["QUEUECTL_EVENT"], job.env["QUEUECTL_PARENT_ID"])
            for name in ("on-failure", "ops")
            for job in storage.hook_jobs(name, most=9)
        ]
        assert storage.miscounts() == []
        assert sql(storage, "SELECT last_ended FROM schedules") == [("dead",)]
    assert reported == [
        ("on-failure", "job.dead", "last"),
        ("ops", "job.failed", "again"),
        ("ops", "job.dead", "last"),
    ]
    with closing(Storage.open(at(original))) as storage:
        assert storage.hook_jobs("ops", most=9) == []
