"""The environment in which a job starts, and how its end is recorded."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import pytest

from support.calls import COMMAND
from support.held import UNTIL_GO
from support.processes import alive, linux_only
from support.queue import Queue
from support.waiting import wait_until

_LIBRARY_SIGNALS = 0b11 << 31
"""Signals 32 and 33, which glibc uses internally."""


def _output(queue: Queue, job: str) -> str:
    return queue.run("logs", job).out


def test_a_job_that_exits_0_is_completed(queue: Queue) -> None:
    """Exit 0 completes a job, and its only attempt records the facts."""
    job = queue.enqueue("echo done")
    queue.drain()

    shown = queue.show(job)
    attempt = shown["executions"][0]
    assert (shown["state"], shown["attempts"], shown["exit_code"]) == ("completed", 1, 0)
    assert (shown["signal"], shown["last_error"], shown["locked_by"]) == (None, None, None)
    assert (attempt["outcome"], attempt["exit_code"], attempt["output_bytes"]) == ("ok", 0, 5)
    assert attempt["seconds"] > 0
    assert attempt["cpu_seconds"] >= 0
    assert attempt["max_rss_bytes"] > 100_000
    assert attempt["started_at"] < attempt["finished_at"]
    assert attempt["pid"] > 1
    assert len(shown["executions"]) == 1


@pytest.mark.parametrize(
    ("command", "outcome", "exit_code", "number", "reason"),
    [
        ("exit 7", "exit", 7, None, "exit 7"),
        ("exit 255", "exit", 255, None, "exit 255"),
        ("no-such-program-anywhere", "exit", 127, None, "exit 127"),
        ("./not-executable", "exit", 126, None, "exit 126"),
        ("if then fi (", "exit", 2, None, "exit 2"),
        ("kill -TERM $$", "signal", None, 15, "killed by signal 15 (TERM)"),
        ("kill -KILL $$", "signal", None, 9, "killed by signal 9 (KILL)"),
        ("kill -INT $$", "signal", None, 2, "killed by signal 2 (INT)"),
        ("kill -PIPE $$", "signal", None, 13, "killed by signal 13 (PIPE)"),
        ("ulimit -c 0; kill -SEGV $$", "signal", None, 11, "killed by signal 11 (SEGV)"),
    ],
)
def test_the_end_of_a_command_is_recorded(
    queue: Queue, command: str, outcome: str, exit_code: int | None, number: int | None, reason: str
) -> None:
    """Its exit code is recorded; if a signal ended it, the signal and no exit code."""
    (queue.work / "not-executable").write_text("true\n")
    job = queue.add(command, max_retries=1)
    queue.drain(workers=1)

    ended, attempt = queue.get(job), queue.attempts(job)[0]
    assert (ended.state.value, ended.last_error) == ("dead", reason)
    assert (ended.exit_code, ended.signal) == (exit_code, number)
    assert attempt.outcome is not None
    assert (attempt.outcome.value, attempt.exit_code, attempt.signal) == (
        outcome,
        exit_code,
        number,
    )


def test_a_job_runs_where_it_was_enqueued(queue: Queue) -> None:
    """The folder is that of the enqueue, spaces and symbolic links included, or --cwd."""
    folder, link = queue.folder / "two words é", queue.folder / "link"
    folder.mkdir()
    link.symlink_to(folder)
    here = queue.enqueue("pwd", cwd=folder)
    linked = queue.enqueue("pwd", cwd=link, env={"PWD": str(link)})
    named = queue.enqueue("pwd; ls", "--cwd", str(queue.folder))
    (queue.folder / "seen").touch()
    queue.drain()

    assert _output(queue, here) == f"{folder}\n"
    assert _output(queue, linked) == f"{link}\n"
    assert _output(queue, named).splitlines()[0] == str(queue.folder)
    assert "seen" in _output(queue, named).split()


def test_jobs_without_a_folder_run_where_the_worker_was_started(queue: Queue) -> None:
    """Regression: only the first such job of a worker ran there, every later one in /."""
    made = queue.add_many("pwd", "pwd", "pwd", cwd=None)
    queue.drain(workers=1)

    assert [_output(queue, job) for job in made] == [f"{queue.work}\n"] * 3


@pytest.mark.parametrize(
    ("left", "reason"),
    [("nothing", "cwd {} is gone"), ("a file", "cwd {} is gone")],
)
def test_a_folder_that_is_gone_fails_the_attempt_with_126(
    queue: Queue, left: str, reason: str
) -> None:
    """The job is not started: exit code 126 with the reason. It is retried."""
    folder = queue.folder / "gone"
    folder.mkdir()
    job = queue.enqueue("touch /should-not-run", "--max-retries", "2", cwd=folder)
    folder.rmdir()
    if left == "a file":
        folder.write_text("")
    queue.configure(backoff_base="1", backoff_max="0")
    queue.drain(workers=1)

    ended = queue.get(job)
    assert (ended.state.value, ended.exit_code) == ("dead", 126)
    assert ended.last_error == reason.format(folder)
    assert queue.outcomes(job) == ["spawn-error", "spawn-error"]
    assert [attempt.exit_code for attempt in queue.attempts(job)] == [126, 126]


@pytest.mark.parametrize(
    ("shell", "command", "printed"),
    [
        (
            "bash",
            "[[ x == x ]] && echo $0 ${BASH_VERSION:+bash} {1..3} $'\\x41'",
            "bash bash 1 2 3 A",
        ),
        ("bash", "cat <(echo substituted); echo ${POSIXLY_CORRECT-no}", "substituted\nno"),
        ("zsh", "a='x y'; print -l $a ${ZSH_VERSION:+zsh}", "x y\nzsh"),
        ("dash", "echo $0", "dash"),
        ("fish", "echo (math 1 + 2)", "3"),
        ("python3", "print(1 + 2)", "3"),
    ],
)
def test_a_job_has_the_syntax_of_its_shell(
    queue: Queue, shell: str, command: str, printed: str
) -> None:
    """It is called by its own name. One that does not know the syntax of sh works as well."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    job = queue.enqueue(command, "--shell", program)
    queue.drain(workers=1)

    assert (queue.outcomes(job), _output(queue, job).strip()) == (
        ["ok"], printed,
    )  # fmt: skip


