"""Process titles: `ps` tells the supervisor from its workers, if setproctitle is installed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.processes import linux_only
from support.queue import Queue

_FAKE = """
import os

def setproctitle(title):
    with open(os.environ["TEST_TITLES"], "a") as titles:
        titles.write(f"{os.getpid()} {title} {os.environ['SPT_NOENV']}\\n")
"""


def _with_module(queue: Queue, folder: Path | str) -> dict[str, str]:
    return {"PYTHONPATH": f"{queue.env['PYTHONPATH']}{os.pathsep}{folder}"}


def test_supervisor_and_workers_have_titles(queue: Queue, tmp_path: Path) -> None:
    """Each title has the id that `worker list` and `worker stop` use."""
    (tmp_path / "module").mkdir()
    (tmp_path / "module/setproctitle.py").write_text(_FAKE)
    titles = tmp_path / "titles"
    env = {**_with_module(queue, tmp_path / "module"), "TEST_TITLES": str(titles)}
    supervisor = queue.start(workers=2, env=env)
    workers = queue.workers()
    expected = [f"{supervisor.pid} queuectl supervisor {workers[0]['supervisor']} 1"]
    expected += [f"{worker['pid']} queuectl worker {worker['id']} 1" for worker in workers]

    assert sorted(titles.read_text().splitlines()) == sorted(expected)

    job = queue.add('echo "${SPT_NOENV-none}"')
    queue.until(job, "completed")
    assert queue.ok("logs", job) == "none"


@linux_only
def test_a_title_leaves_the_environment_of_its_process_readable(queue: Queue) -> None:
    """A pool that a job has started is found by the job's mark in its environment."""
    module = pytest.importorskip("setproctitle").__file__
    env = {**_with_module(queue, Path(module).parent.parent), "QUEUECTL_EXECUTION": "queue/7"}
    supervisor = queue.start(env=env)
    (worker,) = queue.workers()

    for pid, title in (
        (supervisor.pid, f"queuectl supervisor {worker['supervisor']}"),
        (worker["pid"], f"queuectl worker {worker['id']}"),
    ):
        assert Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0") == title
        assert "QUEUECTL_EXECUTION=queue/7" in Path(f"/proc/{pid}/environ").read_text().split("\0")
