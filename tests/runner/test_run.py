"""One command run in this process, with posix_spawn and without it."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path
from typing import Iterator

import pytest

from queuectl.core.models import Outcome, OutcomeKind
from queuectl.host import lockfiles, processes
from queuectl.runner import adopted, attempt, exit_status, run
from queuectl.runner.children import Children
from queuectl.runner.output_log import OutputLog
from support.processes import linux_only


class _NoEvents:
    """Waits only for time, and never cuts a command short."""

    pause = attempt.PauseState()

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.01))

    def cut_short(self) -> OutcomeKind | None:
        return None

    def may_not_stop(self) -> set[int]:
        return set()


@pytest.fixture(params=["posix_spawn", "popen"])
def log(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OutputLog]:
    """The log of a job, on a system that has posix_spawn with setsid and on one that has not."""
    if request.param == "popen":
        monkeypatch.delattr(os, "posix_spawn")
    made = OutputLog(str(tmp_path / "worker.log"))
    yield made
    made.remove()


def _run(log: OutputLog, text: str, folder: Path) -> tuple[Outcome, list[str]]:
    started: list[int] = []
    log.begin(1 << 20)
    status_path = str(folder / "worker.status")
    environ = {**os.environ, "QUEUECTL_EXECUTION": "queue/1", "QUEUECTL_STATUS": status_path}
    previous = os.getcwd()
    try:
        outcome = run.run(
            attempt.Command(
                shell_text=text,
                mark="queue/1",
                environ=environ,
                cwd=str(folder),
                status_path=status_path,
                timeout_seconds=20.0,
                grace_seconds=1.0,
            ),
            log,
            str(folder / "kept.log"),
            _NoEvents(),
            lambda pid, _ticks: started.append(pid),
            Children(),
        )
    finally:
        os.chdir(previous)
    assert outcome.pid == started[0]
    return outcome, outcome.output.tail.decode().splitlines()


def test_a_command_runs_in_the_same_way_on_every_system(log: OutputLog, tmp_path: Path) -> None:
    """Folder, output, environment, session and exit code are as specified."""
    outcome, lines = _run(
        log,
        "pwd; echo $QUEUECTL_EXECUTION >&2; cat; "
        f"{sys.executable} -c 'import os; print(os.getsid(0) == os.getppid())'; exit 7",
        tmp_path,
    )

    assert lines == [str(tmp_path), "queue/1", "True"]
    assert (outcome.kind, outcome.exit_code, outcome.signal) == (OutcomeKind.EXIT, 7, None)
    assert outcome.leftovers is False


@linux_only
def test_a_command_gets_only_its_own_descriptors_and_ours_stay(
    log: OutputLog, tmp_path: Path
) -> None:
    """Regression: without posix_spawn, descriptor 8 of a worker, its database, was overwritten.

    And each command had the log as descriptor 8, of which LVM complained.
    """
    ours = tmp_path / "database"
    ours.write_text("kept")
    descriptor = os.open(ours, os.O_RDONLY)
    # The process that runs the tests may have been started with more descriptors, which a worker
    # would close.
    inherited = {n for n in map(int, os.listdir("/proc/self/fd")) if n > 2 and _is_inherited(n)}
    held = None if _is_open(8) else os.dup2(descriptor, 8, inheritable=False)
    try:
        before = os.stat(8)
        outcome, lines = _run(log, "ls /proc/self/fd; exec ls /proc/self/fd", tmp_path)
        after = os.stat(8)
    finally:
        os.close(descriptor)
        if held is not None:
            os.close(8)

    assert (after.st_dev, after.st_ino) == (before.st_dev, before.st_ino)
    assert outcome.kind is OutcomeKind.OK
    # 3 is the folder that ls reads.
    assert {int(line) for line in lines} - (inherited - {3}) == {0, 1, 2, 3}


def _is_inherited(descriptor: int) -> bool:
    try:
        return os.get_inheritable(descriptor)
    except OSError:
        return False


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@linux_only
@pytest.mark.parametrize(
    ("reported_after", "seconds"), [(1.5, pytest.approx(1.5)), (-1.0, None), (None, None)]
)
def test_the_run_time_of_an_unwatched_command_ends_with_its_status_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reported_after: float | None,
    seconds: float | None,
) -> None:
    """Regression: it lasted until the recovery, and was negative after a reboot.

    It is unknown without a status file, and if that file seems older than the start of the command.
    """
    ticks = processes.start_ticks(os.getpid())
    assert ticks is not None
    # Both clocks are read, and time may pass in between.
    now, clock = time.time(), processes.clock()
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(processes, "clock", lambda: clock)
    gone = lockfiles.JobProcess(7, 1 << 22, ticks, "w-1")
    status = tmp_path / "w-1.status"
    if reported_after is not None:
        exit_status.write(str(status), 7, exit_status.Status(0, None))
        began = time.time() - processes.age_seconds(ticks)
        os.utime(status, (began + reported_after,) * 2)
    command = attempt.Command("true", "queue/7", {}, None, str(status), 0.0, 1.0)
    outcome = adopted.reported_outcome(command, gone, None, time.sleep)

    assert outcome.kind is (OutcomeKind.LOST if reported_after is None else OutcomeKind.OK)
    assert outcome.seconds == seconds


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE])
def test_a_shortage_of_the_host_is_no_failure_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """Prevents a bug: a process limit that was reached for seconds used up all attempts of jobs."""

    def short(*_args: object, **_options: object) -> int:
        raise OSError(error, os.strerror(error))

    log = OutputLog(str(tmp_path / "worker.log"))
    monkeypatch.setattr(os, "posix_spawn", short)
    with pytest.raises(run.HostCannotStart) as raised:
        _run(log, "true", tmp_path)
    log.remove()

    assert str(raised.value) == os.strerror(error)


def test_a_command_that_is_too_long_fails_by_itself(log: OutputLog, tmp_path: Path) -> None:
    """The kernel refuses it on every host, so its attempts are counted."""
    log.begin(1 << 20)
    command = attempt.Command(
        "x" * (1 << 18), "queue/1", {}, str(tmp_path), str(tmp_path / "status"), 20.0, 1.0
    )
    outcome = run.run(
        command, log, str(tmp_path / "kept.log"), _NoEvents(), lambda *_: None, Children()
    )

    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.SPAWN_ERROR, 126)
    assert "Argument list too long" in str(outcome.reason)


@pytest.mark.parametrize(
    ("shell", "code", "reason"),
    [
        ("/no/such/shell", 127, "the shell /no/such/shell does not exist"),
        ("{}/not-executable", 126, "the shell {}/not-executable cannot be executed: Permission"),
        ("{}/text", 126, "the shell {}/text cannot be executed: Exec format error"),
        ("{}/no-interpreter", 127, "the shell {}/no-interpreter does not exist"),
    ],
)
def test_a_shell_that_is_none_fails_the_attempt(
    log: OutputLog, tmp_path: Path, shell: str, code: int, reason: str
) -> None:
    """Not the worker: unlike /bin/sh it is the job's own choice, and other jobs can run."""
    (tmp_path / "not-executable").write_text("#!/bin/sh\n")
    for name, text in (("text", "true\n"), ("no-interpreter", "#!/no/such\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o700)
    log.begin(1 << 20)
    command = attempt.Command(
        "true", "queue/1", {}, str(tmp_path), str(tmp_path / "status"), 20.0, 1.0,
        shell=shell.format(tmp_path),
    )  # fmt: skip
    outcome = run.run(
        command, log, str(tmp_path / "kept.log"), _NoEvents(), lambda *_: None, Children()
    )

    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.SPAWN_ERROR, code)
    assert str(outcome.reason).startswith(reason.format(tmp_path))


@linux_only
def test_a_timeout_counts_the_same_clock_as_after_an_adoption(
    log: OutputLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents: after a night in suspend an adopted job was at its timeout, and no other was."""
    clock, began = processes.clock, time.monotonic()
    monkeypatch.setattr(
        processes, "clock", lambda: clock() + (3600.0 if time.monotonic() > began + 0.2 else 0.0)
    )
    environ = {**os.environ, "QUEUECTL_EXECUTION": "queue/1", "QUEUECTL_STATUS": "/dev/null"}
    command = attempt.Command("sleep 60", "queue/1", environ, "/", "/dev/null", 1800.0, 0.3)
    kept = str(tmp_path / "kept.log")
    outcome = run.run(command, log, kept, _NoEvents(), lambda *_: None, Children())

    assert outcome.kind is OutcomeKind.TIMEOUT
    assert processes.age_seconds(processes.start_ticks(os.getpid()) or 0) >= 3600


def test_each_command_gets_its_own_environment(log: OutputLog, tmp_path: Path) -> None:
    """One whose value cannot be encoded is refused, and changes nothing for the next command."""
    found = []
    first = {**os.environ, "QUEUECTL_STATUS": str(tmp_path / "worker.status"), "A": "1"}
    for environ in (first, {**first, "A": "2\udcff"}, {**first, "A": "\ud800"}, first, first):
        log.begin(1 << 20)
        command = attempt.Command("echo $A", "queue/7", environ, "/", "/dev/null", 0.0, 1.0)
        outcome = run.run(
            command,
            log,
            str(tmp_path / "kept.log"),
            _NoEvents(),
            lambda _pid, _ticks: None,
            Children(),
        )
        found.append((outcome.kind, outcome.output.tail))
        log.clear()

    ended = [(OutcomeKind.OK, b"1\n"), (OutcomeKind.OK, b"2\xff\n")]
    assert found == [*ended, (OutcomeKind.SPAWN_ERROR, b""), ended[0], ended[0]]
