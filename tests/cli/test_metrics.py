"""`metrics`: figures on stdout and in a textfile, a dashboard, alert rules, and what is refused."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from queuectl.core.times import utcnow
from queuectl.metrics import collecting
from support.missing import run_without
from support.queue import Queue
from support.rows import sql
from support.waiting import wait_until

needs_package = pytest.mark.skipif(
    not any((Path(folder) / "prometheus_client").is_dir() for folder in sys.path),
    reason="needs the extra metrics",
)


def _values(text: str, name: str) -> dict[str, float]:
    """Return the values of a name by its labels, as they are written."""
    found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


@needs_package
def test_the_figures_of_a_queue(queue: Queue) -> None:
    """They are what the queue holds."""
    for command in ("true", "true", "exit 3"):
        queue.enqueue(command, "--max-retries", "1")
    queue.drain()
    enqueued_at = utcnow()
    queue.enqueue("true", "--queue", "mail")
    queue.enqueue("true", "--queue", "mail", "--delay", "1h")
    queue.ok("queue", "pause", "mail")
    queue.ok("queue", "limit", "default", "4")

    text = queue.ok("metrics")
    seconds = (utcnow() - enqueued_at).total_seconds()

    assert _values(text, "queuectl_jobs") == {
        'queue="default",state="completed"': 2,
        'queue="default",state="dead"': 1,
        'queue="default",state="failed"': 0,
        'queue="default",state="pending"': 0,
        'queue="default",state="processing"': 0,
        'queue="mail",state="dead"': 0,
        'queue="mail",state="failed"': 0,
        'queue="mail",state="pending"': 1,
        'queue="mail",state="processing"': 0,
        'queue="mail",state="scheduled"': 1,
    }
    waited = _values(text, "queuectl_oldest_ready_age_seconds")
    assert waited['queue="default"'] == 0
    assert 0 < waited['queue="mail"'] < seconds
    assert _values(text, "queuectl_queue_paused") == {'queue="default"': 0, 'queue="mail"': 1}
    assert _values(text, "queuectl_queue_limit_jobs") == {'queue="default"': 4}
    assert _values(text, "queuectl_all_queues_paused") == {"": 0}
    size = os.stat(queue.database).st_size
    assert _values(text, "queuectl_database_size_bytes") == {"": size}
    assert _values(text, "queuectl_disk_free_bytes")[""] > 0


def _counters(queue: Queue) -> dict[str, float]:
    """Return all counters and histograms, by their names with labels."""
    return {
        f"{name}{{{labels}}}": value
        for name in (
            "queuectl_jobs_enqueued_total",
            "queuectl_runs_total",
            "queuectl_jobs_finished_total",
            "queuectl_run_cpu_seconds_total",
            "queuectl_run_duration_seconds_bucket",
            "queuectl_run_duration_seconds_sum",
            "queuectl_wait_duration_seconds_bucket",
            "queuectl_wait_duration_seconds_sum",
        )
        for labels, value in _values(queue.ok("metrics"), name).items()
    }


@needs_package
def test_counters_count_what_happened(queue: Queue) -> None:
    """They equal what the attempts in the database say."""
    for command in ("true", "true", "sleep 0.2", "exit 3", "kill -9 $$"):
        queue.enqueue(command, "--max-retries", "2", "--retry-delay", "0")
    queue.enqueue("sleep 60", "--timeout", "0.3", "--max-retries", "1", "--queue", "slow")
    waiting = queue.enqueue("true", "--delay", "1h")
    queue.ok("cancel", waiting)
    queue.drain()
    queue.ok("retry", waiting)

    with queue.opened() as storage:
        rows = sql(
            storage,
            "SELECT queue, outcome, count(*), sum(seconds), sum(waited_seconds), sum(cpu_seconds),"
            "       sum(seconds <= 0.1), sum(seconds <= 0.3)"
            "  FROM executions GROUP BY 1, 2 ORDER BY 1, 2",
        )
    found = _counters(queue)

    runs = {(name, outcome): count for name, outcome, count, *_ in rows}
    assert runs == {
        ("default", "exit"): 2,
        ("default", "ok"): 3,
        ("default", "signal"): 2,
        ("slow", "timeout"): 1,
    }
    for (name, outcome), count in runs.items():
        assert found[f'queuectl_runs_total{{outcome="{outcome}",queue="{name}"}}'] == count
    assert found['queuectl_jobs_enqueued_total{queue="default"}'] == 7  # one of them again
    assert found['queuectl_jobs_enqueued_total{queue="slow"}'] == 1
    for state, of_default, of_slow in (("completed", 3, 0), ("dead", 2, 1), ("cancelled", 1, 0)):
        name = f'queuectl_jobs_finished_total{{queue="%s",state="{state}"}}'
        assert (found[name % "default"], found[name % "slow"]) == (of_default, of_slow)
    for name in ("default", "slow"):
        ran, waited, cpu, shortest, short = (
            sum(row[column] or 0 for row in rows if row[0] == name) for column in range(3, 8)
        )
        label = f'queue="{name}"'
        run, wait = "queuectl_run_duration_seconds", "queuectl_wait_duration_seconds"
        assert found[f"{run}_sum{{{label}}}"] == pytest.approx(ran)
        assert found[f"{wait}_sum{{{label}}}"] == pytest.approx(waited)
        assert found[f"queuectl_run_cpu_seconds_total{{{label}}}"] == pytest.approx(cpu)
        assert found[f'{run}_bucket{{le="0.1",{label}}}'] == shortest
        assert found[f'{run}_bucket{{le="0.3",{label}}}'] == short
        count = sum(row[2] for row in rows if row[0] == name)
        assert found[f'{run}_bucket{{le="+Inf",{label}}}'] == count
        assert found[f'{wait}_bucket{{le="+Inf",{label}}}'] == count


@needs_package
def test_counters_never_fall(queue: Queue) -> None:
    """Not when jobs are retried or pruned, nor when workers end: an alert would see a restart."""
    job = queue.enqueue("exit 1", "--max-retries", "1")
    queue.enqueue("true")
    before: dict[str, float] = {}
    for step in (
        ("worker", "start", "--drain", "-q"),
        ("retry", job),
        ("worker", "start", "--drain", "-q"),
        ("prune", "--older-than", "0s"),
        ("enqueue", "true"),
        ("cancel", "--all"),
        ("prune", "--older-than", "0s"),
    ):
        queue.ok(*step)
        now = _counters(queue)
        assert {name for name in before if now.get(name, -1) < before[name]} == set(), step
        before = now
    assert before['queuectl_runs_total{outcome="exit",queue="default"}'] == 2
    assert before['queuectl_jobs_enqueued_total{queue="default"}'] == 4


@needs_package
def test_workers_are_counted(queue: Queue) -> None:
    """One that runs a job is busy."""
    queue.enqueue("sleep 60")
    queue.start(workers=2)
    wait_until(lambda: "processing" in queue.ok("list"), what="the job")

    text = queue.ok("metrics")

    assert _values(text, "queuectl_workers") == {'busy="true"': 1, 'busy="false"': 1}


@needs_package
def test_problems_are_counted(queue: Queue) -> None:
    """No worker is there, which is critical, and jobs of a paused queue wait, which is worth a
    warning.
    """
    queue.enqueue("true")
    queue.enqueue("true", "--queue", "mail")
    queue.ok("queue", "pause", "mail")

    assert _values(queue.ok("metrics"), "queuectl_findings") == {
        'severity="critical"': 1,
        'severity="warning"': 1,
    }


@needs_package
def test_a_textfile_is_written(queue: Queue) -> None:
    """It holds what would be printed, with the given labels, and no timestamps."""
    queue.enqueue("true")
    target = queue.work / "queuectl.prom"

    done = queue.run("metrics", "--textfile", "queuectl.prom", "--label", "owner=ada")

    assert done == (0, "", "")
    text = target.read_text()
    assert all(line.startswith("#") or 'owner="ada"' in line for line in text.splitlines())
    assert all(len(line.split()) == 2 for line in text.splitlines() if not line.startswith("#"))
    assert (target.stat().st_mode & 0o777) == 0o644


@needs_package
def test_a_queue_that_is_not_there_leaves_the_textfile(queue: Queue) -> None:
    """Prometheus then sees that the figures are out of date, and reading creates no queue."""
    target = queue.work / "queuectl.prom"
    target.write_text("old\n")
    missing = f"no queue at {queue.database} yet (enqueue a job or start a worker to make one)"

    assert queue.fails(1, "metrics") == f"queuectl metrics: {missing}"
    assert queue.fails(1, "metrics", "--textfile", str(target)) == f"queuectl metrics: {missing}"
    assert target.read_text() == "old\n"
    assert not queue.database.exists()
    assert os.listdir(queue.work) == ["queuectl.prom"]


@needs_package
def test_the_default_place_without_a_queue_is_an_error_too(queue: Queue) -> None:
    """For other commands it is an empty queue; monitoring should not call that healthy."""
    message = queue.fails(1, "metrics", env={"QUEUECTL_DB": ""})

    assert message.startswith("queuectl metrics: no queue at ")


@needs_package
def test_openmetrics(queue: Queue) -> None:
    """That format ends with a line of its own."""
    queue.enqueue("true")

    assert queue.ok("metrics", "--openmetrics").endswith("\n# EOF")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--label owner", "--label must be NAME=VALUE, not 'owner'"),
        ("--label 1st=x", "--label: '1st' cannot be the name of a label"),
        ("--label __x=y", "--label: '__x' cannot be the name of a label"),
        ("--label queue=x", "--label: some series have a label queue already"),
        ("--label a=x --label a=y", "--label: a is given twice"),
        ("--textfile figures.txt", "the name of the textfile must end in .prom: figures.txt"),
        ("--textfile a.prom --openmetrics",
         "--textfile and --openmetrics cannot be used together"),
        ("--grafana --alerts", "--grafana and --alerts cannot be used together"),
        ("--grafana --label a=b", "--grafana and --alerts take no other options"),
        ("--alerts --textfile a.prom", "--grafana and --alerts take no other options"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(queue: Queue, options: str, message: str) -> None:
    """The message names the option."""
    assert queue.fails(2, "metrics", *options.split()) == f"queuectl metrics: {message}"
    assert os.listdir(queue.work) == []


def test_the_value_of_a_label_is_utf_8(queue: Queue) -> None:
    """Prometheus reads nothing else."""
    message = queue.fails(2, "metrics", "--label", b"owner=\xff")

    assert message == "queuectl metrics: --label: the value of owner is not valid UTF-8"


def test_files_for_other_programs_need_neither_queue_nor_package(queue: Queue) -> None:
    """They are printed as they are in the package."""
    folder = Path(collecting.__file__).parent

    for option, name in (("--grafana", "dashboard.json"), ("--alerts", "alerts.yml")):
        printed = _without_package(queue, "metrics", option)
        assert printed == (0, (folder / name).read_text("utf-8"), "")
    assert json.loads((folder / "dashboard.json").read_text("utf-8"))["uid"] == "queuectl"
    assert not queue.database.exists()


def test_without_its_package_it_says_how_to_get_it(queue: Queue) -> None:
    """One line, whether there is a queue or not, and the textfile stays as it is."""
    target = queue.work / "queuectl.prom"
    target.write_text("old\n")
    message = (
        "queuectl metrics: this command needs the package prometheus-client "
        "(in a checkout of queuectl: pip install '.[metrics]')\n"
    )

    assert _without_package(queue, "metrics") == (1, "", message)
    assert _without_package(queue, "metrics", "--textfile", str(target)) == (1, "", message)
    assert target.read_text() == "old\n"
    assert os.listdir(queue.work) == ["queuectl.prom"]
    queue.enqueue("true")
    assert _without_package(queue, "metrics") == (1, "", message)


def _without_package(queue: Queue, *words: str) -> tuple[int, str, str]:
    """Run a command as if prometheus-client were not installed."""
    return run_without(queue, ("prometheus_client",), *words)
