"""Jobs that wait for jobs: `enqueue --after` and `--after-any`."""

from __future__ import annotations

import pytest

from support.queue import Queue


@pytest.fixture
def ended(queue: Queue) -> Queue:
    """A queue with a completed job `good`, a dead one `bad` and a cancelled one `gone`."""
    queue.ok("enqueue", "--id", "good", "true")
    queue.run_as_if("completed")
    queue.ok("enqueue", "--id", "bad", "exit 1")
    queue.run_as_if("dead")
    queue.ok("enqueue", "--id", "gone", "true")
    queue.ok("cancel", "gone")
    return queue


def test_a_job_runs_after_all_that_it_waits_for(queue: Queue) -> None:
    """It is blocked until the last of them has completed, with any number of workers."""
    queue.enqueue("until [ -e order ]; do sleep 0.02; done; echo a >> order", "--id", "a")
    queue.enqueue("echo b >> order", "--id", "b")
    queue.enqueue("echo c >> order", "--id", "c", "--after", "a,b", "--priority", "9")
    assert queue.state("c") == "blocked"
    queue.drain(workers=3)

    assert (queue.work / "order").read_text().split() == ["b", "a", "c"]


def test_a_dead_dependency_keeps_the_job_blocked(queue: Queue) -> None:
    """It runs when the dead one is retried and completes."""
    queue.enqueue("test -e allowed", "--id", "a", "--max-retries", "1")
    queue.enqueue("true", "--id", "b", "--after", "a")
    queue.drain()
    assert queue.counts() == {"dead": 1, "blocked": 1}
    (queue.work / "allowed").touch()
    queue.ok("retry", "a")
    queue.drain()

    assert queue.counts() == {"completed": 2}


@pytest.mark.parametrize("end", ["exit 1", "true"])
def test_after_any_runs_after_success_and_failure(queue: Queue, end: str) -> None:
    """As a clean-up does."""
    queue.enqueue(end, "--id", "a", "--max-retries", "1")
    queue.enqueue("true", "--id", "b", "--after-any", "a")
    queue.drain()

    assert queue.state("b") == "completed"


def test_after_any_runs_when_the_other_is_cancelled(queue: Queue) -> None:
    """A job that waits for completion stays blocked."""
    queue.enqueue("true", "--id", "a")
    queue.enqueue("true", "--id", "any", "--after-any", "a")
    queue.enqueue("true", "--id", "done", "--after", "a")
    queue.ok("cancel", "a")

    assert (queue.state("any"), queue.state("done")) == ("pending", "blocked")


@pytest.mark.parametrize("need", ["bad", "gone"])
def test_a_dependency_that_will_not_complete_is_accepted_with_a_warning(
    ended: Queue, need: str
) -> None:
    """One line on stderr names it; stdout has only the id of the new job."""
    done = ended.run("enqueue", "--id", "b", "--after", need, "true")

    assert (done.code, done.out) == (0, "b\n")
    assert done.err == (
        f"b waits for {need}, which will not complete unless retried (queuectl retry)\n"
    )
    assert ended.state("b") == "blocked"


@pytest.mark.parametrize("words", [["--after", "bad", "true"], ["-"]])
def test_quiet_suppresses_the_warning(ended: Queue, words: list[str]) -> None:
    """Regression: cron mailed it, although the job was enqueued."""
    done = ended.run("enqueue", "-q", *words, stdin='{"command": "true", "after": "bad"}\n')

    assert (done.code, done.out, done.err) == (0, "", "")
    assert ended.counts()["blocked"] == 1


@pytest.mark.parametrize(
    "options", [["--after", "good"], ["--after-any", "bad"], ["--after-any", "good,bad,gone"]]
)
def test_a_dependency_that_is_met_does_not_block(ended: Queue, options: list) -> None:
    """The other job has completed already, or has ended for --after-any."""
    done = ended.run("enqueue", "--id", "b", *options, "true")

    assert (done.code, done.err, ended.state("b")) == (0, "", "pending")


def test_after_wins_over_after_any_for_the_same_job(ended: Queue) -> None:
    """`--after` is the stronger condition."""
    ended.run("enqueue", "--id", "b", "--after", "bad", "--after-any", "bad", "true")

    assert ended.state("b") == "blocked"


@pytest.mark.parametrize("option", ["--after", "--after-any"])
def test_an_unknown_dependency_is_refused(ended: Queue, option: str) -> None:
    """The exit code is 1, the message names it, and no job is stored."""
    before = ended.ids()

    assert ended.fails(1, "enqueue", option, "good,zz", "true") == (
        "queuectl enqueue: no such job: zz"
    )
    assert ended.ids() == before


def test_a_blocked_job_also_waits_for_its_time(queue: Queue) -> None:
    """If it is unblocked before its time, it is scheduled."""
    queue.enqueue("true", "--id", "a")
    queue.enqueue("true", "--id", "b", "--after", "a", "--delay", "1h")
    queue.drain()

    assert queue.state("b") == "scheduled"
