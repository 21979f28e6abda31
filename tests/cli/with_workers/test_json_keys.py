"""The topic `json` names every key of every JSON document, and no other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from queuectl.core.states import JobState
from support.commands import commands
from support.json_page import keys
from support.queue import Queue
from support.waiting import wait_until

_STATES = [state.value for state in JobState]


@pytest.fixture
def documents(queue: Queue) -> dict[str, Any]:
    """What each command prints with --json, in a queue with a worker, a running and a dead job."""
    queue.ok("hook", "add", "told", "--on", "completed", "true")
    queue.ok("schedule", "add", "often", "every 1h", "--", "true")
    queue.ok("schedule", "run", "often")
    queue.ok("enqueue", "--id", "done", "--env", "A=1", "true")
    queue.ok("enqueue", "--id", "dead", "--max-retries", "1", "exit 3")
    queue.ok("worker", "start", "--drain", "-q")
    queue.ok("enqueue", "--id", "next", "--after", "done", "sleep 60")
    queue.start()
    wait_until(lambda: queue.workers()[0]["job_pid"], what="the process of the job")
    calls = {
        "status": "status",
        "list": "list",
        "show": "show next",
        "why": "why next",
        "wait": "wait done dead",
        "dlq list": "dlq list",
        "worker list": "worker list",
        "queue list": "queue list",
        "config list": "config list",
        "config get": "config get retention",
        "doctor": "doctor",
        "hook list": "hook list",
        "hook show": "hook show told",
        "schedule list": "schedule list",
        "schedule show": "schedule show often",
        "schedule next": "schedule next often",
        "stats": "stats",
        "sql": "sql SELECT+1+AS+one",
    }
    calls["wait --all"] = "wait --all --timeout 0"
    batch = queue.run("run", "--json", "true", as_process=True)
    # Some of them do not exit with 0: a job is dead, and another one still runs.
    printed = {
        name: queue.run(*(word.replace("+", " ") for word in words.split()), "--json").out
        for name, words in calls.items()
    }
    return {name: json.loads(out) for name, out in {**printed, "run": batch.out}.items()}


def test_every_key_is_on_the_page_and_no_other(documents: dict[str, Any]) -> None:
    """Scripts rely on these names."""
    job = keys("A job")
    attempt = keys("An attempt")
    worker = keys("A worker")
    shown = documents["show"]

    assert {tuple(found) for found in documents["list"]} == {tuple(job)}
    assert {tuple(found) for found in documents["dlq list"]} == {tuple(job)}
    assert list(shown) == [*job, *keys("A job with its attempts")]
    assert {tuple(found) for found in shown["executions"]} == {tuple(attempt)}
    assert {tuple(found) for found in documents["worker list"]} == {tuple(worker)}
    assert list(documents["status"]) == keys("The status")
    assert list(documents["status"]["jobs"]) == _STATES
    assert {tuple(found) for found in documents["status"]["workers"]} == {tuple(worker)}
    findings = documents["status"]["findings"]
    assert {tuple(found) for found in findings} == {tuple(keys("A finding"))}
    progress, running = keys("The progress of a queue"), keys("A running job")
    assert {tuple(found) for found in documents["status"]["queues"]} == {tuple(progress)}
    assert {tuple(found) for found in documents["status"]["running"]} == {tuple(running)}
    assert {tuple(found) for found in documents["queue list"]} == {(*keys("A queue"), *_STATES)}
    assert list(documents["run"]) == keys("A batch")
    assert list(documents["run"]["jobs"]) == _STATES
    assert list(documents["why"]) == keys("An explanation")
    endings = documents["wait"]
    of_one, of_all = keys("An ending")[:6], keys("An ending")[6:]
    assert {tuple(found) for found in endings} == {tuple(of_one)}
    assert list(documents["wait --all"]) == of_all
    assert {tuple(found) for found in documents["config list"].values()} == {
        tuple(keys("The configuration"))
    }
    assert isinstance(documents["config get"], str)
    assert {tuple(found) for found in documents["doctor"]} == {tuple(keys("A check"))}


def test_every_key_of_hooks_and_schedules_is_on_the_page(documents: dict[str, Any]) -> None:
    """Scripts rely on these names, too."""
    hook, schedule = keys("A hook"), keys("A schedule")
    only_shown = ["next", "problem", "ticks"]
    assert {tuple(found) for found in documents["hook list"]} == {tuple(hook)}
    assert list(documents["hook show"]) == [*hook, "jobs"]
    runs = documents["hook show"]["jobs"]
    assert {tuple(run) for run in runs} == {tuple(keys("A hook", "Key of its job"))}

    listed = [name for name in schedule if name not in only_shown]
    assert {tuple(found) for found in documents["schedule list"]} == {tuple(listed)}
    shown = documents["schedule show"]
    assert list(shown) == schedule
    following = tuple(keys("A schedule", "Key of a next time"))
    assert {tuple(found) for found in (*shown["next"], *documents["schedule next"])} == {following}
    assert {tuple(found) for found in shown["ticks"]} == {
        tuple(keys("A schedule", "Key of a tick"))
    }


def test_every_key_of_the_figures_is_on_the_page(documents: dict[str, Any]) -> None:
    """The columns of `sql` are those of the query."""
    figures = documents["stats"]
    group = keys("A group of the statistics")
    assert list(figures) == keys("The statistics")
    assert {tuple(found) for found in figures["groups"]} == {tuple(group)}
    assert list(figures["total"]) == group[1:]
    distributions = [found[name] for found in figures["groups"] for name in ("wait", "run")]
    assert {tuple(one) for one in distributions} == {tuple(keys("A distribution of durations"))}
    assert documents["sql"] == [{"one": 1}]


def test_every_command_with_json_is_tested(documents: dict[str, Any]) -> None:
    """A new command with --json lands with its keys on the page."""
    with_json = {
        name
        for name, command in commands().items()
        if any("--json" in param.opts for param in command.params)
    }

    assert with_json == documents.keys() - {"wait --all"}
