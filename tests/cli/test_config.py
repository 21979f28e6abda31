"""The commands `config get`, `set`, `unset` and `list`."""

from __future__ import annotations

import json

import pytest

from support.queue import Queue

_DEFAULTS = {
    "max-retries": "3",
    "backoff-base": "2",
    "backoff-max": "1h",
    "backoff-jitter": "0.1",
    "job-timeout": "300",
    "kill-grace": "10",
    "output-limit": "10MiB",
    "retention": "30d",
    "leftovers": "keep",
    "capture-env": "*",
    "shell": "/bin/sh",
    "hook-max-retries": "5",
}


@pytest.fixture(autouse=True)
def _a_queue(queue: Queue) -> None:
    with queue.opened():
        pass


@pytest.mark.parametrize(("key", "value"), list(_DEFAULTS.items()))
def test_defaults(queue: Queue, key: str, value: str) -> None:
    """A key that was never set has its default; `get` prints only the value."""
    assert queue.run("config", "get", key) == (0, f"{value}\n", "")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max-retries", "5"),
        ("max-retries", "0"),
        ("backoff-base", "1"),
        ("backoff-base", "1.5"),
        ("backoff-max", "90s"),
        ("backoff-jitter", "0"),
        ("job-timeout", "0"),
        ("job-timeout", "1h30m"),
        ("kill-grace", "500ms"),
        ("output-limit", "65536"),
        ("output-limit", "1GiB"),
        ("retention", "0"),
        ("leftovers", "kill"),
        ("shell", "/bin/bash"),
        ("hook-max-retries", "1"),
        ("capture-env", "*"),
        ("capture-env", ""),
        ("capture-env", "PATH,LANG"),
    ],
)
def test_set(queue: Queue, key: str, value: str) -> None:
    """`get` prints a value as it was given to `set`; after `unset` it prints the default."""
    assert queue.run("config", "set", key, value) == (0, f"{key} = {value}\n", "")
    assert queue.run("config", "get", key) == (0, f"{value}\n", "")
    assert queue.run("config", "unset", key) == (0, f"{key} = {_DEFAULTS[key]} (default)\n", "")
    assert queue.run("config", "get", key) == (0, f"{_DEFAULTS[key]}\n", "")


def test_set_creates_the_queue(queue: Queue) -> None:
    """The queue can be configured before its first job."""
    path = queue.folder / "new.db"

    assert queue.run("--db", str(path), "config", "set", "max-retries", "5").code == 0
    assert queue.run("--db", str(path), "config", "get", "max-retries").out == "5\n"


def test_set_twice(queue: Queue) -> None:
    """The later value replaces the earlier one."""
    queue.run("config", "set", "max-retries", "5")
    queue.run("config", "set", "max-retries", "6")

    assert queue.run("config", "get", "max-retries").out == "6\n"


def test_unset_of_a_key_that_is_not_set(queue: Queue) -> None:
    """Nothing has to be done, so it succeeds."""
    assert queue.run("config", "unset", "max-retries") == (0, "max-retries = 3 (default)\n", "")


def test_quiet(queue: Queue) -> None:
    """With -q nothing is printed."""
    assert queue.run("config", "set", "-q", "max-retries", "5") == (0, "", "")
    assert queue.run("config", "set", "max-retries", "6", "-q") == (0, "", "")
    assert queue.run("config", "unset", "-q", "max-retries") == (0, "", "")


def test_list_marks_defaults(queue: Queue) -> None:
    """Every key has one line with its value, the mark of a default, and its meaning."""
    queue.run("config", "set", "max-retries", "5")

    lines = [line.split(maxsplit=2) for line in queue.run("config", "list").out.splitlines()]

    assert lines[0] == ["KEY", "VALUE", "MEANING"]
    shown = {line[0]: line[1:] for line in lines[1:]}
    assert shown["max-retries"][0] == "5"
    assert not shown["max-retries"][1].startswith("default")
    for key, value in _DEFAULTS.items():
        if key != "max-retries":
            assert (shown[key][0], shown[key][1].split()[0]) == (value, "default")


def test_defaults_of_a_shared_queue(queue: Queue) -> None:
    """Its jobs take over only PATH, unless somebody says otherwise."""
    shared = ("--allow-shared", "config")
    assert queue.ok(*shared, "get", "capture-env") == "PATH"
    assert json.loads(queue.ok(*shared, "list", "--json"))["capture-env"] == {
        "value": "PATH", "default": "PATH", "set": False,
    }  # fmt: skip
    assert "PATH" in next(
        line for line in queue.ok(*shared, "list").splitlines() if line.startswith("capture-env")
    )
    queue.ok(*shared, "set", "capture-env", "*")
    assert queue.ok(*shared, "get", "capture-env") == "*"
    assert queue.ok(*shared, "unset", "capture-env") == "capture-env = PATH (default)"


def test_list_as_json(queue: Queue) -> None:
    """Each key has its value, its default, and whether it was set, even if to its default."""
    queue.run("config", "set", "max-retries", "5")
    queue.run("config", "set", "retention", "30d")

    shown = json.loads(queue.run("config", "list", "--json").out)

    expected = {
        key: {"value": value, "default": value, "set": key == "retention"}
        for key, value in _DEFAULTS.items()
    }
    expected["max-retries"] = {"value": "5", "default": "3", "set": True}
    assert {key: shown[key] for key in expected} == expected


def test_get_as_json(queue: Queue) -> None:
    """The value is printed as one JSON document."""
    assert queue.run("config", "get", "max-retries", "--json") == (0, '"3"\n', "")


def test_max_retries_and_timeout_are_taken_at_enqueue(queue: Queue) -> None:
    """A job keeps the values of the time when it was enqueued; its own options win."""
    queue.run("enqueue", "--id", "before", "true")
    queue.run("config", "set", "max-retries", "7")
    queue.run("config", "set", "job-timeout", "2m")
    queue.run("enqueue", "--id", "after", "true")
    queue.run("enqueue", "--id", "own", "--max-retries", "1", "--timeout", "9", "true")
    queue.run("config", "unset", "max-retries")

    assert {job.id: (job.max_retries, job.timeout) for job in queue.jobs()} == {
        "before": (3, 300.0),
        "after": (7, 120.0),
        "own": (1, 9.0),
    }


def test_max_retries_0_means_one_attempt(queue: Queue) -> None:
    """0 and 1 both mean one attempt and no retry."""
    queue.run("config", "set", "max-retries", "0")
    queue.run("enqueue", "true")

    assert [job.max_retries for job in queue.jobs()] == [1]


def test_unknown_keys_of_an_older_tool_are_listed_and_can_be_unset(queue: Queue) -> None:
    """Such a key of an upgraded file has no effect, but it does not disappear silently."""
    with queue.opened() as storage:
        connection = storage._database.connection
        connection.execute("INSERT INTO config VALUES ('backoff-initial-delay', '1')")

    listed = queue.run("config", "list").out.splitlines()[-1].split(maxsplit=2)
    shown = json.loads(queue.run("config", "list", "--json").out)["backoff-initial-delay"]

    assert listed == ["backoff-initial-delay", "1", "unknown (an older tool stored it)"]
    assert shown == {"value": "1", "default": None, "set": True}
    assert queue.run("config", "get", "backoff-initial-delay").out == "1\n"
    assert queue.run("config", "set", "backoff-initial-delay", "2").code == 2
    assert queue.run("config", "unset", "backoff-initial-delay") == (
        0,
        "backoff-initial-delay is unset\n",
        "",
    )
    assert queue.run("config", "get", "backoff-initial-delay").code == 2
