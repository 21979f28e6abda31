"""What a job's own shell tells of its end, for when nobody is left to reap it."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from queuectl.runner import exit_status
from queuectl.runner.exit_status import Status
from support.waiting import wait_until

SHELLS = ["dash", "bash"]


def _popen(shell: str, command: str, status: Path, execution: int = 7) -> subprocess.Popen[bytes]:
    there = shutil.which(shell)
    if there is None:
        pytest.skip(f"no {shell} here")
    status.touch()
    return subprocess.Popen(
        ["sh", "-c", exit_status.PRELUDE + command],
        executable=there,
        cwd=str(status.parent),
        env={
            "PATH": os.environ["PATH"],
            "QUEUECTL_EXECUTION": f"a-queue/{execution}",
            "QUEUECTL_STATUS": str(status),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_reset_signals,  # noqa: PLW1509 (a test has one thread)
    )


def _reset_signals() -> None:
    """As the runner does: what was ignored here must not be ignored by the job."""
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)


ENDS = [
    ("true", Status(0, None)),
    ("exit 0", Status(0, None)),
    ("false", Status(1, None)),
    ("exit 7", Status(7, None)),
    ("exit 255", Status(255, None)),
    ("exit 256", Status(0, None)),
    ("(exit 9)", Status(9, None)),
    ("sh -c 'exit 11'", Status(11, None)),
    ("set -e; false; true", Status(1, None)),
    ("set -u; : $nothing_of_this_name", None),  # dash: 2, bash: 127; the process is asked below
    ("set -f; set -C; exit 4", Status(4, None)),
    ("no-such-program-anywhere", Status(127, None)),
    ("cd /; exit 5", Status(5, None)),
    ("umask 777; exit 6", Status(6, None)),
    ("exec >/dev/null 2>&1 8>&-; exit 8", Status(8, None)),
    ("exec 1>&- 2>&- 0<&-; exit 3", Status(3, None)),
    ("PATH=; exit 12", Status(12, None)),
    ("sleep 0 & exit 13", Status(13, None)),
    ("f() { return 14; }; f", Status(14, None)),
    ("kill -TERM $$; exit 1", Status(None, signal.SIGTERM)),
    ("kill -HUP $$; exit 1", Status(None, signal.SIGHUP)),
    ("kill -INT $$; exit 1", Status(None, signal.SIGINT)),
    ("trap '' TERM; kill -TERM $$; exit 15", Status(15, None)),
    ("trap 'exit 16' TERM; kill -TERM $$; exit 1", Status(16, None)),
    ("sh -c 'kill -TERM $$'", Status(143, None)),
    ("cat <<HERE >/dev/null\nexit 1\nHERE\nexit 17", Status(17, None)),
    ("echo() { exit 9; }; exit 4", Status(4, None)),
    ("# nothing but a comment", Status(0, None)),
    ("# a comment\nexit 18", Status(18, None)),
    ("exit 19 # a comment", Status(19, None)),
]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("command", "expected"), ENDS)
def test_the_word_left_is_what_the_kernel_saw(
    tmp_path: Path, shell: str, command: str, expected: Status | None
) -> None:
    """However a command ends, its shell leaves the very status that a reaper would see."""
    status = tmp_path / "status"
    process = _popen(shell, command, status)
    process.communicate()
    code = process.returncode
    seen = Status(None, -code) if code < 0 else Status(code, None)

    assert exit_status.read(str(status), 7) == seen
    if expected is not None:
        assert seen == expected


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "command", ["exec true", "trap 'exit 3' EXIT", "trap - EXIT", "kill -KILL $$"]
)
def test_some_ends_leave_no_word(tmp_path: Path, shell: str, command: str) -> None:
    """After `exec`, with its own EXIT trap or killed outright it says nothing, never a wrong thing.

    Only a reaper knows then.
    """
    status = tmp_path / "status"
    _popen(shell, command, status).communicate()

    assert exit_status.read(str(status), 7) is None


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "number",
    sorted(
        {signal.SIGABRT, signal.SIGALRM, signal.SIGPIPE, signal.SIGSYS, signal.SIGTRAP}
        | {signal.SIGUSR1, signal.SIGUSR2, signal.SIGVTALRM, signal.SIGXCPU, signal.SIGXFSZ}
    ),
)
def test_a_fatal_signal_is_never_told_as_a_success(
    tmp_path: Path, shell: str, number: signal.Signals
) -> None:
    """Regression: bash run as sh told of 0 for a job that ABRT, USR1 or XCPU had killed."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    status = tmp_path / "status"
    process = _popen(shell, f"kill -{number.name[3:]} $$; exit 3", status)
    process.communicate()

    assert process.returncode == -number
    assert exit_status.read(str(status), 7) is None


