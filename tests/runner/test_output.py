"""The output of jobs: kept byte for byte, limited in size, readable while they run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import Callable

import pytest

from queuectl.runner.output_log import OutputLog
from support.calls import COMMAND
from support.held import UNTIL_GO
from support.outcomes import OK
from support.processes import linux_only
from support.queue import Queue
from support.waiting import wait_until

pytestmark = pytest.mark.on_disk


def _printed(queue: Queue, job: str, *options: str) -> bytes:
    """Return what `queuectl logs` prints, as bytes."""
    return subprocess.run(
        [COMMAND, "logs", *options, job],
        env=queue.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    ).stdout


def _numbers(last: int) -> bytes:
    """Return what `seq LAST` prints."""
    return b"".join(b"%d\n" % number for number in range(1, last + 1))


def _cut(whole: bytes, limit: int) -> bytes:
    half = limit // 2
    marker = b"\n[queuectl: %d bytes not kept]\n" % (len(whole) - 2 * half)
    return whole[:half] + marker + whole[-half:]


def _kept_logs(queue: Queue) -> list[str]:
    return sorted(path.name for path in Path(queue.files.logs).iterdir())


def test_small_outputs_are_kept_byte_for_byte_and_leave_no_file(queue: Queue) -> None:
    """Any bytes are allowed and kept as they are. Up to 4 KiB need no file."""
    cases = {
        "printf ''": b"",
        "printf 'no newline'": b"no newline",
        "printf '\\377\\376 \\303('": b"\xff\xfe \xc3(",
        "printf 'a\\000b\\000'": b"a\0b\0",
        "printf '\\r\\033[31m\\n\\n'": b"\r\x1b[31m\n\n",
        "echo 1; echo 2 >&2; echo 3; echo 4 >&2": b"1\n2\n3\n4\n",
        "echo early; exec >&2; echo late": b"early\nlate\n",
        "head -c 4096 /dev/zero": bytes(4096),
    }
    ids = queue.add_many(*cases)
    queue.drain(workers=2)

    assert [_printed(queue, job) for job in ids] == list(cases.values())
    assert [queue.attempts(job)[0].output.size_bytes for job in ids] == [
        len(output) for output in cases.values()
    ]
    assert queue.counts() == {"completed": len(cases)}
    assert _kept_logs(queue) == []


def test_an_output_of_50_megabytes_below_the_limit_is_kept_completely(queue: Queue) -> None:
    """An output above 4 KiB is kept in a file of its attempt, with the same bytes."""
    queue.configure(output_limit="64MiB")
    job = queue.add("seq 6500000")
    queue.drain(workers=1)

    whole = _numbers(6_500_000)
    attempt = queue.attempts(job)[0]
    assert len(whole) > 50_000_000
    assert (attempt.output.size_bytes, attempt.output.truncated) == (len(whole), False)
    assert _printed(queue, job) == whole
    assert _kept_logs(queue) == [f"{attempt.id}.log"]
    assert _printed(queue, job, "-n", "2") == b"6499999\n6500000\n"


@pytest.mark.parametrize("limit", [65536, 10001])
def test_beyond_the_limit_the_first_and_last_half_are_kept(queue: Queue, limit: int) -> None:
    """A line between the halves says how many bytes are missing. The true size is recorded."""
    queue.configure(output_limit=str(limit))
    job = queue.add("seq 100000")
    queue.drain(workers=1)

    whole = _numbers(100_000)
    attempt = queue.attempts(job)[0]
    assert (attempt.output.size_bytes, attempt.output.truncated) == (len(whole), True)
    assert _printed(queue, job) == _cut(whole, limit)


@linux_only
def test_logs_of_a_running_job_never_show_the_hole(queue: Queue) -> None:
    """Regression: a chunk that began in the first half and ended in the hole showed NUL bytes."""
    queue.configure(output_limit="100000")
    job = queue.add("seq 200000; " + UNTIL_GO)
    supervisor = queue.start("--drain")
    whole = _numbers(200_000)
    worker = queue.worker()
    log = Path(queue.files.worker_log(worker["id"]))
    wait_until(lambda: log.stat().st_size == len(whole) and log.stat().st_blocks * 512 < 500_000)

    assert _printed(queue, job) == _cut(whole, 100_000)
    queue.let_go()
    assert supervisor.wait(timeout=30) == 0
    assert _printed(queue, job) == _cut(whole, 100_000)


def test_logs_follow_prints_each_byte_once_until_the_job_ends(queue: Queue) -> None:
    """`logs -f` continues across a retry, prints new output as it comes, and ends with the job."""
    queue.configure(backoff_base="1", backoff_max="0.1")
    job = queue.add(
        "echo begin $QUEUECTL_ATTEMPT; head -c 10000 /dev/zero; echo; "
        "until [ -e go$QUEUECTL_ATTEMPT ]; do sleep 0.02; done; "
        "echo end $QUEUECTL_ATTEMPT; [ $QUEUECTL_ATTEMPT = 2 ]"
    )
    seen = queue.folder / "seen"
    with seen.open("wb") as target:
        follower = queue.spawn("logs", "-f", job, stdout=target)
    queue.start()
    for attempt in ("1", "2"):
        wait_until(lambda n=attempt: b"begin " + n.encode() in seen.read_bytes())
        assert b"end " + attempt.encode() not in seen.read_bytes()
        (queue.work / f"go{attempt}").touch()

    assert follower.wait(timeout=30) == 0
    zeros = bytes(10_000)
    assert seen.read_bytes() == (
        b"begin 1\n" + zeros + b"\nend 1\n" + b"begin 2\n" + zeros + b"\nend 2\n"
    )
    assert queue.state(job) == "completed"


def test_the_output_of_a_leftover_process_stays_with_its_own_job(queue: Queue) -> None:
    """The process keeps the log of its job, and later jobs of the worker get another one."""
    first = queue.add(f"echo first; ({UNTIL_GO}; echo late; echo $$ > done) & true")
    second = queue.add("echo second; touch go; until [ -s done ]; do sleep 0.02; done")
    queue.drain(workers=1)

    assert _printed(queue, first) == b"first\nlate\n"
    assert _printed(queue, second) == b"second\n"
    assert [queue.attempts(job)[0].leftovers for job in (first, second)] == [True, False]


def test_a_log_is_never_a_file_that_existed_before(tmp_path: Path) -> None:
    """Otherwise a link put in its place would direct the output of jobs into another file."""
    (tmp_path / "precious").write_text("keep this")
    os.link(str(tmp_path / "precious"), str(tmp_path / "worker.log"))
    log = OutputLog(str(tmp_path / "worker.log"))
    subprocess.run(["echo", "printed"], stdout=log.descriptor, check=True)
    log.close()

    assert (tmp_path / "precious").read_text() == "keep this"
    assert (tmp_path / "worker.log").read_text() == "printed\n"


@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "device"])
@pytest.mark.parametrize("options", [[], ["--tail", "3"], ["--follow"]])
def test_something_else_in_place_of_a_kept_log_is_named(
    queue: Queue, kind: str, options: list[str]
) -> None:
    """Prevents: `logs` waited for a FIFO without end, and followed whatever was put there."""
    job = queue.add("seq 5000")
    queue.drain()
    (attempt,) = queue.attempts(job)
    kept = Path(queue.files.execution_log(attempt.id))
    kept.unlink()
    if kind == "fifo":
        os.mkfifo(kept)
    elif kind == "folder":
        kept.mkdir()
    elif kind == "link":
        secret = queue.folder / "secret"
        secret.write_text("secret\n")
        kept.symlink_to(secret)
    else:
        kept.symlink_to("/dev/zero")

    line = queue.fails(1, "logs", *options, job)
    assert line.startswith("queuectl logs: its log is gone: ")


@linux_only
@pytest.mark.parametrize("how", ["unlocked", "opened anew", "opened to read"])
def test_a_file_that_a_process_still_has_is_not_given_to_the_next_job(
    tmp_path: Path, how: str
) -> None:
    """Regression: such a process read the output of the next job, and wrote into it."""
    log = OutputLog(str(tmp_path / "worker.log"))
    flags = os.O_RDONLY if how == "opened to read" else os.O_RDWR
    held = os.dup(log.descriptor) if how == "unlocked" else os.open(log.path, flags)
    fcntl.flock(log.descriptor, fcntl.LOCK_UN)
    os.write(log.descriptor, b"first")
    first = log.add_to(OK, str(tmp_path / "kept.log"))
    log.clear()
    os.write(log.descriptor, b"the secret of the second")
    second = log.add_to(OK, str(tmp_path / "kept.log"))
    seen = os.pread(held, 100, 0)
    os.close(held)
    log.remove()

    assert (first.output.tail, second.output.tail) == (b"first", b"the secret of the second")
    assert seen == b"first"


@linux_only
def test_a_file_that_nobody_else_has_is_used_again(tmp_path: Path) -> None:
    """To create and remove a file for each job costs more than to write most outputs."""
    log = OutputLog(str(tmp_path / "worker.log"))
    before = log.identity
    log.add_to(OK, str(tmp_path / "kept.log"))

    assert log.identity == before
    log.remove()


def _remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def _put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _put_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _put_link(path: Path) -> None:
    path.unlink()
    elsewhere = path.parent.parent / "elsewhere"
    elsewhere.touch()
    path.symlink_to(elsewhere)


def _put_file_for_folder(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.touch()


@linux_only
@pytest.mark.parametrize(
    "destroy",
    [Path.unlink, _remove_folder, _put_folder, _put_fifo, _put_link, _put_file_for_folder],
)
@pytest.mark.parametrize("size", [10, 5000])
def test_a_result_does_not_depend_on_its_output(
    tmp_path: Path, destroy: Callable[[Path], None], size: int
) -> None:
    """Regression: the worker ended, and the job that had completed ran again.

    The log is usable for the next job; a small output is in its row however the file was lost.
    """
    path = tmp_path / "logs" / "worker.log"
    path.parent.mkdir()
    log = OutputLog(str(path))
    os.write(log.descriptor, b"x" * size)
    destroy(path)
    first = log.add_to(OK, str(path.parent / "kept.log"))
    log.clear()
    os.write(log.descriptor, b"second")
    second = log.add_to(OK, str(path.parent / "kept.log"))
    log.remove()

    assert (first.kind, first.output.size_bytes) == (OK.kind, size)
    assert len(first.output.tail) == (10 if size == 10 else 1024)
    assert second.output.tail == b"second"


@linux_only
def test_a_result_does_not_depend_on_the_folder_of_the_logs(queue: Queue) -> None:
    """A job that moves the folder away is recorded as completed, and so is the next one."""
    first = queue.add("seq 3000; mv $QUEUECTL_DB.d/logs away")
    second = queue.add("echo second")
    queue.drain(workers=1)

    assert [queue.outcomes(job) for job in (first, second)] == [["ok"], ["ok"]]
    assert _printed(queue, second) == b"second\n"
