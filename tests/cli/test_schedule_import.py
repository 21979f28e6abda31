"""Crontabs become schedules, and schedules go from one queue to another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from queuectl.cli.commands import schedule_import
from support.queue import Queue

pytest.importorskip("cronsim", reason="the extra cron is not installed")

_CRONTAB = """\
# Edit this file to introduce tasks to be run by cron.
#
# m h  dom mon dow   command
SHELL=/bin/sh
PATH=/opt/bin:/usr/bin:/bin
MAILTO=ada@example.org
GREETING="hello  world"

# night-backup
0 2 * * *  /opt/bin/backup --all >> /var/log/backup.log 2>&1
*/5 * * * * fetchmail -s
*/5 * * * * fetchmail -s
@daily test -d /srv && cd /srv && make report
30 6 1,15 * mon-fri nice -n 10 /usr/local/bin/report.sh --month
15 4 * * 0 mail -s "weekly" ada%Dear Ada,%all is well.
0 0 1 1 * date +\\%F > new-year
RANDOM_DELAY=10
CRON_TZ=Europe/Berlin
0 9-17/2 * Jan-Jun,Dec 1-5 echo "$GREETING"
"""


def _import(queue: Queue, text: str = _CRONTAB, *options: str) -> Any:
    return queue.run("schedule", "import", *options, "-", stdin=text)


def _schedules(queue: Queue) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in queue.json("schedule", "list")}


def test_each_line_becomes_a_schedule_that_does_the_same(queue: Queue) -> None:
    done = _import(queue)
    assert done.code == 0
    assert done.out.split() == [
        "night-backup", "fetchmail", "fetchmail-2", "make", "report.sh", "mail", "date", "echo",
    ]  # fmt: skip
    assert done.err.splitlines() == ["8 added"]
    found = _schedules(queue)
    assert {name: (one["expression"], one["timezone"], one["jitter"]) for name, one in
            found.items()} == {
        "night-backup": ("0 2 * * *", None, 0),
        "fetchmail": ("*/5 * * * *", None, 0),
        "fetchmail-2": ("*/5 * * * *", None, 0),
        "make": ("@daily", None, 0),
        "report.sh": ("30 6 1,15 * mon-fri", None, 0),
        "mail": ("15 4 * * 0", None, 0),
        "date": ("0 0 1 1 *", None, 0),
        "echo": ("0 9-17/2 * Jan-Jun,Dec 1-5", "Europe/Berlin", 600),
    }  # fmt: skip
    exported = {line["name"]: line["job"] for line in map(json.loads, _export(queue))}
    home = str(queue.home)
    assert exported["night-backup"] == {
        "command": "/opt/bin/backup --all >> /var/log/backup.log 2>&1",
        "cwd": home,
        "env": {
            "PATH": "/opt/bin:/usr/bin:/bin",
            "HOME": home,
            "LOGNAME": exported["night-backup"]["env"]["LOGNAME"],
            "GREETING": "hello  world",
        },
        "shell": "/bin/sh",
        "timeout": 0.0,
        "max_retries": 1,
    }
    assert exported["mail"]["command"] == 'mail -s "weekly" ada'
    assert exported["mail"]["input"] == "Dear Ada,\nall is well.\n"
    assert exported["date"]["command"] == "date +%F > new-year"


def test_a_job_of_a_crontab_runs_as_under_cron(queue: Queue) -> None:
    """In the home folder, with the variables of the crontab and its input."""
    _import(queue, "A='b c'\n@daily pwd > out; echo $A >> out; cat >> out%one%two\n")
    queue.ok("schedule", "run", "pwd")
    queue.drain()
    assert (queue.home / "out").read_text().splitlines() == [str(queue.home), "b c", "one", "two"]


def test_importing_again_changes_nothing(queue: Queue) -> None:
    _import(queue)
    before = _schedules(queue)
    done = _import(queue)
    assert (done.code, done.out, done.err) == (0, "", "8 unchanged\n")
    assert _schedules(queue) == before


def test_a_changed_line_is_added_and_with_sync_takes_the_place_of_the_old_one(
    queue: Queue,
) -> None:
    """The history of the schedule is kept: it is still the same task."""
    _import(queue)
    queue.ok("schedule", "run", "make")
    changed = _CRONTAB.replace("make report", "make -j2 report").replace("@daily", "@weekly")
    changed = changed.replace("*/5 * * * * fetchmail -s\n", "", 1)
    done = _import(queue, changed, "--sync")
    assert (done.code, done.out.split()) == (0, ["make"])
    assert done.err == "1 changed, 1 removed, 6 unchanged\n"
    found = _schedules(queue)
    assert (found["make"]["expression"], found["make"]["made"]) == ("@weekly", 1)
    assert len(queue.json("schedule", "show", "make")["ticks"]) == 1
    assert len(found) == 7


def test_sync_leaves_what_came_from_elsewhere(queue: Queue) -> None:
    queue.ok("schedule", "add", "mine", "@daily", "--", "true")
    (queue.work / "other").write_text("@daily other\n")
    queue.ok("schedule", "import", "other")
    _import(queue, "@daily one\n")
    _import(queue, "@daily two\n", "--sync")
    assert sorted(_schedules(queue)) == ["mine", "other", "two"]


def test_a_dry_run_prints_a_table_and_makes_no_queue(queue: Queue) -> None:
    done = _import(queue, "@daily backup\n# x\n@reboot true\n".replace("@reboot", "@hourly"), "-n")
    assert done.code == 0
    assert [line.split()[:2] for line in done.out.splitlines()[-2:]] == [
        ["add", "backup"],
        ["add", "x"],
    ]
    assert done.err == "2 added; nothing was stored\n"
    assert not queue.database.exists()


def test_one_bad_line_keeps_all_from_being_stored(queue: Queue) -> None:
    text = "@daily good\n@reboot daemon\n99 * * * * never\n0 0 30 2 * never\nnonsense\n"
    done = _import(queue, text)
    assert (done.code, done.out) == (1, "")
    lines = done.err.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "line 2", "line 3", "line 4", "line 5", "queuectl schedule import",
    ]  # fmt: skip
    assert lines[0] == (
        "line 2: @reboot has no counterpart: let a service start the command: @reboot daemon"
    )
    assert lines[-1] == ("queuectl schedule import: nothing was stored, because of 4 lines")
    assert not queue.database.exists()


def test_a_given_name_that_is_taken_is_refused_unless_replaced(queue: Queue) -> None:
    queue.ok("schedule", "add", "night", "@daily", "--", "true")
    text = "# night\n@weekly false\n"
    done = _import(queue, text)
    assert (done.code, done.out) == (1, "")
    assert "there is a schedule night already (--replace changes it)" in done.err
    assert _import(queue, text, "--replace").code == 0
    assert _schedules(queue)["night"]["expression"] == "@weekly"


def test_a_system_crontab_is_recognised(queue: Queue) -> None:
    """Its sixth column would become the program of each job."""
    note = (
        "root is a user, not a program: for a file with a column for the user, as /etc/crontab, "
        "use --system-user root"
    )

    done = _import(queue, "17 * * * * root cd / && run-parts /etc/cron.hourly\n", "-n")
    assert done.err.splitlines() == ["1 added; nothing was stored", note]
    done = _import(queue, "17 * * * * root cd / && run-parts /etc/cron.hourly\n", "--system-user",
                   "root")  # fmt: skip
    assert done.err.splitlines() == ["1 added"]


def test_the_lines_of_one_user_are_taken_from_a_system_crontab(queue: Queue) -> None:
    text = "17 * * * * root run-parts /etc/cron.hourly\n@daily nobody true\n"
    done = _import(queue, text, "--system-user", "root", "--prefix", "sys-")
    assert done.out.split() == ["sys-run-parts"]


def _export(queue: Queue, *options: str) -> list[str]:
    return queue.ok("schedule", "export", *options).splitlines()


def test_what_is_exported_can_be_imported(queue: Queue) -> None:
    """Into another queue, with everything but the history."""
    _import(queue)
    queue.ok(
        "schedule", "add", "all", "every 90s", "--missed", "all", "--overlap", "allow",
        "--until", "2099-01-01T00:00Z", "--jitter", "5", "--missed-within", "1h", "--paused",
        "--env", "A=b", "--", "true",
    )  # fmt: skip
    lines = _export(queue)
    other = str(queue.folder / "other.db")
    done = queue.run("--db", other, "schedule", "import", "-", stdin="\n".join(lines))
    assert (done.code, len(done.out.split())) == (0, 9)
    assert queue.ok("--db", other, "schedule", "export").splitlines() == lines


def test_variables_are_masked_if_asked_for(queue: Queue) -> None:
    queue.ok("schedule", "add", "one", "@daily", "--env", "TOKEN=secret", "--", "true")
    assert "secret" in "".join(_export(queue))
    assert "secret" not in "".join(_export(queue, "--mask-env"))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ('{"name": "a"}', "line 1: name and expression are required"),
        ('{"name": "a", "expression": "@daily"}', "line 1: job must be an object"),
        ('{"name": "a", "expression": "@daily", "job": {}}', "line 1: its job cannot be read"),
        (
            '{"name": "a", "expression": "@daily", "job": {"command": "x"}, "extra": 1}',
            "line 1: unknown field 'extra'",
        ),
        (
            '{"name": "a", "expression": "@daily", "job": {"command": "x"}, "missed": "all"}',
            "line 1: missed all requires overlap allow",
        ),
        (
            '{"name": "a", "expression": "@daily", "job": {"command": "x"}, "jitter": "long"}',
            "line 1: jitter must be a number of seconds",
        ),
        (
            '{"name": "a", "expression": "@daily", "job": {"command": "x"}, "until": "soon"}',
            "line 1: until must be an ISO-8601 time with a zone",
        ),
        ('{"name": "a b", "expression": "@daily", "job": {"command": "x"}}', "line 1: name"),
    ],
)
def test_a_line_that_is_wrong_is_named(queue: Queue, line: str, error: str) -> None:
    assert error in queue.fails(2, "schedule", "import", "-", stdin=line)
    assert not queue.database.exists()


def test_crontab_is_mentioned_where_it_is_needed() -> None:
    """The help says how to give it the crontab."""
    assert "crontab -l | queuectl schedule import -" in (schedule_import.schedule_import.help or "")
