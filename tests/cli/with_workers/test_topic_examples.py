"""The examples in the help topics work as pasted."""

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
from support.pages import TOPICS, TOPICS_FOLDER, Block
from support.pasting import paste, stub, stubs
from support.queue import Queue
from support.waiting import wait_until


def _examples(*topics: str) -> list[object]:
    """Return the shell blocks of topics as parameters, named by topic and heading."""
    found = []
    for topic in topics:
        for number, block in enumerate(TOPICS[topic].blocks):
            if block.language == "sh":
                found.append(pytest.param(block, id=f"{topic}-{number}-{block.heading}"))
    return found


@pytest.mark.parametrize(
    "block", _examples("recipes", "scripts", "configuration", "systemd", "teams")
)
def test_an_example_works_as_pasted(queue: Queue, block: Block) -> None:
    """It exits with 0 and prints no error. What it needs is there: a dead job, or workers."""
    if "jq" in block.text and shutil.which("jq") is None:
        pytest.skip("it calls jq")
    for name in ("clip 1.mkv", "it's.mkv", "a b.log", "names.txt"):
        (queue.work / name).write_text("text\n")
    (queue.work / "a").mkdir()
    (queue.work / "train").write_text("#!/bin/sh\n")
    (queue.work / "train").chmod(0o755)
    command = "exit 0" if "--max-dlq 0" in block.text else "exit 4"
    queue.enqueue(command, "--id", "earlier", "--max-retries", "1")
    queue.drain(workers=1)
    if re.search("wait|min-workers", block.text) and "worker start" not in block.text:
        queue.start(workers=2)

    script = re.sub(r"queuectl --db \S+ ", "queuectl ", block.text)
    done = paste(queue, f"set -e\n{script}", PATH=stubs(queue))
    queue.run("worker", "stop", "--now")

    assert (done.returncode, _without_messages(done.stderr)) == (0, "")


def _without_messages(stderr: str) -> str:
    """Return what is on stderr besides the log of pools, and what is said of no or of dead jobs."""
    expected = (
        r"\d{4}-\d\d-\d\d \S+ .*|queuectl wait: .*[0-9a-f]{12} is dead: exit [13]"
        r"|since \d{4}-\d\d-\d\d \S+|no jobs"
    )
    return "".join(
        line
        for line in stderr.splitlines(keepends=True)
        if not re.fullmatch(expected, line.strip())
    )


def test_the_scripts_do_what_the_topic_says(queue: Queue) -> None:
    """Ids and exit codes are as described; a batch with a failed job ends with 1."""
    topic = TOPICS["scripts"]
    one, output = [b.text for b in topic.blocks if b.heading == "One job, and its exit code"]
    _, failing, kept, ci = [b.text for b in topic.blocks
                if (b.heading[:7], b.language) == ("A batch", "sh")]  # fmt: skip
    path = stub(queue, "make", 'echo "make $*"')
    pool = queue.start()
    waited = paste(queue, one)
    printed = paste(queue, output, PATH=path)
    pool.send_signal(signal.SIGTERM)
    pool.wait(30)
    failed = paste(queue, failing.replace("queuectl dlq list", "echo failed"))
    batch = paste(queue, kept.replace("|| queuectl dlq list", ""))
    checked = paste(queue, ci)

    assert (waited.stdout, waited.returncode) == ("it ended with 3\n", 0)
    assert printed.stdout == "make test\n"
    assert failed.stdout == "failed\njobs have died in the last hour\n"
    assert batch.returncode == 1
    assert checked.returncode == 0
    assert checked.stdout.startswith("QUEUECTL OK - ")


def test_the_trap_in_the_scripts_is_there(queue: Queue) -> None:
    """Workers, and a `wait --all` after them, exit with 0 although a job is dead."""
    block = TOPICS["scripts"].block("A batch, and whether all of it worked", "console")
    commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]

    assert paste(queue, "set -e\n" + "\n".join(commands)).stdout == "0\n"


def test_the_names_of_files_are_quoted(queue: Queue) -> None:
    """Each way stores one job per file, whatever its name holds."""
    if shutil.which("jq") is None:
        pytest.skip("it calls jq")
    for name in ("a b.log", "it's $HOME.log"):
        (queue.work / name).write_text("text\n")
    _, block = [b.text for b in TOPICS["scripts"].blocks if b.heading == "Many jobs at once"]
    assert paste(queue, block).returncode == 0
    queue.drain(workers=2)

    assert queue.counts() == {"completed": 6}
    assert len(list(queue.work.glob("*.gz"))) == 2


def _crontab(topic: str) -> list[str]:
    """Return the commands of the crontab lines that call queuectl, as cron passes them to sh."""
    lines = [
        line
        for block in TOPICS[topic].blocks
        if block.language == "crontab"
        for line in block.text.splitlines()
        if "queuectl " in line
    ]
    return [line.split(None, 5)[5].replace("\\%", "%") for line in lines]


def test_the_crontab_lines_print_nothing_on_success(queue: Queue) -> None:
    """Prevents that `enqueue -q --wait` warns about missing workers, which cron would mail."""
    nightly, workers, archive, fetch, _ = _crontab("cron")
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
    archived, fetched = paste(queue, archive), paste(queue, fetch)

    assert (waiting.returncode, said) == (0, b"")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert (queue.work / "ledger").read_text() == "done\n"
    assert (archived.returncode, archived.stdout, archived.stderr) == (0, "", "")
    assert (fetched.returncode, fetched.stdout, fetched.stderr) == (0, "", "")
    stored = {job["command"] for job in queue.json("list")}
    assert any(re.fullmatch(r"tar czf /var/backups/home-\d{4}-\d\d-\d\d\.tgz /home", command)
               for command in stored)  # fmt: skip


