"""The log of a process: which messages it writes, and in which form."""

from __future__ import annotations

import errno
import io
import sys

import pytest

from queuectl.host.log import ERROR, INFO, WARNING, Log


def test_at_first_it_writes_warnings_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    """A command says what is wrong, and nothing else."""
    log = Log()

    log.info("%s started", "j1")
    log.warning("100% full")
    log.error("%s of %d", "one", 2)

    assert capsys.readouterr().err == "100% full\none of 2\n"
    assert not log.writes_info()


def test_each_message_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With the time before it, and with control characters escaped."""
    log = Log()
    log.begin("%%H:%%M", before="\r", quiet=False)

    log.info("%s started", "a\nb\x1b[1m")

    assert capsys.readouterr().err == "\r%H:%M a\\nb\\x1b[1m started\n"
    assert log.writes_info()


def test_a_quiet_log_has_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    """`-q` leaves out what went as planned."""
    log = Log()
    log.begin("", quiet=True)

    log.info("started")
    log.warning("dead")

    assert capsys.readouterr().err == "dead\n"


def test_a_traceback_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """It follows the line that says what failed."""
    log = Log()
    try:
        raise ZeroDivisionError("so\nlong")
    except ZeroDivisionError:
        log.exception("worker %s crashed", "w-1")

    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["worker w-1 crashed", "Traceback (most recent call last):"]
    assert lines[-2:] == ["ZeroDivisionError: so", "long"]


def test_a_crash_is_logged_if_no_file_can_be_opened(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a bug: without a free descriptor, `traceback` was not found, and nothing written."""
    log = Log()
    monkeypatch.setitem(sys.modules, "traceback", None)
    try:
        raise OSError(errno.EMFILE, "Too many open files", "a.log")
    except OSError:
        log.exception("worker %s crashed", "w-1")

    line = "worker w-1 crashed: OSError: [Errno 24] Too many open files: 'a.log'\n"
    assert capsys.readouterr().err == line


class _Full(io.StringIO):
    """A file on a full disk."""

    def write(self, _text: str) -> int:
        raise OSError


@pytest.mark.parametrize("stderr", [_Full(), None])
def test_a_line_that_cannot_be_written_is_lost(
    monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO | None
) -> None:
    """A full disk, or no stderr at all, must not end a worker."""
    monkeypatch.setattr(sys, "stderr", stderr)

    Log().error("lost")


def test_another_part_of_the_program_can_take_the_messages() -> None:
    """It gets all of them, with their levels: the server of `queuectl web` has a log of its own.

    Regression: control characters in a name reached that log as they were.
    """
    log = Log()
    taken: list[tuple[int, str]] = []
    log.send_to(lambda level, message: taken.append((level, message)))

    log.info("%s", 1)
    log.warning("%s", "a\nb")
    log.error("%s", 3)

    assert taken == [(INFO, "1"), (WARNING, "a\\nb"), (ERROR, "3")]
