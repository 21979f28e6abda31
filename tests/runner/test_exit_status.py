"""The exit status of a job as its own shell reports it, for when no worker can reap the job."""

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

SHELLS = ["dash", "bash", "zsh", "dash as sh", "bash as sh", "zsh as sh"]
"""A shell that is called by another name behaves in another way."""
_ZSH_IGNORES = {signal.SIGHUP, signal.SIGABRT}
"""zsh has handlers of its own for these: it exits with 1 at HUP, and goes on at ABRT."""


def _called(shell: str) -> str:
    """Return the name by which a shell is called: the last word."""
    return shell.rsplit(maxsplit=1)[-1]


def _popen(shell: str, command: str, status: Path, execution: int = 7) -> subprocess.Popen[bytes]:
    program = shutil.which(shell.partition(" ")[0])
    if program is None:
        pytest.skip(f"{shell} is not installed")
    status.touch()
    return subprocess.Popen(
        exit_status.arguments(command, f"/bin/{_called(shell)}"),
        executable=program,
        cwd=str(status.parent),
        env={
            "PATH": os.environ["PATH"],
            "QUEUECTL_EXECUTION": f"a-queue/{execution}",
            "QUEUECTL_STATUS": str(status),
            **exit_status.variables(execution, shell=program),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_reset_signals,  # noqa: PLW1509 (a test has one thread)
    )


def _reset_signals() -> None:
    """Do as the runner does: a job must not ignore the signals that this process ignores."""
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
    ("set -u; : $nothing_of_this_name", None),  # dash: 2, bash: 127; compared with the process
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
def test_the_reported_status_is_the_one_that_the_kernel_saw(
    tmp_path: Path, shell: str, command: str, expected: Status | None
) -> None:
    """However a command ends, its shell reports the status that its parent would see."""
    if shell.startswith("zsh") and expected is not None and expected.signal in _ZSH_IGNORES:
        pytest.skip("zsh handles the signal itself")
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
def test_some_ends_leave_no_report(tmp_path: Path, shell: str, command: str) -> None:
    """After `exec`, KILL, or with its own EXIT trap, there is no report, and never a wrong one.

    Then only the process that reaps the job knows its status.
    """
    status = tmp_path / "status"
    _popen(shell, command, status).communicate()

    assert exit_status.read(str(status), 7) is None


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_tells_its_pid_before_the_command_begins(tmp_path: Path, shell: str) -> None:
    """Its worker may be dead before it has noted the PID, and the command may hide from others."""
    status = tmp_path / "status"
    process = _popen(shell, "exec env -i sleep 300", status)
    wait_until(lambda: exit_status.read_pid(str(status), 7) is not None)
    told = exit_status.read_pid(str(status), 7)
    other, end = exit_status.read_pid(str(status), 8), exit_status.read(str(status), 7)
    process.kill()
    process.communicate()

    assert (told, other, end) == (process.pid, None, None)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "number",
    sorted(
        {signal.SIGABRT, signal.SIGALRM, signal.SIGPIPE, signal.SIGSYS, signal.SIGTRAP}
        | {signal.SIGUSR1, signal.SIGUSR2, signal.SIGVTALRM, signal.SIGXCPU, signal.SIGXFSZ}
    ),
)
def test_a_fatal_signal_is_never_reported_as_a_success(
    tmp_path: Path, shell: str, number: signal.Signals
) -> None:
    """Regression: bash, run as sh, reported 0 for a job that ABRT, USR1 or XCPU had killed."""
    if shell.startswith("zsh") and number in _ZSH_IGNORES:
        pytest.skip("zsh handles the signal itself")
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    status = tmp_path / "status"
    process = _popen(shell, f"kill -{number.name[3:]} $$; exit 3", status)
    process.communicate()

    assert process.returncode == -number
    assert exit_status.read(str(status), 7) is None


@pytest.mark.parametrize("shell", SHELLS)
def test_only_the_shell_itself_runs_the_traps(tmp_path: Path, shell: str) -> None:
    """No subshell, child or background process of a job reports in its place."""
    status = tmp_path / "status"
    process = _popen(
        shell, "(exit 4); (kill -TERM $$ 2>/dev/null & exit 0) ; exit 1", status
    )  # the TERM goes to the leader itself
    process.communicate()
    assert process.returncode in (1, -signal.SIGTERM)
    reported = exit_status.read(str(status), 7)
    assert reported == (
        Status(1, None) if process.returncode == 1 else Status(None, signal.SIGTERM)
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_the_prologue_does_not_show_in_the_output_of_a_job(tmp_path: Path, shell: str) -> None:
    """The prologue prints nothing, and `$?` and `$#` are as they would be without it."""
    command = 'echo "$? $# $0"; false; echo $?'
    with_it = _popen(shell, command, tmp_path / "status").communicate()[0]

    assert with_it == f"0 0 {_called(shell)}\n1\n".encode()


@pytest.mark.parametrize("shell", SHELLS)
def test_ps_shows_the_command_of_a_job(tmp_path: Path, shell: str) -> None:
    """Little stands before it, and the command does not inherit the text that does the work.

    Prevents: each job looked the same in `ps`, with its command behind 650 characters.
    """
    process = _popen(shell, "sleep 300; true", tmp_path / "status")
    wait_until(lambda: exit_status.read_pid(str(tmp_path / "status"), 7) is not None)
    shown = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    inherited = _popen(shell, "env; true", tmp_path / "status").communicate()[0]

    name = _called(shell).encode()
    assert shown == [name, b"-c", b'eval "$_QUEUECTL_PROLOGUE"', name, b"sleep 300; true", b""]
    assert b"PROLOGUE" not in inherited


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_group_ends_a_job_at_once_and_is_reported(
    tmp_path: Path, shell: str, number: signal.Signals
) -> None:
    """Regression: bash, run as sh, reported 0 for a job that TERM had killed."""
    if shell.startswith("zsh") and number in _ZSH_IGNORES:
        pytest.skip("zsh handles the signal itself")
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
        (b"a-queue/77 0\n", None),  # of another attempt
        (b"a-queue/ 0\n", None),
        (b"", None),
        (b"\n", None),
        (b"\0" * 256, None),
        (b"a-queue/7 0\nq/77 15\n", Status(0, None)),  # the rest of a longer, older line follows
    ],
)
def test_only_a_complete_report_of_this_attempt_counts(
    tmp_path: Path, written: bytes, expected: Status | None
) -> None:
    """A torn line, and a line of another attempt, are ignored."""
    status = tmp_path / "status"
    status.write_bytes(written)

    assert exit_status.read(str(status), 7) == expected


@pytest.mark.parametrize("kind", ["nothing", "folder", "fifo", "link"])
def test_something_else_in_place_of_a_status_file_reports_nothing(
    tmp_path: Path, kind: str
) -> None:
    """A link is not followed, a FIFO is not waited for, a folder is no error.

    Regression: a folder or a FIFO crashed each worker that recovered the job.
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
def test_a_process_that_reaps_a_job_reports_in_the_same_form(
    tmp_path: Path, status: Status
) -> None:
    """The supervisor, which reaps a job in place of its worker, overwrites an older report."""
    path = tmp_path / "status"
    path.write_bytes(b"another-queue-of-a-long-name/123456789 s15\n")
    exit_status.write(str(path), 42, status)

    assert exit_status.read(str(path), 42) == status
