"""The cost of keeping output: jobs of queuectl against the same commands with files."""

from __future__ import annotations

import subprocess
import time

from limits import xargs
from measurement import Figure, Measurement, Value, single
from place import Place, epoch_seconds, timed, wait_until

_PRINTED = {"1KB": 1_000, "1MB": 1_000_000}


def measurements(place: Place) -> list[Measurement]:
    """List the measurements of output."""
    megabytes = place.sizes.big_output / 1e6
    return [
        *(
            single(
                f"xargs-{size}",
                f"xargs -P2, jobs that write {size} to a file each",
                "jobs/s",
                lambda count=count: _xargs(place, count),
            )
            for size, count in _PRINTED.items()
        ),
        *(
            single(
                f"output-{size}",
                f"drain of jobs that print {size}, 2 workers",
                "jobs/s",
                lambda count=count: _drain(place, count),
                against=f"xargs-{size}",
            )
            for size, count in _PRINTED.items()
        ),
        Measurement(
            "big",
            (
                Figure("big-file", f"sh -c 'head … > FILE' of {megabytes:,.0f} MB", "s"),
                Figure("big-kept", "job that prints as much, all of it kept", "s", "big-file"),
                Figure("big-capped", "job that prints as much, 10 MiB kept", "s", "big-file"),
            ),
            lambda: _big(place),
        ),
    ]


def _print(count: int) -> str:
    return f"head -c {count} /dev/zero"


def _xargs(place: Place, count: int) -> float:
    with place.folder() as folder:
        return xargs([f"{_print(count)} > {folder}/{n}" for n in range(place.sizes.output_jobs)])


def _drain(place: Place, count: int) -> float:
    with place.queue() as queue:
        queue.load(place.sizes.output_jobs, _print(count))
        return place.sizes.output_jobs / queue.drain(2)


def _big(place: Place) -> dict[str, Value]:
    command = _print(place.sizes.big_output)
    with place.folder() as folder:
        words = ["sh", "-c", f"{command} > {folder}/file"]
        to_file = timed(lambda: subprocess.run(words, check=True))
    return {
        "big-file": to_file,
        "big-kept": _job(place, command, "2GiB"),
        "big-capped": _job(place, command, "10MiB"),
    }


def _job(place: Place, command: str, limit: str) -> float:
    """Return the seconds from the start of a job until its end and its output are recorded."""
    with place.queue() as queue:
        queue.call("config", "set", "output-limit", limit)
        with queue.workers(1):
            queue.call("enqueue", command)
            wait_until(lambda: queue.finished() == 1)
            ended = time.time()
        ((started,),) = queue.read("SELECT started_at FROM executions")
    return ended - epoch_seconds(started)
