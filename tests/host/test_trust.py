"""Who else can change what a queue holds: asked of owners and modes, of the whole path."""

from __future__ import annotations

import grp
import os
import pwd
import tempfile
from pathlib import Path
from typing import Iterator

import pytest

from queuectl.host import files, trust
from queuectl.host.trust import WeakPlace, weak_place
from support.watch.file_watch import by_hand

_OTHER = 61_234
"""A user and a group that is not ours, and that need not exist."""

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def top() -> Iterator[Path]:
    """A folder in /tmp, which is sticky, that contains `above/mine`, ours alone."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name).resolve()
        (folder / "above" / "mine").mkdir(0o700, parents=True)
        (folder / "above").chmod(0o700)
        yield folder


def weak(path: Path) -> WeakPlace | None:
    return weak_place(files.find(str(path), None, False))


def give_away(path: Path) -> None:
    os.chown(path, _OTHER, _OTHER, follow_symlinks=False)


def test_a_folder_of_our_own_in_a_sticky_one_is_trusted(top: Path) -> None:
    """The README works in `mktemp -d`: nobody else can rename what is ours in /tmp."""
    assert Path("/tmp").stat().st_mode & 0o1777 == 0o1777
    assert weak(top / "above" / "mine" / "queue.db") is None
    assert weak(top / "above" / "not there" / "queue.db") is None


@only_root
@pytest.mark.parametrize("name", ["above", "above/mine"])
def test_a_folder_of_another_user_is_weak(top: Path, name: str) -> None:
    """Prevents: only modes were checked. The owner can write to a folder whatever its mode is."""
    give_away(top / name)

    assert weak(top / "above" / "mine" / "queue.db") == WeakPlace(str(top / name), _OTHER)


@pytest.mark.parametrize(
    ("name", "mode", "is_weak"),
    [
        ("above", 0o777, True),
        ("above", 0o702, True),
        ("above", 0o1777, False),
        ("above/mine", 0o777, True),
        ("above/mine", 0o720, True),
        ("above/mine", 0o1777, True),
    ],
)
def test_a_folder_that_others_can_write_is_weak(
    top: Path, name: str, mode: int, is_weak: bool
) -> None:
    """Prevents: only the queue's own folder was checked. Above it, only a sticky one is safe."""
    (top / name).chmod(mode)

    expected = WeakPlace(str(top / name), None) if is_weak else None
    assert weak(top / "above" / "mine" / "queue.db") == expected


@pytest.mark.parametrize(
    "name",
    ["queue.db", "queue.db-wal", "queue.db-shm", "queue.db-journal",
     "queue.db.d", "queue.db.d/workers", "queue.db.d/logs"],
)  # fmt: skip
def test_everything_that_is_read_has_to_be_ours(top: Path, name: str) -> None:
    """Prevents: SQLite replayed a -wal that another user had put beside the database."""
    place = top / "above" / "mine"
    path = place / name
    if ".d" in path.suffixes or ".d/" in name:
        path.mkdir(0o700, parents=True)
    else:
        with by_hand():
            path.touch(0o600)
    assert weak(place / "queue.db") is None

    path.chmod(0o720)
    assert weak(place / "queue.db") == WeakPlace(str(path), None)
    path.chmod(0o600)
    if os.geteuid() == 0:
        give_away(path)
        assert weak(place / "queue.db") == WeakPlace(str(path), _OTHER)


@pytest.mark.parametrize("links", ["file", "folder", "up and down"])
def test_the_folders_of_links_are_checked_too(top: Path, links: str) -> None:
    """Whoever can replace the link chooses the queue."""
    place = top / "links"
    place.mkdir(0o777)
    queue = top / "above" / "mine" / "queue.db"
    if links == "file":
        (place / "it").symlink_to("../above/mine/queue.db")
        path = place / "it"
    elif links == "folder":
        (place / "it").symlink_to(queue.parent)
        path = place / "it" / "queue.db"
    else:
        (place / "it").symlink_to("../above")
        path = place / "it" / ".." / "above" / "." / "mine" / "queue.db"
    assert weak(path) is None
    assert files.find(str(path), None, False).database == str(queue)

    place.chmod(0o777)
    assert weak(path) == WeakPlace(str(place), None)
    place.chmod(0o1777)
    assert weak(path) is None
    if os.geteuid() == 0:
        give_away(place / "it")
        assert weak(path) == WeakPlace(str(place / "it"), _OTHER)


def test_a_loop_of_links_ends(top: Path) -> None:
    (top / "a").symlink_to("b")
    (top / "b").symlink_to("a")

    assert weak(top / "a" / "queue.db") is None


@pytest.mark.parametrize(
    ("members", "is_weak"), [([], False), (["me"], False), (["me", "other"], True)]
)
def test_a_group_of_one_is_nobody_else(
    top: Path, monkeypatch: pytest.MonkeyPatch, members: list[str], is_weak: bool
) -> None:
    """On many systems each user has such a group and a umask of 002, so ~/.local has mode 0775.

    Only above the queue's own folder: that one is used by nobody else's programs.
    """
    own = pwd.getpwuid(os.geteuid())
    names = [own.pw_name if name == "me" else name for name in members]
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group(("g", "x", gid, names)))
    monkeypatch.setattr(pwd, "getpwall", lambda: [own])
    (top / "above").chmod(0o775)
    path = top / "above" / "mine" / "queue.db"

    assert weak(path) == (WeakPlace(str(top / "above"), None) if is_weak else None)
    other = pwd.struct_passwd(("o", "x", 1, (top / "above").stat().st_gid, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwall", lambda: [own, other])
    assert weak(path) == WeakPlace(str(top / "above"), None)


def test_root_is_whoever_owns_the_root_folder(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a user namespace the root of the host is an unknown user, to whom `/` belongs."""
    real = os.lstat

    def lstat(path: str) -> os.stat_result:
        status = real(path)
        return os.stat_result([*status[:4], 65534, *status[5:]]) if path == "/" else status

    monkeypatch.setattr(trust.os, "lstat", lstat)

    assert weak(top / "above" / "mine" / "queue.db") is None
