"""The commands `dlq list`, `dlq retry` and `dlq purge`."""

from __future__ import annotations

import json

import pytest

from queuectl.core.models import Outcome, OutcomeKind, Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from support.clock import noon
from support.queue import Queue
from support.states import every_state
from support.terminal import on_terminal

_TABLE = """\
ID    QUEUE    RUNS  DIED                 REASON             LABEL  COMMAND
dead  default  1/1   2026-01-31 12:00:31  killed by SIGKILL  -      run dead
"""


def _dead(queue: Queue, *ids: str, name: str = "default") -> None:
    """Put dead jobs into a queue."""
    failed = Outcome(OutcomeKind.EXIT, exit_code=1, reason="exit code 1")
    with queue.opened() as storage:
        for job in ids:
            spec = JobSpec(command="exit 1", id=job, queue=name, max_retries=1)
            storage.enqueue([spec], now=noon(0))
            claim = storage.claim("w", now=noon(1))
            assert claim is not None
            verdict = Verdict(JobState.DEAD, last_error="exit code 1")
            storage.record(claim, failed, verdict, now=noon(2))


def _ids(queue: Queue, *options: str) -> list[str]:
    return queue.run("dlq", "list", "--ids", *options).out.split()


class TestList:
    """`dlq list`: the dead jobs and their reasons."""

    def test_the_table(self, queue: Queue) -> None:
        """There is one line per dead job, with its reason, and no other job."""
        every_state(queue)

        assert queue.run("dlq", "list") == (0, _TABLE, "")
        assert queue.run("dlq", "list", "--ids") == (0, "dead\n", "")

    def test_as_json(self, queue: Queue) -> None:
        """The objects are those of `list --json`."""
        every_state(queue)

        dead = json.loads(queue.run("dlq", "list", "--json").out)

        assert dead == json.loads(queue.run("list", "--state", "dead", "--json").out)
        assert [job["last_error"] for job in dead] == ["killed by SIGKILL"]

    def test_which(self, queue: Queue) -> None:
        """They can be chosen by queue, and by number as in `list`."""
        _dead(queue, "a", "b")
        _dead(queue, "c", name="q")

        assert _ids(queue) == ["a", "b", "c"]
        assert _ids(queue, "-n", "2") == ["b", "c"]
        assert _ids(queue, "--queue", "q") == ["c"]
        assert _ids(queue, "--queue", "default", "-n", "1") == ["b"]

    def test_without_a_dead_job(self, queue: Queue) -> None:
        """stdout is empty, or an empty list with --json."""
        queue.enqueue("true")

        assert queue.run("dlq", "list") == (0, "", "no dead jobs\n")
        assert queue.run("dlq", "list", "--ids") == (0, "", "")
        assert queue.run("dlq", "list", "--json") == (0, "[]\n", "")


class TestRetry:
    """`dlq retry`: dead jobs run again."""

    def test_from_the_start(self, queue: Queue) -> None:
        """The attempts are counted from 0 again, and the history is kept."""
        queue.enqueue("echo $QUEUECTL_ATTEMPT; exit 1", "--id", "a", "--max-retries", "1")
        queue.drain(workers=1)

        assert queue.run("dlq", "retry", "a") == (0, "a is pending again\n", "")
        waiting = queue.show("a")
        queue.drain(workers=1)
        again = queue.show("a")

        assert (waiting["state"], waiting["attempts"]) == ("pending", 0)
        assert (waiting["finished_at"], waiting["last_error"]) == (None, None)
        assert (again["state"], again["attempts"]) == ("dead", 1)
        assert [run["exit_code"] for run in again["executions"]] == [1, 1]
        assert queue.ok("logs", "a") == "1"

    @pytest.mark.parametrize(
        ("words", "retried"),
        [
            ("a", ["a"]),
            ("a b a", ["a", "b"]),
            ("--all", ["a", "b", "c"]),
            ("--queue q", ["c"]),
            ("--queue q,default", ["a", "b", "c"]),
            ("--queue nobody", []),
        ],
    )
    def test_which(self, queue: Queue, words: str, retried: list[str]) -> None:
        """Jobs are named, or chosen by queue, or all; there is one line for each."""
        _dead(queue, "a", "b")
        _dead(queue, "c", name="q")

        called = queue.run("dlq", "retry", *words.split())

        assert (called.code, called.out) == (0, "".join(f"{j} is pending again\n" for j in retried))
        assert called.err == ("" if retried else "no dead jobs\n")
        assert _ids(queue) == [job for job in "abc" if job not in retried]

    def test_ids_from_stdin(self, queue: Queue) -> None:
        """`-` reads the ids that another command printed; without any it succeeds."""
        _dead(queue, "a", "b")
        ids = queue.run("dlq", "list", "--ids").out

        assert queue.run("dlq", "retry", "-", "-q", stdin=ids.encode()) == (0, "", "")
        assert queue.run("dlq", "retry", "-", "-q") == (0, "", "")
        assert _ids(queue) == []

    def test_no_ids_on_stdin_is_no_message(self, queue: Queue) -> None:
        """Regression: it said "no dead jobs", although there were some."""
        _dead(queue, "a")

        assert queue.run("dlq", "retry", "-") == (0, "", "")
        assert _ids(queue) == ["a"]

    def test_jobs_that_cannot_be_retried_do_not_stop_the_others(self, queue: Queue) -> None:
        """There is one line for each of them, and the exit code is 1."""
        _dead(queue, "a", "b")
        queue.enqueue("true", "--id", "alive")

        assert queue.run("dlq", "retry", "a", "nobody", "alive", "b") == (
            1,
            "a is pending again\nb is pending again\n",
            "queuectl dlq retry: no such job: nobody\n"
            "queuectl dlq retry: cannot retry alive: it is pending, not dead\n",
        )
        assert _ids(queue) == []

    def test_quiet(self, queue: Queue) -> None:
        """With -q only failures are printed."""
        _dead(queue, "a")

        assert queue.run("dlq", "retry", "--all", "-q") == (0, "", "")
        assert queue.run("dlq", "retry", "--all", "-q") == (0, "", "")


