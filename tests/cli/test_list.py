"""`list`: which jobs it lists, in which order, and how it prints them."""

from __future__ import annotations

import json
import re

import pytest

from queuectl.core.specs import JobSpec
from support.clock import noon
from support.queue import Queue
from support.states import every_state
from support.terminal import on_terminal

_ORDER = ["completed", "failed", "dead", "processing", "pending", "scheduled", "blocked",
          "cancelled"]  # fmt: skip
_TIME = "2026-01-31T12:00:{:02}.000000Z"

_TABLE = """\
ID          STATE       QUEUE    PRIO  RUNS  UPDATED              LABEL    COMMAND
completed   completed   q        7     1/3   2026-01-31 12:00:11  a label  run completed
failed      failed      default  0     1/5   2026-01-31 12:00:21  -        run failed
dead        dead        default  0     1/1   2026-01-31 12:00:31  -        run dead
processing  processing  default  0     1/3   2026-01-31 12:00:40  -        run processing
pending     pending     default  0     0/3   2026-01-31 12:00:04  -        run pending
scheduled   scheduled   default  0     0/3   2026-01-31 12:00:05  -        run scheduled
blocked     blocked     default  0     0/3   2026-01-31 12:00:06  -        run blocked
cancelled   cancelled   default  0     0/3   2026-01-31 12:00:50  -        run cancelled
"""


def test_a_table_off_a_terminal(queue: Queue) -> None:
    """Off a terminal there is one line per job, with full times and uncut commands."""
    every_state(queue)

    assert queue.run("list") == (0, _TABLE, "")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", _ORDER),
        ("-n 2", ["blocked", "cancelled"]),
        ("-n 100", _ORDER),
        ("--state dead", ["dead"]),
        ("--state dead --state pending", ["dead", "pending"]),
        ("--state pending,dead,pending", ["dead", "pending"]),
        ("--state failed,dead --state blocked -n 2", ["dead", "blocked"]),
        ("--queue q", ["completed"]),
        ("--queue q,default -n 1", ["cancelled"]),
        ("--queue q --queue default", _ORDER),
        ("--queue default --state completed", []),
        ("--queue nobody", []),
    ],
)
def test_options_select_jobs(queue: Queue, options: str, expected: list[str]) -> None:
    """Jobs come in the order they were enqueued; -n keeps the newest of the selected ones."""
    every_state(queue)

    ids = queue.run("list", "--ids", *options.split())
    whole = queue.run("list", "--json", *options.split())

    assert ids == (0, "".join(f"{job}\n" for job in expected), "")
    assert [job["id"] for job in json.loads(whole.out)] == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--label a*", ["completed"]),
        ("--label b*", []),
        ("--label * --queue default", []),
        ("--since 1h", []),
        ("--since 2026-01-31T12:00:31Z", ["dead", "processing", "cancelled"]),
        ("--since 2026-01-31T12:00:31Z -n 1", ["cancelled"]),
        ("--since 2026-01-31 --state dead,pending", ["dead", "pending"]),
        ("--since 2026-01-31 --label *", ["completed"]),
        ("--find dead", ["dead"]),
        ("--find RUN", _ORDER),
        ("--find state:dead,failed", ["failed", "dead"]),
        ("--find state:dead --state failed", []),
        ("--find run --state dead -n 1", ["dead"]),
        ("--schedule nightly", []),
    ],
)
def test_jobs_are_selected_by_label_and_time(
    queue: Queue, options: str, expected: list[str]
) -> None:
    """--since means the end of a finished job, and else its last change."""
    every_state(queue)

    assert queue.run("list", "--ids", *options.split()).out.split() == expected
    dead = queue.run("dlq", "list", "--ids", *options.split()).out.split()
    if "--state" not in options and "-n" not in options:
        assert dead == [job for job in expected if job == "dead"]


