"""The output of a job: a file that is limited while it grows, and kept when the attempt ends."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import sys
import time

from queuectl.core.errors import QueueError
from queuectl.core.models import Outcome, Output
from queuectl.host.files import tail_of, unfinished
from queuectl.host.filesystem import (
    make,
    make_folder,
    open_to_read,
    remove_quietly,
    unlink_quietly,
)
from queuectl.host.log import log as _log
from queuectl.host.processes import FileIdentity

INLINE_BYTES = 4096
"""An output up to this size is kept in the attempt's row, and gets no file of its own."""

GAP = b"\n[queuectl: %d bytes not kept]\n"
"""The line that replaces the missing middle, in a kept log and in what `logs` prints."""

_TAIL_BYTES = 1024
_LOOK_SECONDS = 0.25
_FREQUENT_LOOK_SECONDS = 0.02
_LONGEST_EXCESS_SECONDS = 5.0
_MOST_EXCESS_BYTES = 1 << 30
_COPY_BYTES = 1 << 20
_RESULT_BYTES = 1 << 16
"""The free space that a kept log must leave for the database to record the result."""

_EXCESS_SHARE = 1 / 64
"""The share of the free disk space that a running job may use beyond its limit for a moment."""

_LOWEST_DESCRIPTOR = 10
# O_APPEND: a job that truncates the file (`> /dev/stderr`) must not leave a hole before what it
# prints next.
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_PUNCH_HOLE = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, linux/falloc.h


