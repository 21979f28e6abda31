"""Which queue a command uses: --db, QUEUECTL_DB, or the one in the home folder."""

from __future__ import annotations

import os
import stat

import pytest

from support.calls import assert_refused
from support.queue import Queue
from support.states import tree

_STATE = ".local/state/queuectl"


def _at_home(queue: Queue) -> dict[str, str]:
    return {"QUEUECTL_DB": "", "HOME": str(queue.home)}


@pytest.mark.parametrize(
    "words",
    [
        ["--db", "PATH", "enqueue", "true"],
        ["--db=PATH", "enqueue", "true"],
        ["enqueue", "--db", "PATH", "true"],
        ["--db", "/no/such/folder/queue.db", "enqueue", "--db", "PATH", "true"],
    ],
)
def test_db_may_come_before_or_after_the_command(queue: Queue, words: list[str]) -> None:
    """If it is given twice, the later one wins.

    Regression: before the name of the command it ended in a traceback.
    """
    path = str(queue.folder / "other.db")
    words = [word.replace("PATH", path) for word in words]

    called = queue.run(*words)

    assert (called.code, called.err) == (0, "")
    assert (queue.folder / "other.db").is_file()
    assert not queue.database.exists()
    assert queue.run("--db", path, "list", "--ids").out == called.out
    assert queue.run("list", "--ids", env={"QUEUECTL_DB": path}).out == called.out


@pytest.mark.parametrize(
    "words", [["config", "set", "--db", "PATH", "max-retries", "5"], ["enqueue", "true"]]
)
def test_db_wins_over_the_environment(queue: Queue, words: list[str]) -> None:
    """QUEUECTL_DB is used only without --db."""
    path = queue.folder / "other.db"

    queue.run(*[word.replace("PATH", str(path)) for word in words])

    assert (path.exists(), queue.database.exists()) == ("--db" in words, "--db" not in words)


def test_a_relative_path_starts_at_the_current_folder(queue: Queue) -> None:
    """--db and QUEUECTL_DB may be relative; messages name the absolute path."""
    queue.run("--db", "a.db", "enqueue", "true")
    queue.run("enqueue", "true", env={"QUEUECTL_DB": f"../{queue.work.name}/b.db"})

    assert sorted(path.name for path in queue.work.glob("*.db")) == ["a.db", "b.db"]
    assert f'"database": "{queue.work}/b.db"' in queue.run("--db", "b.db", "status", "--json").out


@pytest.mark.parametrize("given", ["--db", "environment"])
def test_a_tilde_is_the_home_folder(queue: Queue, given: str) -> None:
    """A shell does not expand the ~ in `--db=~/x`, nor does cron in a variable."""
    words = ["--db", "~/q.db"] if given == "--db" else []
    env = {} if words else {"QUEUECTL_DB": "~/q.db"}

    assert queue.run(*words, "enqueue", "true", env=env).code == 0
    assert (queue.home / "q.db").is_file()


def test_the_default_queue_is_private(queue: Queue) -> None:
    """It is the only queue of the user: its folders are 0700 and its file 0600."""
    called = queue.run("enqueue", "true", env=_at_home(queue))

    assert (called.code, called.err) == (0, "")
    modes = {
        path: stat.S_IMODE(os.stat(queue.home / path).st_mode)
        for path in (".local", ".local/state", _STATE, f"{_STATE}/queue.db")
    }
    assert modes == {
        ".local": 0o700, ".local/state": 0o700, _STATE: 0o700, f"{_STATE}/queue.db": 0o600,
    }  # fmt: skip


def test_xdg_state_home_is_not_read(queue: Queue) -> None:
    """Cron does not set it, and its workers must find what was enqueued in a terminal."""
    env = {**_at_home(queue), "XDG_STATE_HOME": str(queue.folder / "xdg")}

    assert queue.run("enqueue", "true", env=env).code == 0
    assert (queue.home / _STATE / "queue.db").is_file()


@pytest.mark.parametrize(
    "words",
    [
        "status",
        "list",
        "list --json",
        "dlq list",
        "worker list",
        "config list",
        "config get retention",
    ],
)
def test_a_missing_default_queue_looks_empty(queue: Queue, words: str) -> None:
    """Commands that only look do not create it."""
    before = tree(queue.folder)

    assert queue.run(*words.split(), env=_at_home(queue)).code == 0
    assert tree(queue.folder) == before


