"""A place that another user can change: no command that changes something works there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support.calls import assert_refused
from support.queue import Queue
from support.states import tree

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

_OTHER = 61_234

_CHANGES = (
    "enqueue true",
    "worker start --drain",
    "config set kill-grace 2",
    "config unset kill-grace",
    "queue pause",
    "queue resume",
    "queue limit default 2",
    "cancel a",
    "retry a",
    "edit --priority 3 a",
    "dlq retry a",
    "dlq purge a",
    "import /dev/null",
    "prune --older-than 0s",
)
_READS = ("list", "status", "show a", "why a", "logs a", "worker list", "config list", "queue list")


@pytest.fixture
def place(queue: Queue) -> Path:
    """The folder of a queue, whose mode is 0700, and which belongs to another user."""
    place = queue.folder / "place"
    place.mkdir(0o700)
    queue.database = place / "queue.db"
    queue.env["QUEUECTL_DB"] = str(queue.database)
    queue.ok("enqueue", "--id", "a", "true")
    os.chown(place, _OTHER, _OTHER)
    return place


@pytest.mark.parametrize("words", _CHANGES)
def test_a_folder_of_another_user_is_refused(queue: Queue, place: Path, words: str) -> None:
    """Prevents: another user puts a -wal beside the database, and root runs the jobs in it.

    Only the mode of the folder was checked, and its owner can write to it whatever the mode is.
    """
    before = tree(place)
    first, *rest = words.split()
    name = f"{first} {rest[0]}" if first in ("worker", "config", "queue", "dlq") else first

    assert_refused(
        queue.run(*words.split()),
        f"queuectl {name}",
        f"{place} belongs to somebody else, who could run commands as you "
        "(use your own --db, or --allow-shared)",
        code=1,
    )
    assert tree(place) == before


@pytest.mark.parametrize("words", _READS)
def test_looking_is_allowed(queue: Queue, place: Path, words: str) -> None:
    """An administrator may look at the queue of a user."""
    assert queue.run(*words.split()).code == 0


def test_it_can_be_allowed(queue: Queue, place: Path) -> None:
    """An administrator may also use it, if they say so."""
    queue.ok("--allow-shared", "enqueue", "true")
    queue.ok("--allow-shared", "worker", "start", "--drain")
    assert queue.json("status")["jobs"]["completed"] == 2


def test_doctor_names_the_folder(queue: Queue, place: Path) -> None:
    """Prevents: doctor did not look at the owner of the folder."""
    called = queue.run("doctor")

    assert called.code == 1
    assert f"fail  owner and mode: {place} belongs to user {_OTHER}\n" in called.out


@pytest.mark.parametrize("allowed", [[], ["--allow-shared"]])
def test_no_folder_is_made_in_the_home_of_another_user(queue: Queue, allowed: list[str]) -> None:
    """Prevents: with `sudo -E`, root made ~/.local with mode 0700, and its user was locked out."""
    os.chown(queue.home, _OTHER, _OTHER)
    env = {"QUEUECTL_DB": "", "HOME": str(queue.home)}

    assert_refused(
        queue.run(*allowed, "enqueue", "true", env=env),
        "queuectl enqueue",
        f"{queue.home} belongs to somebody else, who could not use folders that you make there "
        "(set HOME to your own, or use --db)"
        if allowed
        else f"{queue.home} belongs to somebody else, who could run commands as you "
        "(set HOME to your own, use --db, or --allow-shared)",
        code=1,
    )
    assert list(queue.home.iterdir()) == []