def test_wrong_values(queue: Queue) -> None:
    """The error names the option and what it accepts."""
    assert queue.fails(2, "list", "--since", "soon") == (
        "queuectl list: --since: not a duration or a time: 'soon' "
        "(use 2h, 18:00, yesterday, 2026-12-24 or 2026-12-24T18:00)"
    )
    assert queue.fails(2, "list", "--label", "x" * 1001) == (
        "queuectl list: --label: at most 1000 characters"
    )


def test_jobs_stay_in_the_order_they_were_enqueued(queue: Queue) -> None:
    """Neither a priority nor a later change moves a job in the list."""
    with queue.opened() as storage:
        specs = [JobSpec(command="true", id=f"j{n}", priority=n % 3) for n in range(1100)]
        storage.enqueue(specs, now=noon(0))
        storage.cancel(storage.get("j5"), now=noon(1))

    assert queue.run("list", "--ids").out.split() == [spec.id for spec in specs]
    assert [line.split()[0] for line in queue.run("list").out.splitlines() if line[0] == "j"] == [
        spec.id for spec in specs
    ]


def test_an_empty_list(queue: Queue) -> None:
    """Without jobs stdout stays empty, and JSON is an empty array."""
    with queue.opened():
        pass

    assert queue.run("list") == (0, "", "no jobs\n")
    assert queue.run("list", "--ids") == (0, "", "")
    assert queue.run("list", "--json") == (0, "[]\n", "")


def test_a_job_as_json(queue: Queue) -> None:
    """JSON has the keys that programs rely on, times in UTC, and null for unset values."""
    every_state(queue)

    [shown] = json.loads(queue.run("list", "--json", "--queue", "q").out)

    expected = {
        "id": "completed", "number": 1, "started_at": _TIME.format(10), "seconds": 0.25,
        "output_bytes": 3, "queue": "q", "label": "a label", "command": "run completed",
        "state": "completed", "priority": 7, "attempts": 1, "interruptions": 0,
        "max_retries": 3, "timeout": 300.0,
        "run_at": None, "created_at": _TIME.format(0), "updated_at": _TIME.format(11),
        "finished_at": _TIME.format(11), "locked_by": None, "locked_at": None, "cwd": "/tmp",
        "env": {"TOKEN": "***"}, "unique_key": None, "exit_code": 0, "signal": None,
        "last_error": None,
    }  # fmt: skip
    assert {key: shown[key] for key in expected} == expected


def test_jobs_in_other_states_as_json(queue: Queue) -> None:
    """A scheduled job has its time, a running one its worker, a killed one its signal."""
    every_state(queue)

    shown = {job["id"]: job for job in json.loads(queue.run("list", "--json").out)}

    assert (shown["processing"]["locked_by"], shown["processing"]["locked_at"]) == (
        "5a5a5a5a-2",
        _TIME.format(40),
    )
    last = ("started_at", "seconds", "output_bytes")
    assert [shown["processing"][key] for key in last] == [_TIME.format(40), None, None]
    assert [shown["dead"][key] for key in last] == [_TIME.format(30), 3.0, 0]
    assert [shown["pending"][key] for key in last] == [None, None, None]
    assert shown["scheduled"]["run_at"] == "2057-10-09T13:46:40.000000Z"
    assert (shown["failed"]["exit_code"], shown["failed"]["signal"]) == (3, None)
    assert (shown["dead"]["exit_code"], shown["dead"]["signal"]) == (None, 9)
    assert (shown["dead"]["last_error"], shown["dead"]["finished_at"]) == (
        "killed by SIGKILL",
        _TIME.format(31),
    )


def test_show_env(queue: Queue) -> None:
    """The values of variables may be secret, so they are printed only with --show-env."""
    every_state(queue)

    for verb in (["list", "--queue", "q"], ["dlq", "list"]):
        assert "secret" not in queue.run(*verb, "--json").out
    [shown] = json.loads(queue.run("list", "--queue", "q", "--json", "--show-env").out)

    assert shown["env"] == {"TOKEN": "secret"}


