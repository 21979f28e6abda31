"""The examples of the README work as pasted."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.calls import COMMAND
from support.pages import README
from support.pasting import paste, stub
from support.queue import Queue
from support.waiting import wait_until


def test_the_quick_start_works(queue: Queue) -> None:
    """Its lines do what the comments beside them say, with workers in another terminal."""
    queue.ok("config", "set", "backoff-max", "0.05")
    lines = [
        line for line in README.block("Quick start").splitlines() if line.startswith("queuectl")
    ]
    enqueued, start, looks = lines[:3], lines[3], lines[4:]
    ids = [paste(queue, line).stdout.strip() for line in enqueued]

    assert start == "queuectl worker start --count 2"
    workers = queue.start(workers=2)
    queue.until(ids[2], "dead")
    queue.until(ids[1], "completed")
    shown = [paste(queue, line) for line in looks]
    workers.send_signal(signal.SIGINT)

    assert workers.wait(30) == 0
    assert [(done.returncode, done.stderr) for done in shown] == [(0, "")] * 3
    assert re.search(r"Completed: +2\n", shown[0].stdout)
    assert [line.split()[0] for line in shown[1].stdout.splitlines()[1:]] == ids
    assert [line.split()[0] for line in shown[2].stdout.splitlines()[1:]] == [ids[2]]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="it calls sha256sum")
def test_the_real_example_works(queue: Queue) -> None:
    """As pasted: 2 of 200 jobs die, are repaired and retried, and the checksums match."""
    done = paste(queue, "set -e\n" + README.block("A real example"), TMPDIR=str(queue.folder))

    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    dead = [row.split()[0] for row in rows[1:3]]
    assert [" ".join(row.split()[5:]) for row in rows[1:3]] == [
        f"exit 1 - gzip -f 'tree/file {number}'" for number in _numbers(rows[1:3])
    ]
    assert sorted(_numbers(rows[1:3])) == [77, 177]
    assert rows[3:5] == [f"{job} is pending again" for job in dead]
    assert "  Total:          200" in rows
    assert "  100.0% (200/200)" in rows
    assert rows[-1] == "all 200 files are intact"


def _numbers(rows: list[str]) -> list[int]:
    return [int(re.findall(r"file (\d+)", row)[0]) for row in rows]


def _crontab() -> list[str]:
    """Return the commands of the crontab lines that call queuectl, as cron passes them to sh."""
    lines = [
        line
        for block in README.blocks
        if block.language == "crontab"
        for line in block.text.splitlines()
        if " queuectl " in line
    ]
    return [line.split(None, 5)[5].replace("\\%", "%") for line in lines]


def test_the_crontab_lines_print_nothing_on_success(queue: Queue) -> None:
    """Prevents that `enqueue -q --wait` warns about missing workers, which cron would mail."""
    nightly, workers, archive = _crontab()
    path = stub(queue, "backup", "echo backing up; echo done >> ledger")
    waiting = subprocess.Popen(
        ["sh", "-c", nightly],
        cwd=str(queue.work),
        env={**queue.env, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with waiting:
        wait_until(lambda: queue.exists() and queue.counts(), what="the job")
        ran = paste(queue, workers)
        said, _ = waiting.communicate(timeout=60)
    archived = paste(queue, archive)

    assert (waiting.returncode, said) == (0, b"")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert (queue.work / "ledger").read_text() == "done\n"
    assert (archived.returncode, archived.stdout, archived.stderr) == (0, "", "")
    assert re.fullmatch(
        r"tar czf /var/backups/home-\d{4}-\d\d-\d\d\.tgz /home",
        queue.json("list", "--state", "pending")[0]["command"],
    )


def test_the_crontab_line_reports_a_failure(queue: Queue) -> None:
    """After 3 attempts it prints the output of the last one and the reason."""
    nightly, workers, _ = _crontab()
    path = stub(queue, "backup", "echo run >> ledger; echo disk full >&2; exit 3")
    queue.ok("config", "set", "backoff-max", "0.05")
    pool = queue.start()
    failed = paste(queue, nightly, PATH=path)
    again = paste(queue, workers)
    pool.send_signal(signal.SIGTERM)

    assert pool.wait(30) == 0
    assert (failed.returncode, failed.stdout) == (3, "disk full\n")
    assert re.fullmatch(
        r"queuectl enqueue: [0-9a-f]{12} on \S+ is dead: exit 3; attempt 3 of 3: .*backup.*\n",
        failed.stderr,
    )
    assert (queue.work / "ledger").read_text() == "run\n" * 3
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_the_examples_for_shells_work(queue: Queue) -> None:
    """Many jobs, dependencies, waiting, monitoring and workers in the background."""
    bulk, after, wait, check, background = [
        b.text for b in README.blocks if (b.heading, b.language) == ("Shells and cron", "sh")
    ]
    path = stub(queue, "make", 'echo "make $*" >> made')
    queue.ok("config", "set", "backoff-max", "0.05")

    stored = [paste(queue, script, PATH=path) for script in (bulk, after)]
    queue.start(workers=2)
    waited = paste(queue, wait)
    queue.ok("wait", "--all", "--timeout", "30")
    checked = paste(queue, check)
    detached = paste(queue, background)

    assert [(done.returncode, done.stderr) for done in stored] == [(0, ""), (0, "")]
    assert [len(done.stdout.split()) for done in stored] == [11, 2]
    assert waited.stdout == "it ended with 3\n"
    assert waited.returncode == 0
    pages = {f"page-{number}.txt": f"page {number}\n" for number in range(1, 10)}
    made = {path.name: path.read_text() for path in queue.work.glob("page-*")}
    assert made == pages
    assert {path.name for path in queue.work.iterdir()} == {*pages, "build-ended", "made"}
    assert (queue.work / "made").read_text() == "make \nmake install\n"
    assert checked.returncode == 2
    assert checked.stdout.startswith("QUEUECTL CRITICAL - 1 dead job (limit 0) | dlq=1;;0;0 ")
    assert (detached.returncode, detached.stderr) == (0, "")
    assert detached.stdout.splitlines()[1].startswith("stopped ")
    assert queue.json("worker", "list") == []


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is there only")
def test_the_unit_tells_systemd_when_its_workers_are_ready(queue: Queue) -> None:
    """READY=1 is sent when jobs can run, and after TERM the exit code is 0."""
    unit = dict(line.split("=", 1) for line in README.block("Shells and cron", "ini").splitlines()
                if "=" in line)  # fmt: skip
    program, *arguments = shlex.split(unit["ExecStart"])
    assert (unit["Type"], unit["KillMode"]) == ("notify", "mixed")
    assert Path(program).name == Path(COMMAND).name
    address = str(queue.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service_manager:
        service_manager.bind(address)
        service_manager.settimeout(30)
        service = queue.spawn(*arguments, env={"NOTIFY_SOCKET": address})
        told = service_manager.recv(100)
    workers = queue.json("worker", "list")
    service.send_signal(signal.SIGTERM)

    assert told == b"READY=1"
    assert len(workers) == 2
    assert service.wait(30) == 0
