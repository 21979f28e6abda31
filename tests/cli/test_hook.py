"""The commands `hook add`, `list`, `show`, `remove`, `pause` and `resume`."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from queuectl.core.times import to_text, utcnow
from support.json_page import keys
from support.queue import Queue
from support.rows import sql
from support.screens import SIZES, compare, stable, widest
from support.terminal import on_terminal


def _add(queue: Queue, name: str, *args: str) -> None:
    assert queue.run("hook", "add", name, *args, cwd=queue.work) == (0, f"{name}\n", "")


def _one(queue: Queue, name: str) -> Any:
    return queue.json("hook", "show", name)


def test_a_hook_is_what_was_asked_for(queue: Queue) -> None:
    """Options come before the command, also after the name; several words are one command."""
    _add(
        queue, "ops", "--on", "dead,completed", "--on", "cancelled,failed", "--queue", "a,b",
        "--queue", "c", "--label", "x*", "--schedule", "night*", "--digest", "5m", "--timeout", "0",
        "--max-retries", "0", "--env", "A=1", "--cwd", "/tmp", "echo", "two words", "--on",
    )  # fmt: skip
    shown = _one(queue, "ops")
    assert list(shown) == [*keys("A hook"), "jobs"]
    assert shown["events"] == ["completed", "dead", "cancelled", "failed"]
    assert (shown["queues"], shown["labels"], shown["schedules"]) == (
        ["a", "b", "c"],
        "x*",
        "night*",
    )
    assert (shown["digest"], shown["timeout"], shown["max_retries"]) == (300, 0, 1)
    assert (shown["command"], shown["cwd"]) == ("echo 'two words' --on", "/tmp")
    assert (shown["paused"], shown["disabled"], shown["failures"]) == (False, False, 0)
    assert queue.run("hook", "list").out.splitlines()[1].split()[:3] == [
        "ops",
        "ok",
        "finished,failed",
    ]


def test_the_defaults_are_those_of_the_help(queue: Queue) -> None:
    """One event of all queues, a minute, five attempts, the folder of the caller."""
    queue.configure(hook_max_retries="7")
    _add(queue, "ops", "--on", "dead", "--", "notify")
    shown = _one(queue, "ops")
    assert (shown["queues"], shown["labels"], shown["schedules"]) == ([], "*", None)
    assert (shown["digest"], shown["timeout"], shown["max_retries"]) == (0, 60, 7)
    assert shown["cwd"] == str(queue.work)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("ops", "notify"), "missing option '--on'. Choose from: completed, dead, cancelled, "
                            "failed, recovered, drained, missed, finished\n"),
        (("ops", "--on", "dead"), "no command given (example: queuectl hook add ops --on dead "
                                  "./report)"),
        (("ops", "--on", "died", "x"), "--on: no event 'died' (known: completed, dead, cancelled, "
                                       "failed, recovered, drained, missed, finished)"),
        (("on-failure", "--on", "dead", "x"), "NAME must not be on-failure: a job's own hooks have "
                                              "that name"),
        (("a/b", "--on", "dead", "x"), "NAME must be printable, without white space, comma or "
                                       "slash"),
        (("ops", "--on", "dead", "--queue", "a/hooks", "x"), "--queue must be printable, without "
                                                             "white space, comma or slash"),
    ],
)  # fmt: skip
def test_wrong_words_are_refused(queue: Queue, args: tuple[str, ...], message: str) -> None:
    """One line says what is wrong, and nothing is stored."""
    queue.configure(max_retries="3")
    result = queue.run("hook", "add", *args)
    assert (result.code, result.out) == (2, "")
    assert message.lower() in result.err.lower()
    assert queue.json("hook", "list") == []


def test_a_name_is_used_once_unless_it_is_to_be_replaced(queue: Queue) -> None:
    """`--replace` changes a hook, or adds one."""
    _add(queue, "ops", "--on", "dead", "--replace", "one")
    again = queue.run("hook", "add", "ops", "--on", "dead", "two")
    assert (again.code, again.err) == (
        1,
        "queuectl hook add: there is a hook ops already (--replace changes it)\n",
    )
    _add(queue, "ops", "--on", "failed", "--replace", "two")
    assert (_one(queue, "ops")["events"], _one(queue, "ops")["command"]) == (["failed"], "two")


def test_quiet_prints_neither_the_name_nor_the_secret(queue: Queue) -> None:
    """`hook show --secret` still prints the secret."""
    added = queue.run("hook", "add", "-q", "a", "--on", "dead", "--url", "https://example.org")
    assert added == (0, "", "")
    assert queue.ok("hook", "show", "--secret", "a").startswith("whsec_")


def test_hooks_are_paused_resumed_and_removed(queue: Queue) -> None:
    """A name that no hook has is an error, and the others are done all the same."""
    _add(queue, "a", "--on", "dead", "x")
    _add(queue, "b", "--on", "dead", "x")
    assert queue.run("hook", "pause", "a", "b") == (0, "paused a\npaused b\n", "")
    assert "paused" in queue.run("hook", "list").out
    assert queue.run("hook", "resume", "-q", "a") == (0, "", "")
    assert (_one(queue, "a")["paused"], _one(queue, "b")["paused"]) == (False, True)
    removed = queue.run("hook", "remove", "c", "a")
    assert removed == (1, "removed a\n", "queuectl hook remove: no such hook: c\n")
    assert [each["name"] for each in queue.json("hook", "list")] == ["b"]
    assert queue.run("hook", "show", "a").err == "queuectl hook show: no such hook: a\n"


def test_a_hook_shows_its_runs(queue: Queue) -> None:
    """The last one first, each with the job that it reports."""
    _add(
        queue, "ops", "--on", "finished", "--max-retries", "1", 'exit "$QUEUECTL_PARENT_EXIT_CODE"'
    )
    for code in ("0", "3"):
        queue.enqueue(f"exit {code}", "--max-retries", "1")
    queue.drain(workers=1)
    shown = _one(queue, "ops")
    assert list(shown["jobs"][0]) == keys("A hook", "Key of its job")
    assert [(each["event"], each["state"]) for each in shown["jobs"]] == [
        ("job.dead", "dead"), ("job.completed", "completed"),
    ]  # fmt: skip
    assert (shown["failures"], shown["last_result"]) == (1, "exit 3")
    lines = queue.run("hook", "show", "ops").out
    assert "1 in a row" in lines
    assert lines.splitlines()[-2].split()[:4] == ["@4", "dead", "@2", "dead"]
    assert "hook ops of @2" in queue.run("dlq", "list").out
    assert "@4 ops (dead: exit 3)" in queue.run("show", "@2").out


def test_nothing_is_made_by_looking(queue: Queue) -> None:
    """`hook list` does not create a queue."""
    path = str(queue.folder / "none.db")
    listed = queue.run("--db", path, "hook", "list")
    assert listed.code == 1
    assert "no queue at" in listed.err


def test_hostile_names_in_a_file_are_escaped(queue: Queue) -> None:
    """Another program may have written anything."""
    _add(queue, "ops", "--on", "dead", "x")
    with queue.opened() as storage:
        sql(storage, "UPDATE hooks SET command = ?, last_result = ?", "\x1b]0;x\x07", "\x1b[2J")
    for args in (("list",), ("show", "ops")):
        assert "\x1b" not in queue.run("hook", *args).out
    assert json.loads(queue.ok("hook", "list", "--json"))[0]["last_result"] == "\x1b[2J"


def test_a_hook_that_cannot_be_read_does_not_hide_the_others(queue: Queue) -> None:
    """Another program wrote it; it can be removed, or added again.

    Prevents a bug: the list and the page of hooks were an error.
    """
    for name in ("a", "b"):
        _add(queue, name, "--on", "dead", "x")
    with queue.opened() as storage:
        sql(storage, "UPDATE hooks SET timeout = 'x' WHERE name = 'a'")
    why = "hook a: timeout is 'x' (queuectl hook remove, or add --replace)\n"

    listed = queue.run("hook", "list", "--json")
    assert [each["name"] for each in json.loads(listed.out)] == ["b"]
    assert listed.err == why
    assert queue.run("hook", "list").err == why
    queue.ok("hook", "remove", "b")
    assert queue.run("hook", "list") == (0, "", why)
    _add(queue, "a", "--on", "dead", "--replace", "x")
    assert queue.run("hook", "list").err == ""


def test_a_hook_with_odd_variables_is_not_tested(queue: Queue) -> None:
    """Another program wrote them. Prevents a bug: the test was an unexpected error."""
    _add(queue, "a", "--on", "dead", "x")
    with queue.opened() as storage:
        sql(storage, "UPDATE hooks SET env = '['")
    assert queue.fails(1, "hook", "test", "a") == (
        "queuectl hook test: hook a: its variables cannot be read"
    )


def _some_hooks(queue: Queue) -> None:
    """Give a queue hooks in each state, the first of them with jobs."""
    report = 'mail -s "$QUEUECTL_PARENT_ID died: $QUEUECTL_PARENT_ERROR" someone@example.com'
    _add(queue, "ops", "--on", "dead,recovered", "--max-retries", "1", f"exit 7; {report}")
    _add(queue, "photos-done", "--on", "drained", "--queue", "photos", "--digest", "5m", "true")
    _add(queue, "nightly", "--on", "finished,missed", "--schedule", "night*", "true")
    queue.run("hook", "pause", "nightly")
    queue.enqueue("exit 3", "--max-retries", "1")
    queue.drain(workers=1)
    ago = to_text(utcnow() - timedelta(hours=2, minutes=30))
    sql(queue.storage, "UPDATE hooks SET created_at = ?", ago)
    sql(queue.storage, "UPDATE hooks SET last_delivery_at = ? WHERE name = 'ops'", ago)
    sql(queue.storage, "UPDATE jobs SET updated_at = ?, finished_at = ?", ago, ago)
    queue.close_storage()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("words", ["hook list", "hook show ops"])
def test_screens(queue: Queue, words: str, size: tuple[int, int]) -> None:
    """No row of a table is wider than the terminal."""
    _some_hooks(queue)
    shown = on_terminal(queue, *words.split(), env={"NO_COLOR": "1"}, size=size, streams="stdout")
    assert words != "hook list" or widest(shown.screen) <= size[0]
    screen = shown.screen.replace(str(queue.work), "/home/ann/work")
    compare(stable(screen), words.replace(" ", "-"), size)


def test_jobs_of_hooks_are_imported_as_other_jobs(queue: Queue) -> None:
    """They keep their lane, their input and what they were told, and fire nothing there."""
    _add(queue, "ops", "--on", "finished,drained", 'cat; echo "$QUEUECTL_PARENT_ID"')
    job = queue.enqueue("true", "--id", "parent", "--on-success", "true")
    queue.run("queue", "pause", "default/hooks")
    queue.drain(workers=1)
    lines = queue.export()
    assert len(lines) == 4
    folder = queue.folder / "other"
    folder.mkdir()
    other = Queue(folder)
    _add(other, "all", "--on", "finished,failed,drained", "true")
    assert other.run("import", "-", stdin="".join(f"{line}\n" for line in lines)).code == 0
    other.drain(workers=1)
    assert other.counts() == {"completed": 4}
    [told] = [each for each in other.json("list") if each["command"].startswith("cat")][:1]
    assert (told["queue"], told["hook"]) == ("default/hooks", None)
    output = other.run("logs", told["id"]).out
    assert json.loads(output.splitlines()[0])["data"]["id"] == job
    assert output.splitlines()[1] == job
    assert other.close() == []
