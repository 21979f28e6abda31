"""`show` for a job that runs."""

from __future__ import annotations

import re

from support.queue import Queue
from support.waiting import wait_until


def test_what_a_running_job_has_used_so_far(queue: Queue) -> None:
    """Its process, the CPU time and memory of all its processes, and its output."""
    busy = "sleep 60 & head -c 20000 /dev/zero; while :; do :; done"
    job = queue.enqueue(busy, "--timeout", "0")
    queue.start()

    def fields() -> dict[str, str]:
        lines = queue.ok("show", job).partition("\n\n")[0].splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    wait_until(lambda: fields().get("CPU", "0 s") > "0.1", what="the job to use the CPU")
    shown = fields()

    pid = queue.show(job)["executions"][0]["pid"]
    assert re.fullmatch(rf"{pid} \([23] processes\)", shown["Process"])
    assert re.fullmatch(r"[0-9.]+ s so far", shown["CPU"])
    assert re.fullmatch(r"[0-9.]+ MiB now", shown["Memory"])
    assert shown["Output"] == "20 KiB so far"
    queue.ok("cancel", job)
    wait_until(lambda: queue.state(job) == "cancelled", what="the job to end")
    assert {"Process", "CPU", "Memory"}.isdisjoint(fields())