class TestOnATerminal:
    """On a terminal a list stays readable."""

    def test_what_a_person_looks_for_comes_first(self, queue: Queue) -> None:
        """Running jobs, then failed ones, then those that are next, then the finished ones."""
        every_state(queue)

        shown = on_terminal(queue, "list", size=(120, 40))

        assert (shown.err, _ids(shown.screen)) == (
            "",
            ["processing", "failed", "pending", "scheduled", "blocked", "cancelled", "dead",
             "completed"],
        )  # fmt: skip

    @pytest.mark.parametrize(("lines", "rows"), [(24, 21), (5, 10), (50, 47), (500, 100)])
    def test_a_list_has_room_on_the_screen(self, queue: Queue, lines: int, rows: int) -> None:
        """With its header and the line that says how many more there are; at most 100 jobs."""
        with queue.opened() as storage:
            specs = [JobSpec(command="true", id=f"j{n}") for n in range(103)]
            storage.enqueue(specs, now=noon(0))

        shown = on_terminal(queue, "list", size=(80, lines))

        assert shown.err == f"{103 - rows} more (queuectl list --last N)\n"
        assert _ids(shown.screen) == [f"j{n}" for n in range(rows)]

    def test_a_number_means_the_newest(self, queue: Queue) -> None:
        """As off a terminal: in the order they were enqueued, and without a limit."""
        with queue.opened() as storage:
            specs = [JobSpec(command="true", id=f"j{n}") for n in range(103)]
            storage.enqueue(specs, now=noon(0))

        shown = on_terminal(queue, "list", "-n", "102", size=(80, 24))

        assert (shown.err, _ids(shown.screen)) == ("", [f"j{n}" for n in range(1, 103)])

    def test_ids_and_json_are_never_cut(self, queue: Queue) -> None:
        """Output for programs is complete on a terminal, too."""
        with queue.opened() as storage:
            storage.enqueue([JobSpec(command="x" * 500)] * 103, now=noon(0))

        assert len(on_terminal(queue, "list", "--ids").screen.splitlines()) == 103
        shown = json.loads(on_terminal(queue, "list", "--json").screen)
        assert [job["command"] for job in shown] == ["x" * 500] * 103

    def test_a_row_fits_into_a_line(self, queue: Queue) -> None:
        """A long command is cut so that its row fits; off a terminal it is printed whole.

        Regression: the widths of the headers were not counted, so rows with short ids wrapped.
        """
        command = "echo " + "x" * 200
        queue.enqueue(command, "--id", "a")

        shown = on_terminal(queue, "list", env={"COLUMNS": "90", "NO_COLOR": "1"})
        lines = shown.screen.splitlines()

        assert [len(line) <= 90 for line in lines] == [True, True]
        assert re.fullmatch(r"@1 +a +◦ pending +0/3 +for \d+ \w+ +echo x+…x+", lines[1])
        assert command in queue.ok("list")

    def test_times_are_relative(self, queue: Queue) -> None:
        """Times say how long something goes on, or how long ago it ended."""
        every_state(queue)

        dull = {"NO_COLOR": "1"}
        screen = on_terminal(queue, "list", "--state", "pending", env=dull).screen

        assert re.search(r"pending +◦ pending +0/3 +for \d+ d +run pending", screen)


def _ids(screen: str) -> list[str]:
    return [line.split()[1] for line in screen.splitlines() if line.startswith("@")]


def test_what_find_does_not_understand(queue: Queue) -> None:
    """The message names the option and the field."""
    every_state(queue)

    assert queue.fails(2, "list", "--find", "x exit:none") == (
        "queuectl list: --find: exit: not a number: none"
    )


def test_find_among_the_dead(queue: Queue) -> None:
    """Dead jobs can be searched for as well."""
    every_state(queue)

    assert queue.ok("dlq", "list", "--ids", "--find", "run dead") == "dead"
    assert queue.ok("dlq", "list", "--ids", "--find", "state:failed") == ""