def test_a_job_whose_shell_does_not_exist_fails_with_127(queue: Queue) -> None:
    """`wait` and the attempt say so; jobs after it run."""
    job = queue.enqueue("true", "--shell", "/no/such/shell", "--max-retries", "1")
    other = queue.enqueue("true")
    queue.drain(workers=1)

    assert (queue.outcomes(job), queue.outcomes(other)) == (["spawn-error"], ["ok"])
    assert queue.run("wait", job) == (
        127, "", f"queuectl wait: {job} is dead: the shell /no/such/shell does not exist\n",
    )  # fmt: skip


def test_the_environment_of_a_job(queue: Queue) -> None:
    """Later ones win: that of the worker, that of the enqueue, --env, QUEUECTL_*."""
    path = f"{queue.folder}/bin:{queue.env['PATH']}"
    words = 'printf \'%s|\' "$PATH" "$ONLY_WORKER" "$BOTH" "$GIVEN" "$ONLY_ENQUEUE"'
    job = queue.enqueue(
        words,
        *("--env", "BOTH=from enqueue", "--env", "GIVEN=a=b c"),
        env={"PATH": path, "ONLY_ENQUEUE": "x", "BOTH": "not this"},
    )
    done = queue.run(
        "worker", "start", "--drain", env={"ONLY_WORKER": "from worker", "BOTH": "worker's"}
    )
    assert done.code == 0

    assert _output(queue, job) == f"{path}|from worker|from enqueue|a=b c|x|"


def test_a_variable_of_the_shell_reaches_the_job(queue: Queue) -> None:
    """`export FOO=bar; queuectl enqueue 'echo $FOO'`, unless the key capture-env names others.

    What describes the shell and its terminal, and its functions, are those of the worker.
    """
    shell = {"FOO": "bar", "TERM": "of enqueue", "BASH_FUNC_f%%": "() { :; }", "SHLVL": "7"}
    words = 'echo "$FOO $TERM"; env | grep -c BASH_FUNC'
    job = queue.enqueue(words, env=shell)
    queue.ok("config", "set", "capture-env", "PATH")
    old_way = queue.enqueue(words, env=shell)
    queue.run("worker", "start", "--drain", env={"FOO": "of worker", "TERM": "worker's"})

    assert _output(queue, job) == "bar worker's\n0\n"
    assert _output(queue, old_way) == "of worker worker's\n0\n"


