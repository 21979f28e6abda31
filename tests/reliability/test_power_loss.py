"""If the power fails at any moment, acknowledged jobs and results are on the disk."""

from __future__ import annotations

import json
import random
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from queuectl.core.models import Selection
from queuectl.core.times import utcnow
from queuectl.host import files
from queuectl.storage import Storage
from support.calls import COMMAND
from support.power_cut import CALLS, Disk, Event, read_trace
from support.queue import Queue
from support.stages import STAGING
from support.tracing import LONG, needs_strace, sample, under_strace

pytestmark = [pytest.mark.on_disk, needs_strace, pytest.mark.timeout(3600)]

_MANY = ("m1", "m2", "m3", "m4", "m5")
_STARTS = ("first", "second", *_MANY, "third", "fourth")
_SCRIPT = """
queuectl config set durability {durability} -q
queuectl enqueue --id first 'exit 0'
queuectl enqueue --id second 'exit 0'
{staging} queuectl enqueue --file {many}
queuectl worker start --drain
queuectl enqueue --id third 'exit 0'
queuectl prune --older-than 1d -q
queuectl enqueue --id fourth 'exit 0'
queuectl worker start --drain --max-jobs 1
"""
_COMPLETED = re.compile(rb" (\w+) completed in ")


def _traced(queue: Queue, durability: str) -> list[Event]:
    """Return the writes of some enqueues, one of them of many jobs, two pools and a prune."""
    trace = queue.folder / "trace"
    options = ["-y", "-xx", "-s", "200000", "-o", str(trace), "-e", f"trace={CALLS}"]
    many = queue.folder / "many.jsonl"
    many.write_text("".join(json.dumps({"id": job, "command": "exit 0"}) + "\n" for job in _MANY))
    script = re.sub("^(.*)queuectl ", rf"\1{COMMAND} ", _SCRIPT, flags=re.MULTILINE).format(
        durability=durability, staging=" ".join(map(shlex.quote, STAGING)), many=many
    )
    done = subprocess.run(
        [*under_strace(options), "sh", "-c", script],
        env=queue.env,
        cwd=str(queue.work),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(_STARTS)
    return read_trace(trace)


def _heard(event: Event, ids: set[str], ends: set[str]) -> None:
    """Note what an event acknowledged: a job by its id on stdout, a result by a line of the log."""
    if event.call != "say":
        return
    if event.number == 1:
        # Shells of jobs write their exit status into a file that has this descriptor, too.
        ids.update(set(_STARTS) & set(event.content.decode(errors="replace").split()))
    elif event.number == 2:
        ends.update(name.decode() for name in _COMPLETED.findall(event.content))


def _after_a_power_cut(folder: Path) -> tuple[list[str], set[str], set[str]]:
    """Return the errors of the file, the ids of all jobs, and those of completed jobs."""
    place = files.find(str(folder / "queue.db"), None, False)
    storage = Storage.open(place, create=True)
    try:
        storage.finish_dead_stage(now=utcnow())
        unsound = storage.integrity_errors() + [str(one) for one in storage.miscounts()]
        jobs = list(storage.jobs(Selection()))
        storage.enqueue([], now=utcnow())
        there = {job.id for job in jobs}
        return unsound, there, {job.id for job in jobs if job.state.value == "completed"}
    finally:
        storage.close()


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_what_was_acknowledged_survives_a_power_cut(
    queue: Queue, tmp_path: Path, durability: str
) -> None:
    """After any write, if unsynced data is lost or torn, no printed id and no result is lost.

    With `durability` set to `normal` results may be lost, but no printed id. What is left is a
    sound queue that can be opened, even if it was just being created.
    """
    events = _traced(queue, durability)
    changes = [n for n, event in enumerate(events) if event.path.startswith(str(queue.database))]
    assert len(changes) > 100, "SQLite wrote in a way that this does not follow"
    cuts = set(sample(changes, 80))
    print(f"{len(cuts)} moments")
    disk = Disk(str(queue.folder))
    ids: set[str] = set()
    ends: set[str] = set()
    chance = random.Random(0)
    lost_something = False
    for number, event in enumerate(events):
        disk.happen(event)
        _heard(event, ids, ends)
        if number not in cuts:
            continue
        for share in (0.0, 0.3, 0.7, 1.0) if LONG else (0.0, 0.5):
            left = tmp_path / f"cut-{number}-{share}"
            left.mkdir(mode=0o700)
            disk.leave(left, chance, share)
            unsound, there, completed = _after_a_power_cut(left)
            assert (number, share, unsound) == (number, share, [])
            assert (number, share, ids - there) == (number, share, set())
            assert (number, share, there & set(_MANY)) in (
                (number, share, set()), (number, share, set(_MANY))
            )  # fmt: skip
            if durability == "full":
                assert (number, share, ends - completed) == (number, share, set())
            lost_something = lost_something or there != set(_STARTS)
    assert lost_something
    assert (ids, ends) == (set(_STARTS), {*_STARTS} - {"fourth"} | (ends & {"fourth"}))
