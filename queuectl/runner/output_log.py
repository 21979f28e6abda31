"""What jobs print: a file of the worker's, bounded while it grows, kept when the attempt ends."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sys
import time

from queuectl.core.models import Output
from queuectl.host.files import tail_of, unfinished
from queuectl.host.filesystem import make, unlink_quietly

INLINE_BYTES = 4096
"""An output up to this size is kept in the attempt's row, and no file is made for it."""

GAP = b"\n[queuectl: %d bytes not kept]\n"
"""What stands in a kept log, and in what `logs` prints, for the middle that is gone."""

_TAIL_BYTES = 1024
_LOOK_SECONDS = 0.25
_HASTY_LOOK_SECONDS = 0.02
_LONGEST_EXCESS_SECONDS = 5.0
_MOST_EXCESS_BYTES = 1 << 30
_COPY_BYTES = 1 << 20
_ROOM_BYTES = 1 << 16
_SMALL_PART = 1 / 64
"""Of the room that is left on a disk: what a running job may take of it for a moment."""

_LOWEST_DESCRIPTOR = 10
# Appending: what truncates the file (`> /dev/stderr`) must not leave a hole before the rest.
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_PUNCH_HOLE = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, linux/falloc.h


class OutputLog:
    """The file that the running job of one worker prints into.

    It is locked (flock) and the job inherits the locked descriptor, so the lock is held for as
    long as anything of the job still has it. One file serves job after job: making and removing
    one for each costs more than most of what is printed.
    """

    def __init__(self, path: str, *, adopted: bool = False) -> None:
        """Open the file for jobs to come, or with `adopted` that of one which runs already."""
        self.path = path
        self._is_adopted = adopted
        self._needs_clearing = False
        self.descriptor = _open_file(path) if adopted else self._open_locked()
        self.begin(INLINE_BYTES)

    def begin(self, limit_bytes: int) -> None:
        """Make ready for a job whose output is kept up to `limit_bytes`: first and last half."""
        self._limit = limit_bytes
        self._seen_size = self._bounded_size = self._discarded = 0
        self._bounded_at = time.monotonic()
        self._aside: str | None = None

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode, by which the processes that hold the file are found."""
        status = os.fstat(self.descriptor)
        return status.st_dev, status.st_ino

    def is_held(self) -> bool:
        """Whether a process of the job has the file open; for an adopted one."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        return False

    def watch(self) -> float:
        """Bound what the file takes on the disk; return after how many seconds to come again.

        While its middle is given back the job cannot print. So that waits until the job pauses,
        for 5 seconds at most, or until there is too much of it.
        """
        status = os.fstat(self.descriptor)
        size = status.st_size
        if size <= self._limit // 2:
            return _LOOK_SECONDS
        if size > self._limit and size != self._bounded_size:
            now = time.monotonic()
            if (
                size == self._seen_size
                or now >= self._bounded_at + _LONGEST_EXCESS_SECONDS
                or _bytes_on_disk(status) - self._limit > _most_excess_bytes(self.descriptor)
            ):
                self._bound(size)
                self._bounded_at = now
        self._seen_size = size
        return _HASTY_LOOK_SECONDS

    def collect(self, kept_path: str) -> tuple[Output, bool]:
        """Take what the ended job printed; return it, and whether something still holds the file.

        Beyond INLINE_BYTES it goes to `kept_path`: whole, or its first and last half around a line
        that tells how much is missing. Else it stays in the file, too, until that is cleared: an
        heir may have to collect it again.
        """
        # The lock belongs to the open file that the job shares: only another one can test it.
        os.close(self.descriptor)
        descriptor = _open_file(self.path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftovers = False
        except BlockingIOError:
            leftovers = True
        size = os.fstat(descriptor).st_size
        collected = self._collected(kept_path) if self._is_adopted else None
        if collected is not None:
            self.descriptor = descriptor
            return collected, leftovers
        truncated = self._discarded > 0 or size > self._limit
        in_file = truncated or leftovers or size > INLINE_BYTES
        kept_bytes = _TAIL_BYTES if in_file else size
        output = Output(
            size + self._discarded,
            truncated,
            os.pread(descriptor, kept_bytes, max(0, size - kept_bytes)),
            in_file,
        )
        moved = False
        try:
            if truncated:
                self._keep_both_ends(descriptor, size, kept_path)
                if leftovers:  # they may hold it for ever
                    os.ftruncate(descriptor, 0)
            elif in_file:
                _refuse_full_disk(descriptor)
                os.rename(self.path, kept_path)
                moved = True
        except OSError:  # a full disk costs the output, never the result
            output = output._replace(truncated=True, in_file=False)
        if moved or leftovers:
            os.close(descriptor)
            descriptor = self._open_locked()
        self.descriptor = descriptor
        self._needs_clearing = size > 0 and not moved and not leftovers
        if size > INLINE_BYTES and _takes_much(descriptor):
            # It is kept elsewhere by now, or lost to a full disk, where the result needs the room.
            self.clear()
        return output, leftovers

    def clear(self) -> None:
        """Make room for the next job, when the result of the last is recorded."""
        if self._needs_clearing:
            os.ftruncate(self.descriptor, 0)
            # ext4 writes out, at its next close, a file that was cut to nothing. Closed while it is
            # empty that costs nothing; after the next job it would cost a write to the disk.
            os.close(_open_file(self.path))
            self._needs_clearing = False

    def close(self) -> None:
        """Let go of the file and leave it."""
        os.close(self.descriptor)

    def remove(self) -> None:
        """Take the file away: the worker leaves."""
        os.close(self.descriptor)
        unlink_quietly(self.path)

    def _open_locked(self) -> int:
        # Made anew: what is there was put there by somebody, or is held by leftovers of the dead.
        unlink_quietly(self.path)
        descriptor = _make_file(self.path)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor

    def _collected(self, kept_path: str) -> Output | None:
        """Return what was kept by a worker that was killed before it could record it."""
        try:
            descriptor = os.open(kept_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            size = os.fstat(descriptor).st_size
            tail = os.pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
            middle = os.pread(descriptor, len(GAP) + 20, self._limit // 2)
        finally:
            os.close(descriptor)
        gap = re.match(GAP.replace(b"[", rb"\[").replace(b"%d", b"([0-9]+)"), middle)
        if gap is None or size <= self._limit:
            return Output(size, False, tail, True)
        return Output(size - len(gap.group()) + int(gap.group(1)), True, tail, True)

    def _bound(self, size: int) -> None:
        half = self._limit // 2
        # All of the middle each time, for 25 us: of a hole smaller than a block the block would
        # be kept, and the job may have truncated the file and filled it again.
        if not self._discarded and _punch(self.descriptor, half, size - 2 * half):
            self._bounded_size = size
        else:
            self._set_aside(size, half)

    def _set_aside(self, size: int, half: int) -> None:
        """Bound the file where no hole can be punched: its end goes aside, then it is cut.

        What is printed between the copy and the cut is lost, uncounted.
        """
        aside, self._aside = tail_of(self.path), None
        try:
            with open(aside, "wb") as copy:
                _copy(self.descriptor, size - half, size, copy.fileno())
            self._aside = aside
        except OSError:  # a full disk costs the end of the output, never the job
            pass
        os.ftruncate(self.descriptor, half)
        self._discarded += size - half

    def _keep_both_ends(self, descriptor: int, size: int, kept_path: str) -> None:
        half = self._limit // 2
        new = unfinished(kept_path)
        unlink_quietly(new)
        kept = make(new, os.O_WRONLY | os.O_EXCL)
        aside, set_aside = -1, 0
        try:
            if self._aside is not None:
                aside = os.open(self._aside, os.O_RDONLY | os.O_CLOEXEC)
                set_aside = os.fstat(aside).st_size
            head, after_head = min(half, size), max(0, size - half)
            from_file = min(half, after_head)
            from_aside = min(half - from_file, set_aside)
            missing = size + self._discarded - head - from_file - from_aside
            _copy(descriptor, 0, head, kept)
            os.write(kept, GAP % missing)
            _copy(aside, set_aside - from_aside, set_aside, kept)
            _copy(descriptor, size - from_file, size, kept)
            os.rename(new, kept_path)
        except OSError:
            unlink_quietly(new)
            raise
        finally:
            os.close(kept)
            if self._aside is not None:
                if aside >= 0:
                    os.close(aside)
                unlink_quietly(self._aside)


def _make_file(path: str) -> int:
    return _lifted(make(path, _FLAGS | os.O_EXCL))


def _open_file(path: str) -> int:
    try:
        return _lifted(os.open(path, _FLAGS))
    except FileNotFoundError:  # the job took it away
        return _make_file(path)


def _lifted(descriptor: int) -> int:
    """Move a descriptor above those that a job expects to be its own."""
    if descriptor >= _LOWEST_DESCRIPTOR:
        return descriptor
    higher = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _LOWEST_DESCRIPTOR)
    os.close(descriptor)
    return int(higher)


def _copy(source: int, start: int, stop: int, target: int) -> None:
    while start < stop:
        chunk = os.pread(source, min(_COPY_BYTES, stop - start), start)
        if not chunk:
            return
        start += len(chunk)
        while chunk:
            chunk = chunk[os.write(target, chunk) :]


def _refuse_full_disk(descriptor: int) -> None:
    """Raise OSError if a kept file would leave no room to record the result: both could wait for
    ever.
    """
    if _free_bytes(descriptor) < _ROOM_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _most_excess_bytes(descriptor: int) -> float:
    """Return how much more than its limit the log of a running job may take for a moment: what
    neither the disk nor the page cache, which is written out when a tenth of the memory waits for
    that, need notice.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(_MOST_EXCESS_BYTES, _free_bytes(descriptor) * _SMALL_PART, memory / 16)


def _free_bytes(descriptor: int) -> float:
    """Return how much fits on its file system; infinite where that is not told."""
    space = os.fstatvfs(descriptor)
    free = space.f_bfree if os.geteuid() == 0 else space.f_bavail
    return free * space.f_frsize if space.f_blocks else float("inf")


def _takes_much(descriptor: int) -> bool:
    """Whether others of its file system may need the room that a file takes."""
    return _bytes_on_disk(os.fstat(descriptor)) > _free_bytes(descriptor) * _SMALL_PART


def _bytes_on_disk(status: os.stat_result) -> int:
    # In units of 512 bytes, whatever the file system's own are (POSIX, sys/stat.h).
    return status.st_blocks * 512


def _punch(descriptor: int, start: int, length: int) -> bool:
    """Give the disk back what lies in the middle of a file; False where that is impossible."""
    if sys.platform != "linux":
        return False
    if length <= 0:
        return True
    try:
        import ctypes  # costs 1 MB and 10 ms; only for a job that prints this much
    except ImportError:  # not built with it, or no descriptor is left to load it
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    fallocate = getattr(libc, "fallocate64", libc.fallocate)
    arguments = (ctypes.c_int64(start), ctypes.c_int64(length))
    while fallocate(descriptor, _PUNCH_HOLE, *arguments) != 0:
        if ctypes.get_errno() != errno.EINTR:
            return False
    return True