def test_the_variables_that_describe_a_job_to_itself(queue: Queue) -> None:
    """QUEUECTL_* name the job, attempt, queue, slot, database and execution; no others exist."""
    job = queue.add("env | grep ^QUEUECTL_ | sort; exit 3", queue="q1", max_retries=2)
    queue.configure(backoff_base="1", backoff_max="0")
    done = queue.run("worker", "start", "--drain", env={"QUEUECTL_STRANGE": "1"})
    assert done.code == 0

    last = queue.attempts(job)[-1]
    assert _output(queue, job).splitlines() == [
        "QUEUECTL_ATTEMPT=2",
        f"QUEUECTL_DB={queue.database}",
        f"QUEUECTL_EXECUTION={queue.storage.queue_id}/{last.id}",
        f"QUEUECTL_JOB_ID={job}",
        "QUEUECTL_QUEUE=q1",
        "QUEUECTL_SLOT=0",
        f"QUEUECTL_STATUS={queue.files.worker_status(last.worker)}",
    ]


def test_workers_that_run_at_once_have_different_slots(queue: Queue) -> None:
    """N workers have the slots 0 to N-1, each of them once."""
    made = queue.add_many(*["echo $QUEUECTL_SLOT; touch s$QUEUECTL_SLOT; " + UNTIL_GO] * 3)
    queue.start("--drain", workers=3)
    wait_until(lambda: all((queue.work / f"s{slot}").exists() for slot in range(3)))
    queue.let_go()
    for job in made:
        queue.until(job, "completed")

    assert sorted(_output(queue, job) for job in made) == ["0\n", "1\n", "2\n"]


@linux_only
def test_a_job_inherits_nothing_from_the_process_that_started_the_pool(queue: Queue) -> None:
    """Empty stdin, default signals, none blocked, no descriptor but its own, its own session."""
    # `exec`, because dash blocks signals for a moment while it starts a program.
    plain, masks, descriptors = queue.add_many(
        "wc -c; umask; ps -o pid=,pgid=,sid= -p $$ | tr -s ' ' '\\n' | sort -u | wc -w",
        "exec grep -E '^Sig(Blk|Ign)' /proc/self/status",
        "exec ls /proc/self/fd",
    )
    (queue.folder / "open").write_text("")
    # A job must not inherit what this process ignores, blocks and has open.
    program = (
        "import os, signal, sys\n"
        "for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1):\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGALRM])\n"
        "os.dup2(os.open(sys.argv[1], os.O_RDONLY), 5)\n"
        "os.set_inheritable(5, True)\n"
        "os.umask(0o027)\n"
        "os.execv(sys.argv[2], sys.argv[2:])\n"
    )
    starter = [sys.executable, "-c", program, str(queue.folder / "open")]
    subprocess.run(
        [*starter, COMMAND, "worker", "start", "--drain"],
        env=queue.env,
        cwd=str(queue.work),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=60,
        check=True,
    )

    assert _output(queue, plain) == "0\n0027\n1\n"
    signals = dict(line.split() for line in _output(queue, masks).splitlines())
    assert {name: int(mask, 16) & ~_LIBRARY_SIGNALS for name, mask in signals.items()} == {
        "SigBlk:": 0,
        "SigIgn:": 0,
    }
    # 3 is the folder that ls reads.
    assert _output(queue, descriptors).split() == ["0", "1", "2", "3"]


def test_variables_that_are_for_the_pool_alone_do_not_reach_jobs(queue: Queue) -> None:
    """Regression: each `make` in a job got the closed job server of the make around the pool.

    Variables that are set for the job by name stay, whatever they are called.
    """
    names = ("MAKEFLAGS", "LISTEN_FDS", "WATCHDOG_USEC", "JOURNAL_STREAM", "INVOCATION_ID")
    for_one = dict.fromkeys(names, "x")
    around = {**queue.env, **for_one, "NOTIFY_SOCKET": "none", "KEPT": "yes"}
    copied = queue.ok("enqueue", "--env", "*", "env", env=around)
    queue.configure(capture_env="*")
    captured = queue.ok("enqueue", "env", env=around)
    queue.configure(capture_env="")
    plain = queue.add("env")
    named = queue.add("env", env={"MAKEFLAGS": "-j2"})
    queue.drain(workers=1, env=around)

    for job in (copied, captured, plain):
        seen = {line.partition("=")[0] for line in _output(queue, job).splitlines()}
        assert seen & {*for_one, "NOTIFY_SOCKET"} == set()
        assert "KEPT" in seen
    assert "MAKEFLAGS=-j2" in _output(queue, named).splitlines()