@pytest.mark.parametrize(
    "words",
    ["queue resume", "queue resume foo", "config unset retention", "prune", "dlq retry --all",
     "dlq purge --all --yes", "retry --all --state dead", "cancel --all", "worker stop"],
)  # fmt: skip
def test_commands_without_work_succeed_on_a_missing_default_queue(queue: Queue, words: str) -> None:
    """Regression: some failed, because there was no write lock to take."""
    before = tree(queue.folder)
    called = queue.run(*words.split(), env=_at_home(queue))

    assert called.code == 0, called
    assert tree(queue.folder) == before


@pytest.mark.parametrize(
    "words",
    ["status", "list", "show x", "logs x", "dlq list", "dlq retry x", "dlq purge x", "worker list",
     "worker stop", "config list", "config get retention", "config unset retention"],
)  # fmt: skip
def test_a_given_queue_must_exist(queue: Queue, words: str) -> None:
    """A missing queue at a given path is an error, as it may be a typing mistake."""
    before = tree(queue.folder)

    assert_refused(
        queue.run(*words.split()),
        "queuectl " + " ".join(word for word in words.split() if word not in ("x", "retention")),
        f"no queue at {queue.database} yet (enqueue a job or start a worker to make one)",
        code=1,
    )
    assert tree(queue.folder) == before


@pytest.mark.parametrize("words", ["enqueue true", "config set retention 1d", "worker start"])
def test_the_folder_of_a_given_queue_is_not_created(queue: Queue, words: str) -> None:
    """Missing folders are created for the default queue only."""
    missing = queue.folder / "missing"

    assert_refused(
        queue.run(*words.split(), env={"QUEUECTL_DB": str(missing / "queue.db")}),
        "queuectl " + " ".join(words.split()[: 1 if words.startswith("enqueue") else 2]),
        f"cannot use the folder {missing}: No such file or directory",
        code=1,
    )
    assert not missing.exists()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("WORK", "WORK is not a file"),
        ("/dev/null/queue.db", "cannot look at /dev/null/queue.db: Not a directory"),
        ("~nobody-here/q.db", "cannot find the home folder in ~nobody-here/q.db (set HOME)"),
    ],
)
def test_a_path_that_cannot_be_a_queue_is_refused(queue: Queue, path: str, message: str) -> None:
    """There is one line, for reading and for writing."""
    path, message = (text.replace("WORK", str(queue.work)) for text in (path, message))

    for words in ("status", "enqueue true"):
        command = f"queuectl {words.split()[0]}"
        assert_refused(queue.run("--db", path, *words.split()), command, message, code=1)


@pytest.mark.parametrize("path", ["", "~/q.db"])
def test_an_empty_home_is_refused(queue: Queue, path: str) -> None:
    """Prevents a bug: the queue was put below the root folder."""
    shown = path or "~/.local/state/queuectl/queue.db"
    message = f"cannot find the home folder in {shown} (set HOME)"

    for words in ("status", "enqueue true"):
        done = queue.run(*words.split(), env={"HOME": "", "QUEUECTL_DB": path})
        assert_refused(done, f"queuectl {words.split()[0]}", message, code=1)


def test_a_path_that_is_not_utf_8_is_refused(queue: Queue) -> None:
    """Workers and jobs get the path as text."""
    before = tree(queue.folder)

    for words in ("status", "enqueue true"):
        assert_refused(
            queue.run("--db", b"/tmp/\xff.db", *words.split()),
            f"queuectl {words.split()[0]}",
            "the path of the database is not valid UTF-8",
        )
    assert tree(queue.folder) == before


def test_variables_of_jobs_set_no_options(queue: Queue) -> None:
    """Of the variables that a job has, queuectl reads only QUEUECTL_DB."""
    names = ["QUEUE", "QUEUES", "ENQUEUE_QUEUE", "ENQUEUE_ID", "JOB_ID", "ATTEMPT", "SLOT", "HELP"]

    called = queue.run("enqueue", "true", env={f"QUEUECTL_{name}": "7" for name in names})

    assert (called.code, called.err) == (0, "")
    assert queue.run("list", "--ids", "--queue", "default").out == called.out
    assert called.out != "7\n"


@pytest.mark.parametrize("words", ["--help", "--version", "status --help", "worker start --help"])
def test_help_does_not_use_the_queue(queue: Queue, words: str) -> None:
    """Help and version are printed for any path."""
    before = tree(queue.folder)

    called = queue.run(*words.split(), env={"QUEUECTL_DB": "/no/such/folder/queue.db"})

    assert (called.code, called.err) == (0, "")
    assert called.out
    assert tree(queue.folder) == before