@pytest.mark.parametrize("shell", SHELLS)
def test_the_traps_are_the_shells_alone(tmp_path: Path, shell: str) -> None:
    """No subshell, child or background process of a job writes in its place."""
    status = tmp_path / "status"
    process = _popen(
        shell, "(exit 4); (kill -TERM $$ 2>/dev/null & exit 0) ; exit 1", status
    )  # the TERM hits the leader itself
    process.communicate()
    assert process.returncode in (1, -signal.SIGTERM)
    told = exit_status.read(str(status), 7)
    assert told == (Status(1, None) if process.returncode == 1 else Status(None, signal.SIGTERM))


@pytest.mark.parametrize("shell", SHELLS)
def test_a_job_prints_nothing_of_ours(tmp_path: Path, shell: str) -> None:
    """Standing before the command costs not a byte of output, and leaves `$?`, `$#` and `$-` be."""
    command = 'echo "$? $# $0"; false; echo $?'
    with_it = _popen(shell, command, tmp_path / "status").communicate()[0]

    assert with_it == b"0 0 sh\n1\n"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_group_ends_a_job_at_once_and_is_told(
    tmp_path: Path, shell: str, number: signal.Signals
) -> None:
    """Regression: bash run as sh told of 0 for a job that TERM had killed."""
    status = tmp_path / "status"
    process = _popen(shell, "sh -c 'echo > begun; exec sleep 300'; exit 0", status)
    wait_until((tmp_path / "begun").exists)
    os.killpg(process.pid, number)
    process.communicate(timeout=30)

    assert process.returncode == -number
    assert exit_status.read(str(status), 7) == Status(None, number)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"a-queue/7 0\n", Status(0, None)),
        (b"a-queue/7 300\n", Status(44, None)),
        (b"a-queue/7 s15\n", Status(None, 15)),
        (b"a-queue/7 0", None),  # torn
        (b"a-queue/7 \n", None),
        (b"a-queue/7\n", None),
        (b"a-queue/7 s\n", None),
        (b"a-queue/7 zero\n", None),
        (b"a-queue/77 0\n", None),  # another attempt's
        (b"a-queue/ 0\n", None),
        (b"", None),
        (b"\n", None),
        (b"\0" * 256, None),
        (b"a-queue/7 0\nq/77 15\n", Status(0, None)),  # a longer, older line shows behind it
    ],
)
def test_a_torn_or_foreign_word_does_not_count(
    tmp_path: Path, written: bytes, expected: Status | None
) -> None:
    """Only a whole line of the very attempt is believed."""
    status = tmp_path / "status"
    status.write_bytes(written)

    assert exit_status.read(str(status), 7) == expected


@pytest.mark.parametrize("kind", ["nothing", "folder", "fifo", "link"])
def test_what_is_no_status_file_tells_nothing(tmp_path: Path, kind: str) -> None:
    """A planted folder, FIFO or link is neither waited for nor followed.

    Regression: at a folder or a FIFO the worker that settled a dead one crashed, again and again.
    """
    path = tmp_path / "status"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        (tmp_path / "true").write_bytes(b"a-queue/7 0\n")
        path.symlink_to("true")

    assert exit_status.read(str(path), 7) is None


@pytest.mark.parametrize("status", [Status(0, None), Status(3, None), Status(None, 9)])
def test_a_reaper_leaves_the_same_word(tmp_path: Path, status: Status) -> None:
    """Who reaps a job in place of its worker tells it over whatever stood there."""
    path = tmp_path / "status"
    path.write_bytes(b"another-queue-of-a-long-name/123456789 s15\n")
    exit_status.write(str(path), 42, status)

    assert exit_status.read(str(path), 42) == status