class OutputLog:
    """The file into which the running job of one worker prints.

    It is locked (flock), and the job inherits the locked descriptor. So the lock is held for as
    long as any process of the job has that descriptor. One file serves job after job: to create
    and remove a file for each job costs more than to write most outputs. A file is used again only
    if the kernel says that nobody else has it open in any way.

    If the file cannot be made, the output goes into memory, and no more of it than fits into the
    attempt's row is kept: a result must not depend on its output.
    """

    def __init__(self, path: str, *, adopted: bool = False) -> None:
        """Create the file for jobs to come; with `adopted`, open that of a job that runs."""
        self.path = path
        self._is_adopted = adopted
        self._needs_clearing = False
        self._use(self._open_running() if adopted else self._create_locked())
        self.begin(INLINE_BYTES)

    def begin(self, limit_bytes: int) -> None:
        """Prepare for a job of whose output the first and the last `limit_bytes / 2` are kept."""
        self._limit = limit_bytes
        self._last_size = self._cut_size = self._discarded = 0
        self._cut_at = time.monotonic()
        self._tail_path: str | None = None

    @property
    def identity(self) -> FileIdentity:
        """Device and inode of the file, by which the processes that have it open are found."""
        return self._identity

    def is_held(self) -> bool:
        """Whether a process of an adopted job has the file open."""
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        return False

    def enforce_limit(self) -> float:
        """Cut the middle out of a large output; return the number of seconds until the next look.

        The job cannot print while its output is cut. So the cut waits until the job pauses, for at
        most 5 seconds, or until the output is far too large.
        """
        status = os.fstat(self.descriptor)
        size = status.st_size
        if size <= self._limit // 2:
            return _LOOK_SECONDS
        if size > self._limit and size != self._cut_size:
            now = time.monotonic()
            if (
                size == self._last_size
                or now >= self._cut_at + _LONGEST_EXCESS_SECONDS
                or _bytes_on_disk(status) - self._limit > _most_excess_bytes(self.descriptor)
            ):
                self._cut_middle(size)
                self._cut_at = now
        self._last_size = size
        return _FREQUENT_LOOK_SECONDS

    def add_to(self, outcome: Outcome, kept_path: str) -> Outcome:
        """Add to an outcome what the ended attempt printed, and whether a process still has it.

        An output above INLINE_BYTES goes to `kept_path`: all of it, or its first and last part
        around a line that says how much is missing. A smaller one also stays in the file until
        `clear`: if this worker dies, another one has to collect it again.

        No error of the disk is raised: that costs the output, never the result.
        """
        try:
            output, is_held = self._collect(kept_path, keeps_file=outcome.leftovers)
        except OSError as error:
            _log.warning("cannot keep an output: %s", error)
            output, is_held = Output(truncated=True), False
            if not self._is_adopted:
                self._replace()
        return outcome._replace(output=output, leftovers=outcome.leftovers or is_held)

    def _collect(self, kept_path: str, *, keeps_file: bool) -> tuple[Output, bool]:
        """Take the output of the ended job; return it, and whether a process has its descriptor.

        With `keeps_file`, processes of the job still run, and may still print.
        """
        is_held, is_reusable = self._reopen()
        keeps_file = is_held or (keeps_file and not is_reusable)
        size = os.fstat(self.descriptor).st_size
        collected = self._collected_before(kept_path) if self._is_adopted else None
        if collected is not None:
            return collected, is_held
        truncated = self._discarded > 0 or size > self._limit
        in_file = truncated or keeps_file or size > INLINE_BYTES
        kept_bytes = _TAIL_BYTES if in_file else size
        tail = os.pread(self.descriptor, kept_bytes, max(0, size - kept_bytes))
        output = Output(size + self._discarded, truncated, tail, in_file)
        moved = False
        if in_file:
            try:
                moved = self._keep(kept_path, size, truncated=truncated, in_use=keeps_file)
            except OSError as error:
                _log.warning("cannot keep an output: %s", error)
                output = output._replace(truncated=True, in_file=False)
        is_reusable = is_reusable and not moved
        if not is_reusable and not self._is_adopted:
            self._replace()
        self._needs_clearing = size > 0 and is_reusable
        if is_reusable and size > INLINE_BYTES and _takes_much(self.descriptor):
            # The output has been copied elsewhere, or is lost because the disk is full. To record
            # the result may need the space.
            self.clear()
        return output, is_held

    def clear(self) -> None:
        """Empty the file for the next job, once the result of the last one is recorded."""
        if not self._needs_clearing:
            return
        self._needs_clearing = False
        try:
            os.ftruncate(self.descriptor, 0)
            # ext4 flushes a file that was truncated to nothing when it is closed next. That costs
            # nothing while the file is empty, but a write to the disk after the next job.
            os.close(_open_file(self.path))
        except OSError:  # somebody removed it
            self._replace()

    def close(self) -> None:
        """Close the file and leave it."""
        os.close(self.descriptor)

    def remove(self) -> None:
        """Remove the file: the worker leaves."""
        os.close(self.descriptor)
        remove_quietly(self.path)

    def _replace(self) -> None:
        """Use another file for the next job: nothing that one job had open goes to another."""
        os.close(self.descriptor)
        self._use(self._create_locked())
        self._needs_clearing = False

    def _use(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._identity = _identity(descriptor)

    def _create_locked(self) -> int:
        # Never use a file that exists: somebody may have put it there, or a process that a dead
        # worker's job left running has it open.
        remove_quietly(self.path)
        descriptor = self._create()
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor

    def _create(self) -> int:
        try:
            return _create_file(self.path)
        except OSError as error:
            try:
                make_folder(os.path.dirname(self.path))
                return _create_file(self.path)
            except (OSError, QueueError):
                return _in_memory(error)

    def _open_running(self) -> int:
        """Open the file of a job that runs."""
        try:
            return _open_file(self.path)
        except OSError:  # the job removed it, or something else has its name
            return self._create()

    def _reopen(self) -> tuple[bool, bool]:
        """Open the file anew, after the job ended.

        Returns whether a process still has the descriptor that the job had, and whether the file
        can be used again because nobody has it open in any way.
        """
        try:
            # The open of a FIFO does not wait with O_RDWR.
            fresh = _above_standard(os.open(self.path, _FLAGS))
        except OSError:
            return False, False
        if _identity(fresh) != self._identity:  # something else has its name
            os.close(fresh)
            return False, False
        # The lock belongs to the open file that we share with the job, so only another open file
        # can test it.
        os.close(self.descriptor)
        self.descriptor = fresh
        try:
            fcntl.flock(fresh, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True, False
        return False, _is_open_nowhere_else(fresh)

    def _collected_before(self, kept_path: str) -> Output | None:
        """Return the output that a worker kept before it was killed; None if it kept none."""
        try:
            descriptor = open_to_read(kept_path)
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

    def _cut_middle(self, size: int) -> None:
        half = self._limit // 2
        # Punch the whole middle every time, which takes 25 us. A hole that is smaller than a block
        # frees nothing, and the job may have truncated the file and filled it again.
        if not self._discarded and _punch(self.descriptor, half, size - 2 * half):
            self._cut_size = size
        else:
            self._cut_after_head(size, half)

    def _cut_after_head(self, size: int, half: int) -> None:
        """Copy the end of the file to another file, then truncate it after the first half.

        This is for file systems where no hole can be punched. What the job prints between the copy
        and the cut is lost and not counted.
        """
        tail_path, self._tail_path = tail_of(self.path), None
        try:
            with open(tail_path, "wb") as copy:
                _copy(self.descriptor, size - half, size, copy.fileno())
            self._tail_path = tail_path
        except OSError:  # a full disk costs the end of the output, never the job
            pass
        os.ftruncate(self.descriptor, half)
        self._discarded += size - half

    def _keep(self, kept_path: str, size: int, *, truncated: bool, in_use: bool) -> bool:
        """Keep the output at `kept_path`; return whether the file itself was moved there."""
        if not truncated:
            _refuse_full_disk(self.descriptor)
            os.rename(self.path, kept_path)
            return True
        self._keep_both_ends(size, kept_path)
        if in_use:  # a process that the job left running may have the file open for ever
            os.ftruncate(self.descriptor, 0)
        return False

    def _keep_both_ends(self, size: int, kept_path: str) -> None:
        """Write the first and the last part of the output to `kept_path`, with GAP in between."""
        half = self._limit // 2
        new = unfinished(kept_path)
        unlink_quietly(new)
        kept = make(new, os.O_WRONLY | os.O_EXCL)
        tail, tail_bytes = -1, 0
        try:
            if self._tail_path is not None:
                tail = os.open(self._tail_path, os.O_RDONLY | os.O_CLOEXEC)
                tail_bytes = os.fstat(tail).st_size
            head, after_head = min(half, size), max(0, size - half)
            from_file = min(half, after_head)
            from_tail = min(half - from_file, tail_bytes)
            missing = size + self._discarded - head - from_file - from_tail
            _copy(self.descriptor, 0, head, kept)
            os.write(kept, GAP % missing)
            _copy(tail, tail_bytes - from_tail, tail_bytes, kept)
            _copy(self.descriptor, size - from_file, size, kept)
            os.rename(new, kept_path)
        except OSError:
            unlink_quietly(new)
            raise
        finally:
            os.close(kept)
            if self._tail_path is not None:
                if tail >= 0:
                    os.close(tail)
                unlink_quietly(self._tail_path)


def _identity(descriptor: int) -> FileIdentity:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _create_file(path: str) -> int:
    return _above_standard(make(path, _FLAGS | os.O_EXCL))


def _open_file(path: str) -> int:
    # The open of a FIFO does not wait with O_RDWR.
    descriptor = _above_standard(os.open(path, _FLAGS))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileExistsError(errno.EEXIST, "it is not a plain file", path)
    return descriptor


def _in_memory(error: OSError) -> int:
    """Return a file that has no name; raise the error that makes it necessary if there is none."""
    if not hasattr(os, "memfd_create"):
        raise error
    _log.warning("cannot write the output of jobs: %s", error)
    return _above_standard(os.memfd_create("queuectl"))


def _is_open_nowhere_else(descriptor: int) -> bool:
    """Whether the kernel says that no other open file leads to this one (Linux; 2 us).

    A lock proves less: a process may have given the lock up, or may have opened the file anew.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except (AttributeError, OSError):  # the system or the file system has no leases
        return False
    return True


def _above_standard(descriptor: int) -> int:
    """Move a descriptor above the numbers that a job's shell uses itself."""
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
    """Raise OSError if a kept log would leave no space to record the result.

    The log would be kept until its job is recorded, and the record would wait for space, for ever.
    """
    if _free_bytes(descriptor) < _RESULT_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _most_excess_bytes(descriptor: int) -> float:
    """Return how far the log of a running job may exceed its limit for a moment.

    So much harms neither the disk nor the page cache. (The kernel writes the page cache out when a
    tenth of the memory waits to be written.)
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(_MOST_EXCESS_BYTES, _free_bytes(descriptor) * _EXCESS_SHARE, memory / 16)


def _free_bytes(descriptor: int) -> float:
    """Return the free space on the file system of a file; infinite if it is not told."""
    space = os.fstatvfs(descriptor)
    free = space.f_bfree if os.geteuid() == 0 else space.f_bavail
    return free * space.f_frsize if space.f_blocks else float("inf")


def _takes_much(descriptor: int) -> bool:
    """Whether a file takes so much of its disk that others may need the space."""
    return _bytes_on_disk(os.fstat(descriptor)) > _free_bytes(descriptor) * _EXCESS_SHARE


def _bytes_on_disk(status: os.stat_result) -> int:
    # st_blocks counts units of 512 bytes, whatever the block size of the file system is (POSIX,
    # sys/stat.h).
    return status.st_blocks * 512


def _punch(descriptor: int, start: int, length: int) -> bool:
    """Free the disk space of a part of a file; return False where that is impossible."""
    if sys.platform != "linux":
        return False
    if length <= 0:
        return True
    try:
        import ctypes  # costs 1 MB and 10 ms; only for a job that prints this much
    except ImportError:  # Python was built without it, or no descriptor is left to load it
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    fallocate = getattr(libc, "fallocate64", libc.fallocate)
    arguments = (ctypes.c_int64(start), ctypes.c_int64(length))
    while fallocate(descriptor, _PUNCH_HOLE, *arguments) != 0:
        if ctypes.get_errno() != errno.EINTR:
            return False
    return True