def test_the_umask_of_worker_start_applies_to_jobs_but_not_to_the_queue(queue: Queue) -> None:
    """Files of a job get the umask of `worker start`; the queue's own files stay private."""
    queue.add("touch made")
    previous = os.umask(0)
    try:
        queue.drain(workers=1)
    finally:
        os.umask(previous)

    assert stat.S_IMODE((queue.work / "made").stat().st_mode) == 0o666
    assert stat.S_IMODE(queue.database.stat().st_mode) == 0o600


@pytest.mark.parametrize(("leftovers", "stays"), [("keep", True), ("kill", False)])
def test_processes_that_a_command_leaves_running_are_kept_or_killed(
    queue: Queue, leftovers: str, stays: bool
) -> None:
    """A job is over when its command ends. Nothing waits for leftover processes."""
    queue.configure(leftovers=leftovers, kill_grace="0.5")
    job = queue.add("sleep 300 & echo $! > child; echo started")
    queue.drain(workers=1, timeout=100)

    child = queue.pid("child")
    attempt = queue.attempts(job)[0]
    said = "left processes running" in queue.ok("show", job)
    try:
        assert queue.state(job) == "completed"
        assert (alive(child), attempt.leftovers, said) == (stays, stays, stays)
        assert attempt.seconds is not None
        assert attempt.seconds < 100
        assert _output(queue, job) == "started\n"
    finally:
        if alive(child):
            os.kill(child, signal.SIGKILL)
            wait_until(lambda: not alive(child))


def test_jobs_run_by_priority_then_in_the_order_of_their_entry(queue: Queue) -> None:
    """A higher priority starts first; among equal ones the job that was enqueued first."""
    order: tuple[tuple[str, int], ...] = (("a", 0), ("b", 5), ("c", -3), ("d", 5), ("e", 0))
    for name, priority in order:
        queue.add(f"echo {name} >> order", priority=priority)
    queue.drain(workers=1)

    assert (queue.work / "order").read_text().split() == ["b", "d", "a", "e", "c"]


def test_a_time_that_was_written_by_hand_is_read_or_reported(queue: Queue) -> None:
    """Times in the format of SQLite are read. A job with any other is shown and set aside as dead.

    Regression: `list` ended in a traceback, and so did one worker after another at its claim.
    """
    job = queue.add("true")
    _write_time(queue, "CURRENT_TIMESTAMP")
    assert queue.json("list")[0]["updated_at"].endswith(".000000Z")
    _write_time(queue, "'yesterday'")
    why = "another program wrote what cannot be read: updated_at"
    shown = queue.json("list")[0]
    assert (shown["state"], shown["last_error"]) == ("dead", why)
    assert f"{job} is set aside as dead: {why}" in queue.drain()

    assert (queue.state(job), queue.show(job)["last_error"]) == ("dead", why)
    queue.ok("retry", job)
    queue.drain()
    assert queue.state(job) == "completed"


def test_a_result_is_recorded_even_if_the_next_job_cannot_be_read(queue: Queue) -> None:
    """Regression: the record and the next claim failed together, again and again."""
    job = queue.add("touch begun; " + UNTIL_GO)
    queue.add("true", id="next")
    queue.start()
    wait_until((queue.work / "begun").exists)
    with closing(sqlite3.connect(queue.database)) as conn, conn:
        conn.execute("UPDATE jobs SET run_at = 'soon' WHERE id = 'next'")
    queue.let_go()

    queue.until(job, "completed")


def _write_time(queue: Queue, value: str) -> None:
    with closing(sqlite3.connect(queue.database)) as conn, conn:
        conn.execute(f"UPDATE jobs SET updated_at = {value}")