class TestPurge:
    """`dlq purge`: dead jobs are deleted."""

    @pytest.mark.parametrize(
        ("words", "purged"),
        [
            ("a", ["a"]),
            ("a c", ["a", "c"]),
            ("--all --yes", ["a", "b", "c"]),
            ("--all -y", ["a", "b", "c"]),
            ("--queue q", ["c"]),
            ("--queue nobody", []),
        ],
    )
    def test_which(self, queue: Queue, words: str, purged: list[str]) -> None:
        """Jobs are named, or chosen by queue, or all with --yes; their number is printed."""
        _dead(queue, "a", "b")
        _dead(queue, "c", name="q")
        queue.enqueue("true", "--id", "alive")

        assert queue.run("dlq", "purge", *words.split()) == (0, f"{len(purged)} deleted\n", "")
        assert _ids(queue) == [job for job in "abc" if job not in purged]
        assert queue.run("list", "--ids", "--state", "pending").out == "alive\n"

    def test_jobs_that_are_not_dead_are_kept(self, queue: Queue) -> None:
        """There is one line for each of them, and the exit code is 1."""
        _dead(queue, "a", "b")
        queue.enqueue("true", "--id", "alive")

        called = queue.run("dlq", "purge", "a", "alive", "nobody", "b")

        assert (called.code, called.err) == (
            1,
            "queuectl dlq purge: cannot delete alive: it is pending, not dead\n"
            "queuectl dlq purge: no such job: nobody\n",
        )
        assert queue.run("list", "--ids").out == "alive\n"

    def test_history_and_logs_are_deleted_with_the_job(self, queue: Queue) -> None:
        """Nothing of a deleted job is left, not even the file of a large output."""
        queue.enqueue("yes | head -c 300000; exit 1", "--id", "a", "--max-retries", "1")
        queue.drain(workers=1)
        kept = [path.name for path in (queue.folder / "queue.db.d/logs").iterdir()]

        assert queue.run("dlq", "purge", "a", "-q") == (0, "", "")

        assert len([name for name in kept if name[:-4].isdigit()]) == 1
        left = [path.name for path in (queue.folder / "queue.db.d/logs").iterdir()]
        assert [name for name in left if name[:-4].isdigit()] == []
        with queue.opened() as storage:
            assert (storage.counts(), storage.execution(1)) == ([], None)

    @pytest.mark.parametrize(
        ("answer", "left"), [("y\n", []), ("YES\n", []), ("n\n", ["a"]), ("\n", ["a"])]
    )
    def test_all_asks_on_a_terminal(self, queue: Queue, answer: str, left: list[str]) -> None:
        """On a terminal it asks first, on stderr, and deletes only after a yes.

        Regression: click 8.1 printed a part of the question to stdout.
        """
        _dead(queue, "a")

        shown = on_terminal(queue, "dlq", "purge", "--all", streams="stdin stderr", typed=answer)

        end = "queuectl dlq purge: nothing was deleted\n" if left else ""
        assert shown.screen == f"{answer}Delete the dead job? [y/N]: {end}"
        assert (shown.code, shown.out) == ((1, "") if left else (0, "1 deleted\n"))
        assert _ids(queue) == left

    def test_the_question_says_how_many_and_is_not_asked_for_none(self, queue: Queue) -> None:
        """Regression: it asked also if there was no dead job, and never said how many."""
        queue.ok("enqueue", "true")
        none = on_terminal(queue, "dlq", "purge", "--all", streams="stdin stderr")
        assert (none.code, none.out, none.screen) == (0, "0 deleted\n", "")

        _dead(queue, "a", "b")
        asked = on_terminal(queue, "dlq", "purge", "--all", streams="stdin stderr", typed="y\n")
        assert asked.screen == "y\nDelete all 2 dead jobs? [y/N]: "
        assert asked.out == "2 deleted\n"

    def test_yes_does_not_ask(self, queue: Queue) -> None:
        """With --yes it does not ask, even on a terminal."""
        _dead(queue, "a")

        shown = on_terminal(queue, "dlq", "purge", "--all", "--yes", streams="stdin stderr")

        assert (shown.code, shown.out, shown.screen) == (0, "1 deleted\n", "")


@pytest.mark.parametrize("verb", [("dlq", "retry", "--all"), ("retry", "--state", "dead")])
def test_a_job_whose_key_was_taken_is_named(queue: Queue, verb: tuple[str, ...]) -> None:
    """Regression: of many jobs, only the holder of the key was named, not the one refused."""
    for job in ("one", "two"):
        queue.add("exit 1", id=job, unique_key=job, max_retries=1)
        queue.run_as_if("dead")
    queue.add("true", id="holder", unique_key="two")
    done = queue.run(*verb)

    assert (done.code, done.out) == (1, "one is pending again\n")
    assert done.err == (
        f"queuectl {' '.join(verb).split(' --')[0]}: cannot retry two: "
        "unique key two is held by unfinished job holder\n"
    )
