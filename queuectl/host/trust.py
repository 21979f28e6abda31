"""Users other than this one and root who can change the files of a queue."""

from __future__ import annotations

import os
import stat
from typing import Iterator

from queuectl.core.named_tuples import NamedTuple
from queuectl.host.files import QueueFiles

_MOST_LINKS = 40
"""The kernel follows no more symbolic links in one path."""


class WeakPlace(NamedTuple):
    """A file or folder through which somebody else can change what a queue holds."""

    path: str
    """The file, folder or symbolic link."""

    owner: int | None
    """The user to whom it belongs; None if it is ours, but its mode lets others write to it."""


def weak_place(files: QueueFiles) -> WeakPlace | None:
    """Return the first place through which somebody else can change the queue; None if none is.

    Whoever owns a folder, or can write to it, can put another file under any name in it. So every
    folder from `/` down to the queue has to belong to us or to root, and others may write to none,
    except to a sticky one such as /tmp, where only the owner of an entry can replace it. The
    queue's own folder must not even be sticky: others could create the files that SQLite reads
    beside the database. All this holds for the folders on the way of a symbolic link as well.
    """
    trusted = _trusted()
    weak = _weak_way(files.given or files.database, os.path.dirname(files.database), trusted)
    # SQLite replays any valid journal that lies beside a database.
    beside = (files.wal, files.shm, files.journal, files.folder, files.workers, files.logs)
    for path in () if weak else beside:
        try:
            status = os.lstat(path)
        except OSError:  # it is not there
            continue
        if status.st_uid not in trusted:
            return WeakPlace(path, status.st_uid)
        if _is_open(status):
            return WeakPlace(path, None)
    return weak


def weak_folder(path: str) -> WeakPlace | None:
    """Return the first place through which somebody else can change the files of a folder.

    None if nobody else can even add one. `path` is absolute.
    """
    return _weak_way(path, os.path.realpath(path), _trusted())


def _trusted() -> set[int]:
    """Return the users that are no others.

    Whoever owns `/` can do everything below it. That is root, except in a user namespace in which
    the root of the host has no number of its own.
    """
    return {os.geteuid(), 0, os.lstat("/").st_uid}


def _weak_way(path: str, own_folder: str, trusted: set[int]) -> WeakPlace | None:
    """Return the first weak place on the way to a path; to `own_folder` nobody else may write."""
    for entry, status in _way_to(path):
        if status.st_uid not in trusted:
            return WeakPlace(entry, status.st_uid)
        is_above = stat.S_ISDIR(status.st_mode) and entry != own_folder
        if _is_open_above(entry, status) if is_above else _is_open(status):
            return WeakPlace(entry, None)
    return None


def _way_to(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield what the kernel goes through to open a path: folders, symbolic links, the file itself.

    Ends at the first name that does not exist, or that cannot be looked at.
    """
    yield "/", os.lstat("/")
    place, links = "/", 0
    ahead = path.split("/")[::-1]
    while ahead:
        name = ahead.pop()
        if name in ("", "."):
            continue
        if name == "..":
            place = os.path.dirname(place)
            continue
        entry = os.path.join(place, name)
        try:
            status = os.lstat(entry)
            target = os.readlink(entry) if stat.S_ISLNK(status.st_mode) else None
        except OSError:
            return
        yield entry, status
        if target is None:
            place = entry
            continue
        links += 1
        if links > _MOST_LINKS:
            return
        ahead += target.split("/")[::-1]
        if target.startswith("/"):
            place = "/"


def _is_open(status: os.stat_result) -> bool:
    """Whether its mode lets others write to a file or folder. The mode of a link means nothing."""
    return status.st_mode & 0o022 != 0 and not stat.S_ISLNK(status.st_mode)


def _is_open_above(path: str, status: os.stat_result) -> bool:
    """Whether others can replace what is not theirs in a folder above the queue's own."""
    mode = status.st_mode
    if not mode & 0o022 or mode & stat.S_ISVTX:
        return False
    return bool(mode & stat.S_IWOTH) or not _is_private_group(path, status.st_gid)


def _is_private_group(path: str, group: int) -> bool:
    """Whether nobody else is in the group of a folder.

    Many distributions give each user such a group, and a umask of 002: there ~/.local is writable
    for the group.
    """
    import grp  # only for such folders
    import pwd

    own = os.geteuid()
    try:
        members = set(grp.getgrgid(group).gr_mem) - {pwd.getpwuid(own).pw_name}
    except KeyError:
        return False
    if members or any(user.pw_gid == group and user.pw_uid != own for user in pwd.getpwall()):
        return False
    try:
        # With an access list, the bits of the group are what any user in the list may have.
        os.getxattr(path, "system.posix_acl_access")
    except (OSError, AttributeError):  # it has none, or this system has none
        return True
    return False
