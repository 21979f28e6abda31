"""What is found to be wrong, at which thresholds, in which words, and in which order."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, Iterator

import pytest

from queuectl.core.diagnosis import all_is_well, diagnose
from queuectl.core.facts import (
    Deaths,
    Disk,
    Facts,
    HookFacts,
    QueueFacts,
    Reason,
    Run,
    RunningFacts,
    ScheduleFacts,
    Stuck,
)
from queuectl.core.findings import Finding, Severity
from queuectl.core.models import QueueStatus
from queuectl.core.states import JobState
from support.clock import noon
from support.jobs import a_worker

NOW = noon(0)
CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING
GIB = 1 << 30


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The local time is UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC0")
        time.tzset()
        yield
    time.tzset()


def ago(**span: float) -> Any:
    return NOW - timedelta(**span)


def queue(name: str = "default", ready: int = 0, since: Any = None, **told: Any) -> QueueFacts:
    """Return a queue with so many jobs that could run, the oldest since then."""
    counts = {state: told.pop(state.value, 0) for state in JobState}
    pause = told.pop("paused", None)
    status = QueueStatus(
        name, pause is not None, *(pause or (None, None, None)), told.pop("limit", None), counts
    )
    return QueueFacts(status, ready, since, **told)


def found(**facts: Any) -> list[Finding]:
    """Return the findings of these facts; a worker of all queues lives, unless they say others."""
    return diagnose(Facts(NOW, **{"workers": (a_worker(1),), **facts}))


def said(**facts: Any) -> list[tuple[str, Severity, str, str | None]]:
    """Return the same without the details."""
    return [(f.code, f.severity, f.message, f.remedy) for f in found(**facts)]


def codes(**facts: Any) -> list[str]:
    return [finding.code for finding in found(**facts)]


def test_nothing_is_wrong() -> None:
    """An empty queue, and one that is served in time."""
    assert diagnose(Facts(NOW)) == []
    assert found(queues=(queue(ready=5, since=ago(seconds=599)),)) == []


def test_no_worker() -> None:
    """As soon as a job could run; a job of a paused queue could not."""
    waiting = queue("mail", 1204, ago(minutes=41))
    assert said(queues=(queue("x", 1, ago(minutes=2)), waiting), workers=()) == [
        (
            "no-worker", CRITICAL, "No worker is running: 1,205 jobs wait, the oldest for 41 min",
            "queuectl worker start",
        )
    ]  # fmt: skip
    assert said(queues=(queue("@make-1", 1, ago(seconds=5)),), workers=())[0][2:] == (
        "No worker is running: 1 job has waited for 5 s", "queuectl worker start --queue @make-1",
    )  # fmt: skip
    held = queue("mail", 3, ago(minutes=41), paused=(ago(hours=2), "ada", None))
    assert codes(queues=(held, queue()), workers=()) == ["paused"]


@pytest.mark.parametrize(("seconds", "expected"), [(59, []), (60, ["not-served"])])
def test_a_queue_is_not_served(seconds: float, expected: list[str]) -> None:
    """After a minute, if other workers live."""
    waiting = queue("mail", 2, ago(seconds=seconds))
    others = (a_worker(1, queues=("x",)),)

    assert codes(queues=(waiting,), workers=others) == expected
    assert codes(queues=(waiting,)) == []
    if expected:
        assert said(queues=(waiting,), workers=others) == [
            (
                "not-served", CRITICAL,
                "No worker serves the queue mail: 2 jobs wait, the oldest for 1 min 00 s",
                "queuectl worker start --queue mail",
            )
        ]  # fmt: skip


def test_jobs_without_a_worker() -> None:
    """While other workers live, they recover the jobs."""
    assert said(unattended=2, workers=()) == [
        (
            "unattended", CRITICAL,
            "2 running jobs have lost their workers",
            "queuectl worker start",
        )
    ]  # fmt: skip
    assert found(unattended=1, workers=())[0].message == "1 running job has lost its worker"
    assert found(unattended=2) == []


def test_workers_that_run_nothing() -> None:
    """It is critical only if nobody else serves a queue with jobs that could run."""
    stopped = a_worker(2, problem="stopped (kill -CONT 102)")
    other = a_worker(3, problem="cannot start processes: out of memory")
    waiting = (queue(ready=1, since=ago(seconds=1)),)

    assert said(workers=(a_worker(1), stopped), queues=waiting) == [
        (
            "held-up", WARNING, "Worker a1b2c3d4-2 lives but runs no jobs: it is stopped",
            "kill -CONT 102",
        )
    ]  # fmt: skip
    assert said(workers=(other, stopped), queues=waiting) == [
        (
            "held-up", CRITICAL,
            "Worker a1b2c3d4-3 lives but runs no jobs, and 1 more: cannot start processes: out of "
            "memory",
            "queuectl worker list",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("free", "total", "expected"),
    [
        (64 << 20, 2 * GIB, []), ((64 << 20) - 1, 2 * GIB, ["disk"]),
        (GIB, 100 * GIB, []), (GIB - 1, 100 * GIB, ["disk"]),
    ],
)  # fmt: skip
def test_the_disk_is_nearly_full(free: int, total: int, expected: list[str]) -> None:
    """With less than 64 MiB, or less than 1 %."""
    assert codes(disk=Disk("/srv", free, total)) == expected


def test_what_is_said_of_the_disk() -> None:
    """How much is free, and where."""
    assert found(disk=Disk("/srv", 41 << 20, GIB)) == [
        Finding(
            "disk",
            CRITICAL,
            "Only 41 MiB are free on the disk of the queue",
            "/srv",
            "queuectl prune --older-than 1d",
        )
    ]


@pytest.mark.parametrize(("seconds", "expected"), [(120, []), (121, ["schedule-late"])])
def test_a_late_schedule(seconds: float, expected: list[str]) -> None:
    """After two minutes: a worker that cron starts once a minute makes its jobs in time."""
    late = ScheduleFacts("nightly", due_at=ago(seconds=seconds))

    assert codes(schedules=(late,)) == expected
    assert codes(schedules=(late._replace(is_paused=True),)) == []


def test_what_is_said_of_late_schedules() -> None:
    """What to do depends on whether workers live; many are one finding."""
    late = [ScheduleFacts(f"s{n}", due_at=ago(hours=3, minutes=n)) for n in range(5)]
    assert said(schedules=tuple(late[:2]), workers=()) == [
        (
            "schedule-late", CRITICAL, f"The schedule s{n} is 3 h 0{n} min late: no worker is "
            "running", "queuectl worker start",
        )
        for n in (1, 0)
    ]  # fmt: skip
    assert said(schedules=tuple(late)) == [
        (
            "schedule-late", CRITICAL,
            "5 schedules are late, s4 by 3 h 04 min: every worker is busy",
            "queuectl schedule tick",
        )
    ]  # fmt: skip


def test_a_broken_schedule() -> None:
    """It is not late as well; those with the same problem are one finding."""
    broken = ScheduleFacts(
        "nightly",
        due_at=ago(hours=3),
        problem="cron expressions need the package cronsim",
        remedy="pip install '.[cron]'",
    )
    assert said(schedules=(broken,)) == [
        (
            "schedule-broken", CRITICAL,
            "The schedule nightly makes no jobs: cron expressions need the package cronsim",
            "pip install '.[cron]'",
        )
    ]  # fmt: skip
    two = (broken, broken._replace(name="weekly"))
    assert found(schedules=two)[0].message.startswith("The schedules nightly and 1 more make no")


@pytest.mark.parametrize(
    ("jobs", "ended", "severity"),
    [(4, 20, WARNING), (4, 19, CRITICAL), (5, 1000, CRITICAL), (1, 1, CRITICAL), (1, 5, WARNING)],
)
def test_how_bad_deaths_are(jobs: int, ended: int, severity: Severity) -> None:
    """5 within an hour are critical, and more than a fifth of what ended."""
    deaths = Deaths(jobs, ended, Reason("exit 12", jobs, jobs), "@17", ago(minutes=3))

    assert [finding.severity for finding in found(deaths=deaths)] == [severity]


@pytest.mark.parametrize(
    ("jobs", "reason", "message"),
    [
        (1, (1, 1), "1 job died in the last hour: exit 12"),
        (2, (1, 2), "2 jobs died in the last hour, each in another way"),
        (2, (2, 2), "2 jobs died in the last hour, all in the same way: exit 12"),
        (14, (11, 14), "14 jobs died in the last hour, 11 of them in the same way: exit 12"),
        (1400, (190, 200),
         "1,400 jobs died in the last hour, 190 of the last 200 in the same way: exit 12"),
    ],
)  # fmt: skip
def test_why_jobs_died(jobs: int, reason: tuple[int, int], message: str) -> None:
    """The most common reason is told."""
    deaths = Deaths(jobs, jobs, Reason("exit 12", *reason), "@17", ago(minutes=3))

    [finding] = found(deaths=deaths)
    assert (finding.message, finding.remedy) == (message, "queuectl dlq list --since 1h")
    assert finding.detail == "The last one was @17, 3 min ago"


def test_a_disabled_hook() -> None:
    """It does not fail as well."""
    hook = HookFacts("ops", disabled_at=ago(days=1), disabled_reason="410 Gone", failures=9)
    assert said(hooks=(hook,)) == [
        (
            "hook-disabled", CRITICAL, "The hook ops was disabled 1 d ago: 410 Gone",
            "queuectl hook resume ops",
        )
    ]  # fmt: skip


def test_a_paused_queue() -> None:
    """Only if jobs wait in it; the switch for all queues is one finding."""
    pause = (ago(hours=2), "ada", "SMTP down")
    held = queue("mail", 312, ago(hours=1), paused=pause)
    assert said(queues=(held, queue("idle", paused=pause))) == [
        (
            "paused", WARNING,
            'The queue mail was paused 2 h ago by ada ("SMTP down"): 312 jobs wait',
            "queuectl queue resume mail",
        )
    ]  # fmt: skip
    other = queue("x", 1, ago(hours=1), paused=(ago(hours=2), "ada", None))
    assert said(queues=(other,))[0][2] == "The queue x was paused 2 h ago by ada: 1 job waits"
    assert said(queues=(held, other), all_paused=True) == [
        (
            "paused", WARNING,
            'All queues were paused 2 h ago by ada ("SMTP down"): 313 jobs wait',
            "queuectl queue resume",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "running", "expected"),
    [(599, 1, []), (600, 1, ["limit"]), (600, 0, ["behind"])],
)
def test_a_limit(seconds: float, running: int, expected: list[str]) -> None:
    """After ten minutes at the limit."""
    waiting = queue("video", 3, ago(seconds=seconds), limit=1, processing=running)

    assert codes(queues=(waiting,)) == expected
    assert codes(queues=(waiting,), workers=()) == ["no-worker"]


def test_what_is_said_of_a_limit() -> None:
    """Which job has used it longest, and how to raise it."""
    waiting = queue("video", 3, ago(minutes=42), limit=1, processing=1)
    running = RunningFacts("transcode-881", "video", ago(hours=3))
    assert said(queues=(waiting,), running=(running,)) == [
        (
            "limit", WARNING,
            "A job of the queue video has waited for 42 min: the limit of 1 is used up by "
            "transcode-881, which has run for 3 h 00 min",
            "queuectl queue limit video 2",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(("seconds", "expected"), [(599, []), (600, ["behind"])])
def test_a_queue_is_behind(seconds: float, expected: list[str]) -> None:
    """After ten minutes, though it is served; not a batch."""
    assert codes(queues=(queue(ready=3, since=ago(seconds=seconds)),)) == expected
    batch = queue("@make-1", 3, ago(seconds=seconds))
    assert codes(queues=(batch,), workers=(a_worker(1, queues=("@make-1",)),)) == []


@pytest.mark.parametrize(
    ("came_in", "ended", "said_of_it"),
    [
        (0, 0, ""),
        (460, 380, "; 46 jobs come in per minute, and 38 end"),
        (5, 3, "; 0.5 jobs come in per minute, and 0.3 end"),
        (100, 720, "; all will have started in about 25 min"),
    ],
)
def test_the_trend_of_a_queue(came_in: int, ended: int, said_of_it: str) -> None:
    """Whether it grows, or when nothing waits any more."""
    behind = queue("mail", 1550, ago(minutes=41), came_in=came_in, ended=ended)
    workers = (a_worker(1), a_worker(2))
    assert said(queues=(behind,), workers=workers) == [
        (
            "behind", WARNING,
            f"The queue mail is behind: 1,550 jobs wait, the oldest for 41 min{said_of_it}",
            "queuectl worker scale 3",
        )
    ]  # fmt: skip
    other = a_worker(9, queues=("x",), supervisor="0f0f0f0f")
    assert found(queues=(behind,), workers=(*workers, other))[0].remedy == (
        "queuectl worker scale 3 a1b2c3d4"
    )


@pytest.mark.parametrize(
    ("minutes", "usual", "expected"),
    [(10, 1, []), (10.1, 100, ["overrun"]), (31, 10 * 60, ["overrun"]), (30, 10 * 60, []),
     (600, None, [])],
)  # fmt: skip
def test_a_job_takes_long(minutes: float, usual: float | None, expected: list[str]) -> None:
    """Three times as long as usual, and longer than ten minutes."""
    job = RunningFacts("nightly", "default", ago(minutes=minutes), usual)

    assert codes(running=(job,)) == expected


def test_what_is_said_of_a_job_that_takes_long() -> None:
    """How much longer than usual, and how to end it."""
    job = RunningFacts("nightly", "default", ago(hours=26), 58 * 60)
    assert found(running=(job,)) == [
        Finding(
            "overrun", WARNING,
            "nightly has run for 1 d 02 h, 27 times as long as usual (58 min)",
            "queuectl cancel nightly ends it", "queuectl show nightly",
        )
    ]  # fmt: skip


def test_a_job_that_takes_very_long() -> None:
    """The number would say nothing."""
    job = RunningFacts("a", "default", ago(minutes=18), 0.001)
    assert found(running=(job,))[0].message == (
        "a has run for 18 min, more than 100 times as long as usual (1 s)"
    )


def test_many_findings_of_a_kind() -> None:
    """Three are told one by one, the others are counted; five are still told."""
    hooks = tuple(HookFacts(f"h{n}", failures=3) for n in range(7))
    assert len(found(hooks=hooks[:5])) == 5
    assert [message for _, _, message, _ in said(hooks=hooks)] == [
        *(f"The hook h{n} has failed 3 times in a row" for n in range(3)), "4 more hooks fail",
    ]  # fmt: skip
    assert said(hooks=hooks)[-1] == ("hook-failing", WARNING, "4 more hooks fail",
                                     "queuectl hook list")  # fmt: skip


def test_a_planned_time_that_was_left_out() -> None:
    """As long as the run that was in the way has not ended."""
    run = Run("@17", JobState.PROCESSING, None)
    schedule = ScheduleFacts("nightly", left_out=noon(-36000), unfinished=run)
    assert said(schedules=(schedule,)) == [
        (
            "overlapped", WARNING,
            "The schedule nightly left out 2026-01-31 02:00:00, because its run @17 has not ended",
            "queuectl show @17",
        )
    ]  # fmt: skip
    assert codes(schedules=(schedule._replace(unfinished=None),)) == []


def test_a_schedule_whose_last_run_died() -> None:
    """Until a run completes."""
    run = Run("@17", JobState.DEAD, ago(hours=3), "exit 12")
    assert said(schedules=(ScheduleFacts("nightly", last_ended=run),)) == [
        (
            "schedule-failing", WARNING,
            "The last run of the schedule nightly, @17, died 3 h ago: exit 12",
            "queuectl show @17",
        )
    ]  # fmt: skip
    done = run._replace(state=JobState.COMPLETED)
    assert codes(schedules=(ScheduleFacts("nightly", last_ended=done),)) == []


@pytest.mark.parametrize(("failures", "expected"), [(2, []), (3, ["hook-failing"])])
def test_a_hook_fails(failures: int, expected: list[str]) -> None:
    """Three times in a row; a paused one is known to its user."""
    hook = HookFacts("ops", failures=failures)

    assert codes(hooks=(hook,)) == expected
    assert codes(hooks=(hook._replace(is_paused=True),)) == []


def test_what_is_said_of_a_hook_that_fails() -> None:
    """The last result, or how many of its jobs died."""
    hook = HookFacts("ops", failures=4, last_at=ago(minutes=20), last_result="HTTP 503")
    assert said(hooks=(hook,)) == [
        (
            "hook-failing", WARNING,
            "The hook ops has failed 4 times in a row, the last time 20 min ago: HTTP 503",
            "queuectl hook show ops",
        )
    ]  # fmt: skip
    dead = HookFacts("ops", dead_jobs=1, lane="mail/hooks")
    of_job = HookFacts("on-failure", is_rule=False, dead_jobs=2, lane="mail/hooks")
    assert said(hooks=(dead, of_job)) == [
        (
            "hook-failing", WARNING, "1 job of the hook ops died in the last hour",
            "queuectl hook show ops",
        ),
        (
            "hook-failing", WARNING, "2 jobs of on-failure hooks died in the last hour",
            "queuectl dlq list --queue mail/hooks",
        ),
    ]  # fmt: skip


def test_jobs_that_can_never_run() -> None:
    """Which job they wait for."""
    stuck = Stuck(3, "report-7", JobState.DEAD)
    assert said(stuck=stuck) == [
        ("blocked", WARNING, "3 jobs wait for report-7, which is dead", "queuectl retry report-7")
    ]
    alone = Stuck(1, "report-7", JobState.CANCELLED)
    assert found(stuck=alone)[0].message == "1 job waits for report-7, which is cancelled"


@pytest.mark.parametrize(
    ("retries", "reason", "message"),
    [
        (19, (19, 19), None),
        (20, (1, 20), "20 jobs have failed and wait for another attempt"),
        (22, (22, 22),
         "22 jobs have failed and wait for another attempt, all of them after exit 75"),
        (64, (60, 64),
         "64 jobs have failed and wait for another attempt, 60 of them after exit 75"),
        (6400, (900, 1000), "6,400 jobs have failed and wait for another attempt, 900 of the next "
         "1,000 after exit 75"),
    ],
)  # fmt: skip
def test_many_retries(retries: int, reason: tuple[int, int], message: str | None) -> None:
    """From 20 jobs on."""
    told = said(retries=retries, retry_reason=Reason("exit 75", *reason))

    remedy = "queuectl list --state failed"
    assert told == ([] if message is None else [("retries", WARNING, message, remedy)])


def test_an_enqueue_that_was_cut_short() -> None:
    """Its jobs are shown by the next worker."""
    assert said(jobs_to_come=1200) == [
        (
            "cut-short", WARNING,
            "An enqueue was cut short: 1,200 jobs are stored, but not visible yet",
            "queuectl worker start",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(("seconds", "expected"), [(300, []), (301, ["clock"])])
def test_the_clock_was_set_back(seconds: float, expected: list[str]) -> None:
    """By more than five minutes."""
    assert codes(newest_change=NOW + timedelta(seconds=seconds)) == expected


def test_what_is_said_of_the_clock() -> None:
    """How far in the future the last change is; no command helps."""
    message = "The clock was set back: the last change of a job lies 2 h 00 min in the future"
    assert said(newest_change=NOW + timedelta(hours=2)) == [("clock", WARNING, message, None)]


def test_the_order_of_findings() -> None:
    """By severity, then by the place in the table."""
    facts: dict[str, Any] = {
        "queues": (
            queue("a", 1, ago(hours=1), paused=(ago(hours=1), "ada", None)),
            queue("b", 1, ago(hours=1)),
        ),
        "workers": (a_worker(1, queues=("x",)),),
        "hooks": (HookFacts("h", disabled_at=ago(days=1)), HookFacts("i", failures=3)),
        "stuck": Stuck(1, "j", JobState.DEAD),
        "deaths": Deaths(1, 100, Reason("exit 1", 1, 1), "j", NOW),
        "newest_change": NOW + timedelta(hours=1),
    }
    assert codes(**facts) == [
        "not-served", "hook-disabled", "deaths", "paused", "hook-failing", "blocked", "clock",
    ]  # fmt: skip


def test_names_are_quoted_in_remedies() -> None:
    """A remedy is pasted into a shell."""
    odd = queue("$(touch x)", 1, ago(hours=1))

    assert found(queues=(odd,), workers=(a_worker(1, queues=("x",)),))[0].remedy == (
        "queuectl worker start --queue '$(touch x)'"
    )


def test_all_is_well() -> None:
    """The proof is one line."""
    assert all_is_well(Facts(NOW)) == "0 workers are running, nothing waits, no job is dead"
    facts = Facts(
        NOW,
        queues=(queue("a", 1, ago(seconds=3)), queue("b")),
        workers=(a_worker(1),),
        last_death=ago(days=4),
    )
    assert all_is_well(facts) == (
        "1 worker is running, nothing has waited longer than 3 s, the last job died 4 d ago"
    )
