"""What a short command imports: a module that it does not need makes its user wait."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.calls import COMMAND
from support.queue import Queue

# Modules that cost milliseconds, and that only some commands have a use for.
_SLOW = {
    "asyncio", "concurrent.futures", "ctypes", "difflib", "email", "http", "importlib.metadata",
    "importlib.resources", "inspect", "locale", "logging", "multiprocessing", "pickle", "random",
    "selectors", "shlex", "shutil", "socket", "ssl", "subprocess", "tabulate", "tempfile", "urllib",
    "zipfile",
}  # fmt: skip
# The packages of the extras. prometheus_client takes 85 ms, flask with waitress 180 ms and 30 MB.
_EXTRAS = {"cronsim", "flask", "jinja2", "prometheus_client", "waitress", "werkzeug", "zoneinfo"}
_OURS = {
    "queuectl.worker.chores", "queuectl.worker.loop", "queuectl.worker.supervisor",
    "queuectl.runner.attempt", "queuectl.runner.process_tree", "queuectl.runner.run",
    "queuectl.cli.commands.config", "queuectl.cli.commands.enqueue_many",
    "queuectl.cli.commands.completion", "queuectl.cli.commands.dlq", "queuectl.cli.commands.logs",
    "queuectl.cli.commands.worker", "queuectl.cli.help_layout", "queuectl.cli.markdown",
    "click.shell_completion",
}  # fmt: skip


@pytest.mark.parametrize(
    "words",
    ["enqueue true", "enqueue -q true", 'enqueue {"command":"true"}', "status", "list"],
)
def test_no_slow_module_is_imported_without_need(queue: Queue, words: str) -> None:
    """Off a terminal, `enqueue`, `status` and an empty `list` import only what they use."""
    queue.ok("config", "set", "max-retries", "3")

    imported = _imported(queue, COMMAND, *words.split())

    assert {"click", "sqlite3", "queuectl.storage"} <= imported
    assert _needless(queue, imported) == []


def test_the_first_enqueue_is_as_fast(queue: Queue) -> None:
    """To create the queue takes no further modules."""
    imported = _imported(queue, COMMAND, "enqueue", "true")

    assert _needless(queue, imported) == []


@pytest.mark.parametrize("words", ["--version", "config get max-retries", "worker list --json",
                                   "dlq list", "list --ids", "list --json"])  # fmt: skip
def test_only_tables_import_tabulate(queue: Queue, words: str) -> None:
    """tabulate is the slowest module, and only commands that print a table import it."""
    queue.enqueue("true")

    assert (
        sorted(_imported(queue, COMMAND, *words.split()) & {"tabulate", "importlib.metadata"}) == []
    )


def test_wait_imports_nothing_of_the_pool(queue: Queue) -> None:
    """It looks for living workers, but imports neither supervisor nor worker nor logging."""
    queue.ok("config", "set", "max-retries", "3")
    imported = _imported(queue, COMMAND, "wait", "--all")

    assert "queuectl.host.lockfiles" in imported
    assert (
        sorted(imported & {"logging", "queuectl.worker.supervisor", "queuectl.worker.loop"}) == []
    )


def test_a_table_imports_tabulate(queue: Queue) -> None:
    """This proves that these tests see an import."""
    queue.enqueue("true")

    assert "tabulate" in _imported(queue, COMMAND, "list")


@pytest.mark.skipif(sys.version_info < (3, 10), reason="-X importtime does not outlive an exec")
def test_workers_import_nothing_of_the_command_line(queue: Queue) -> None:
    """Their process has imported neither click nor the storage of the other commands."""
    header = "import time: self [us] | cumulative | imported package\n"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", COMMAND, "worker", "start", "--drain", "-q"],
        env=queue.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = (_modules(part) for part in done.stderr.split(header)[1:])

    assert "click" in before
    assert "queuectl.worker.loop" in after
    assert {name.partition(".")[0] for name in after} & ({"click", "tabulate"} | _EXTRAS) == set()
    assert {name for name in after if name.startswith("queuectl.cli")} == {"queuectl.cli"}
    users = {"storage.full", "storage.enqueueing", "core.jobfile", "core.specs", "storage.legacy"}
    assert {f"queuectl.{name}" for name in users} <= before
    # Nor what only other commands, or only pools on a terminal, make use of.
    others = users | {"storage.queries", "storage.finding", "worker.screen"}
    assert {f"queuectl.{name}" for name in others} & after == set()
    # Each would take memory of every worker, and logging as much as 0.3 MB.
    heavy = {"inspect", "logging", "random", "subprocess", "threading", "tokenize", "traceback"}
    assert heavy & after - _imported(queue, "-c", "") == set()


def _needless(queue: Queue, imported: set[str]) -> list[str]:
    """Return the slow ones of these modules. (With older Pythons, click itself needs locale.)

    click imports `inspect`, too, which we keep from being loaded.
    """
    of_click = _imported(queue, "-c", "import click") - {"inspect"}
    return sorted((imported & (_SLOW | _EXTRAS | _OURS)) - of_click)


def _imported(queue: Queue, *words: str) -> set[str]:
    """Return the modules that `python WORDS` imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words],
        env=queue.env,
        cwd=str(queue.work),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return _modules(done.stderr)


def _modules(report: str) -> set[str]:
    return {
        line.rpartition("|")[2].strip()
        for line in report.splitlines()
        if line.startswith("import time:")
    }