def test_one_failure_is_one_mail(queue: Queue) -> None:
    """Only the line that waits prints: the output of the last attempt, and the reason."""
    nightly, workers, *_, check = _crontab("cron")
    nightly = nightly.replace("--retry-delay 1m", "--retry-delay 50ms")
    path = stub(queue, "backup", "echo run >> ledger; echo disk full >&2; exit 3")
    with subprocess.Popen(
        ["sh", "-c", nightly],
        cwd=str(queue.work),
        env={**queue.env, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        wait_until(lambda: queue.exists() and queue.counts(), what="the job")
        ran = paste(queue, workers)
        out, err = waiting.communicate(timeout=60)
    daily = paste(queue, check)

    assert (waiting.returncode, out) == (3, "disk full\n")
    assert len(err.splitlines()) == 1
    assert err.startswith("queuectl enqueue: ")
    assert (queue.work / "ledger").read_text() == "run\n" * 3
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert len(daily.stdout.splitlines()) == 2
    assert "backup" in daily.stdout


def test_a_line_does_nothing_while_its_job_still_runs(queue: Queue) -> None:
    """As the topic says of a job that takes longer than its interval: no second mail."""
    nightly = _crontab("cron")[0]
    path = stub(queue, "backup", "echo run >> ledger; until [ -e go ]; do sleep 0.05; done; exit 3")
    queue.ok("config", "set", "max-retries", "1")
    queue.start()
    with subprocess.Popen(
        ["sh", "-c", nightly],
        cwd=str(queue.work),
        env={**queue.env, "PATH": path},
        stderr=subprocess.DEVNULL,
    ) as first:
        wait_until((queue.work / "ledger").exists, what="the job")
        second = paste(queue, nightly, PATH=path)
        (queue.work / "go").touch()
        assert first.wait(60) == 3

    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert (queue.work / "ledger").read_text() == "run\n"


def _unit(heading: str) -> str:
    return TOPICS["systemd"].block(heading, "ini")


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is there only")
@pytest.mark.parametrize(("heading", "count"), [("For one user", 2), ("For the whole system", 4)])
def test_a_unit_tells_systemd_when_its_workers_are_ready(
    queue: Queue, heading: str, count: int
) -> None:
    """READY=1 is sent when jobs can run, and after TERM the exit code is 0."""
    unit = dict(line.split("=", 1) for line in _unit(heading).splitlines() if "=" in line)
    program, *arguments = shlex.split(unit["ExecStart"])
    assert (unit["Type"], unit["KillMode"]) == ("notify", "mixed")
    assert Path(program).name == Path(COMMAND).name
    address = str(queue.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service_manager:
        service_manager.bind(address)
        service_manager.settimeout(30)
        service = queue.spawn(*arguments, env={"NOTIFY_SOCKET": address})
        told = service_manager.recv(1000)
    workers = queue.json("worker", "list")
    service.send_signal(signal.SIGTERM)

    assert b"READY=1" in told.split(b"\n")
    assert len(workers) == count
    assert service.wait(30) == 0


def test_the_unit_puts_back_what_does_not_end_in_time(queue: Queue) -> None:
    """Its ExecStop lines, run in their order, leave the job pending with no attempt counted."""
    lines = [line for line in _unit("For one user").splitlines() if line.startswith("ExecStop=")]
    calls = [shlex.split(line.replace("ExecStop=-", "").replace("90s", "0.2s")) for line in lines]
    job = queue.enqueue("sleep 60")
    service = queue.start()
    queue.until(job, "processing")
    codes = [queue.run(*call[1:]).code for call in calls]
    service.wait(30)

    assert codes == [124, 0]
    assert (queue.show(job)["state"], queue.show(job)["attempts"]) == ("pending", 0)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
@pytest.mark.parametrize(
    ("heading", "scope"), [("For one user", "--user"), ("For the whole system", "--system")]
)
def test_systemd_finds_nothing_wrong_with_a_unit(queue: Queue, heading: str, scope: str) -> None:
    """Its directives are known, in the sections where they belong."""
    path = queue.folder / "queuectl.service"
    path.write_text(re.sub(r"(?<=[=-])\S+/queuectl(?= )", COMMAND, _unit(heading)))
    done = subprocess.run(
        ["systemd-analyze", scope, "--man=no", "--generators=no", "verify", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**queue.env, "XDG_RUNTIME_DIR": str(queue.folder)},
    )

    assert [line for line in done.stderr.splitlines() if "queuectl.service" in line] == []


def test_the_messages_that_the_topics_quote_exist() -> None:
    """A message that is reworded is reworded in its explanation, too."""
    sources = [
        re.sub(r'"\s+f?"', "", path.read_text("utf-8"))
        for path in TOPICS_FOLDER.parent.rglob("*.py")
    ]
    quoted = [
        part.strip()
        for topic in ("troubleshooting", "teams", "systemd")
        for message in re.findall(r'"([^"\n]+)"', TOPICS[topic].text.replace("\n  ", " "))
        for part in message.split("…")
        if len(part) > 3
    ]

    assert len(quoted) > 8
    assert [part for part in quoted if not any(part in source for source in sources)] == []
