"""Webhooks beside real workers and a real receiver on loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import time
from typing import Mapping

import pytest

from queuectl.core.errors import DiskFailure
from queuectl.storage import Storage
from support.processes import alive
from support.queue import Queue
from support.receiver import Received, Receiver, drip, flood, hang, receiving, status
from support.terminal import on_terminal
from support.waiting import wait_until


@pytest.fixture(autouse=True)
def _quick_retries(queue: Queue) -> None:
    queue.configure(backoff_base="1", backoff_max="0.05")


def _add(queue: Queue, receiver: Receiver, *options: str) -> str:
    """Add a hook `ops` that sends each death to the receiver; return its secret."""
    name, *secret = queue.ok(
        "hook", "add", "ops", "--on", "dead", "--url", f"{receiver.url}/hook/in-the-path", *options
    ).splitlines()
    assert name == "ops"
    return "".join(secret)


def _die(queue: Queue, command: str = "echo what it printed; exit 12") -> str:
    return queue.enqueue(command, "--max-retries", "1")


def _is_signed(received: Received, secret: str) -> list[bool]:
    """Whether each signature of a request is that of a secret: computed here, from the RFCs."""
    key = base64.b64decode(secret[len("whsec_") :])
    headers: Mapping[str, str] = received.headers
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + received.body
    good = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return [one == f"v1,{good}" for one in headers["webhook-signature"].split(" ")]


def _jobs_of_hook(queue: Queue) -> list[str]:
    return [run["state"] for run in reversed(queue.json("hook", "show", "ops")["jobs"])]


def test_an_imported_job_sends_if_there_is_its_hook(queue: Queue) -> None:
    """Regression: it was tried 30 times, and its output was `exec: : Permission denied`."""
    with receiving(status(500), status(200)) as receiver:
        _add(queue, receiver, "--max-retries", "1")
        _die(queue)
        queue.drain()
        lines = queue.ok("export", "--queue", "default/hooks")
        queue.ok("dlq", "purge", "--all", "--yes")
        queue.ok("import", "-", stdin=lines)
        queue.ok("retry", "--all")
        queue.drain()
    first, second = receiver.received
    assert second.headers["webhook-id"] == first.headers["webhook-id"]
    assert [job.state.value for job in queue.jobs()] == ["completed"]

    queue.ok("hook", "remove", "ops")
    queue.ok("retry", "@3")
    queue.drain()
    assert queue.get("@3").cancel_reason == "the hook ops was removed"


def test_an_event_is_sent_signed_and_its_job_keeps_the_answer(queue: Queue) -> None:
    with receiving(status(200, b"thank you")) as receiver:
        secret = _add(queue, receiver)
        job = _die(queue)
        queue.drain()
    (received,) = receiver.received
    assert _is_signed(received, secret) == [True]
    assert abs(int(received.headers["webhook-timestamp"]) - time.time()) < 60
    event = json.loads(received.body)
    assert (event["type"], event["data"]["id"]) == ("job.dead", job)
    assert (event["data"]["exit_code"], event["data"]["state"]) == (12, "dead")
    assert _jobs_of_hook(queue) == ["completed"]
    kept = queue.ok("logs", "@2").splitlines()
    assert (kept[0], kept[-1]) == ("HTTP 200 OK", "200 OK")
    assert "thank you" in kept
    found = queue.json("hook", "show", "ops")
    assert (found["last_result"], found["failures"]) == ("200 OK", 0)


def test_a_failure_is_tried_again_with_the_same_id(queue: Queue) -> None:
    """A receiver knows by the id that it has seen the event."""
    replies = (status(500), status(301, Location="http://127.0.0.1:1/"), status(204))
    with receiving(*replies) as receiver:
        secret = _add(queue, receiver)
        _die(queue)
        queue.drain()
    assert len(receiver.received) == 3
    assert len({received.headers["webhook-id"] for received in receiver.received}) == 1
    assert all(_is_signed(received, secret) == [True] for received in receiver.received)
    assert _jobs_of_hook(queue) == ["completed"]
    outcomes = [one["outcome"] for one in queue.show("@2")["executions"]]
    assert outcomes == ["exit", "exit", "ok"]


def test_410_disables_the_hook_until_it_is_resumed(queue: Queue) -> None:
    """The receiver wants no more: what is under way is cancelled, neither retried nor dead."""
    with receiving(status(410), status(200)) as receiver:
        _add(queue, receiver)
        _die(queue)
        _die(queue)
        queue.drain(workers=1)
        assert len(receiver.received) == 1
        assert set(_jobs_of_hook(queue)) == {"cancelled"}
        found = queue.json("hook", "show", "ops")
        assert (found["disabled"], found["disabled_reason"]) == (True, "410 Gone")
        assert "410 Gone" in queue.ok("status")
        _die(queue)
        queue.drain()
        assert len(receiver.received) == 1

        queue.ok("hook", "resume", "ops")
        _die(queue)
        queue.drain()
    assert len(receiver.received) == 2
    assert _jobs_of_hook(queue)[-1] == "completed"


def test_a_busy_receiver_is_asked_again_after_the_time_that_it_names(queue: Queue) -> None:
    """This is the same attempt: a retry by the queue may come much later."""
    with receiving(status(429, Retry_After="1"), status(200)) as receiver:
        _add(queue, receiver)
        _die(queue)
        queue.drain()
    first, second = (int(received.headers["webhook-timestamp"]) for received in receiver.received)
    assert second >= first + 1
    assert [one["outcome"] for one in queue.show("@2")["executions"]] == ["ok"]


@pytest.mark.parametrize("wish", [{}, {"Retry_After": "3600"}])
def test_a_busy_receiver_that_names_no_time_or_a_long_one_is_left_to_the_retries(
    queue: Queue, wish: dict[str, str]
) -> None:
    with receiving(status(503, **wish), status(200)) as receiver:
        _add(queue, receiver)
        _die(queue)
        queue.drain()
    assert len(receiver.received) == 2
    assert [one["outcome"] for one in queue.show("@2")["executions"]] == ["exit", "ok"]


@pytest.mark.parametrize("reply", [hang, drip])
def test_a_receiver_that_does_not_end_its_answer_is_given_up(queue: Queue, reply: object) -> None:
    with receiving(reply, status(200)) as receiver:  # type: ignore[arg-type]
        _add(queue, receiver, "--timeout", "3s")
        _die(queue)
        queue.drain()
    *given_up, last = [one["outcome"] for one in queue.show("@2")["executions"]]
    # A busy machine may need the whole time for an attempt.
    assert (set(given_up), last) == ({"timeout"}, "ok")
    assert len(receiver.received) >= 2


def test_of_a_long_answer_only_the_beginning_is_kept(queue: Queue) -> None:
    with receiving(flood) as receiver:
        _add(queue, receiver)
        _die(queue)
        queue.drain()
    (execution,) = queue.show("@2")["executions"]
    assert (execution["outcome"], execution["output_bytes"] < 10_000) == ("ok", True)


def test_nobody_listens(queue: Queue) -> None:
    """The event waits in the dead letter queue, and `retry` sends it, with the same id."""
    with receiving() as receiver:
        url = receiver.url
    queue.ok("hook", "add", "ops", "--on", "dead", "--url", url, "--max-retries", "2")
    _die(queue)
    queue.drain()
    assert _jobs_of_hook(queue) == ["dead"]
    assert queue.json("hook", "show", "ops")["last_result"] == "Connection refused"
    assert queue.ids("--state", "dead", "--queue", "default/hooks") != []


def test_an_event_survives_the_death_of_its_worker_and_keeps_its_id(queue: Queue) -> None:
    """A worker that is killed between the answer and the record delivers it twice at most."""
    with receiving(hang, status(200)) as receiver:
        _add(queue, receiver)
        _die(queue)
        pool = queue.start()
        wait_until(lambda: receiver.received, what="the first delivery")
        for worker in queue.workers():
            if worker["job_pid"]:
                os.kill(worker["job_pid"], signal.SIGKILL)
        pool.terminate()
        pool.wait()
        queue.drain()
    assert len({received.headers["webhook-id"] for received in receiver.received}) == 1
    assert len(receiver.received) == 2
    assert _jobs_of_hook(queue) == ["completed"]


def test_deliveries_of_a_hook_that_is_gone_or_paused_cancel_themselves(queue: Queue) -> None:
    with receiving() as receiver:
        for verb in ("pause", "remove"):
            queue.ok("hook", "add", verb, "--on", "dead", "--url", receiver.url)
        _die(queue)
        queue.drain("--queue", "default", workers=1)
        assert len(receiver.received) == 2
        queue.ok("queue", "pause", "default/hooks")
        _die(queue)
        queue.drain(workers=1)
        for verb in ("pause", "remove"):
            queue.ok("hook", verb, verb)
        queue.ok("queue", "resume", "default/hooks")
        queue.drain(workers=1)
    assert len(receiver.received) == 2
    cancelled = queue.json("list", "--state", "cancelled")
    assert sorted(job["cancel_reason"] for job in cancelled) == [
        "the hook pause is paused",
        "the hook remove was removed",
    ]


def test_both_secrets_sign_for_a_while_after_a_rotation(queue: Queue) -> None:
    with receiving() as receiver:
        old = _add(queue, receiver)
        new = queue.ok("hook", "rotate", "-q", "ops")
        assert queue.ok("hook", "show", "--secret", "ops") == new != old
        _die(queue)
        queue.drain()
        newest = queue.ok("hook", "rotate", "-q", "--keep-old", "0", "ops")
        _die(queue)
        queue.drain()
    first, second = receiver.received
    assert (_is_signed(first, new), _is_signed(first, old)) == ([True, False], [False, True])
    assert _is_signed(second, newest) == [True]


def test_a_replaced_webhook_does_not_sign_with_secrets_of_the_old_one(queue: Queue) -> None:
    """Prevents a bug: --no-secret kept the old secret, and a rotated one signed for a day."""
    with receiving() as receiver:
        _add(queue, receiver)
        queue.ok("hook", "rotate", "-q", "ops")
        secret = _add(queue, receiver, "--replace")
        _die(queue)
        queue.drain()
        assert _add(queue, receiver, "--replace", "--no-secret") == ""
        _die(queue)
        queue.drain()
    signed, unsigned = receiver.received
    assert _is_signed(signed, secret) == [True]
    assert "webhook-signature" not in unsigned.headers


def test_a_secret_in_a_file_is_read_at_each_delivery(queue: Queue) -> None:
    secrets = [f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2)]
    file = queue.work / "secret"
    with receiving() as receiver:
        file.write_text(secrets[0] + "\n")
        assert _add(queue, receiver, "--secret-file", "secret") == ""
        for secret in secrets:
            file.write_text(secret)
            _die(queue)
            queue.drain()
    for received, secret in zip(receiver.received, secrets):
        assert _is_signed(received, secret) == [True]


def test_what_is_secret_is_shown_nowhere(queue: Queue) -> None:
    """Only `hook show --secret` prints it."""
    with receiving() as receiver:
        secret = _add(queue, receiver, "--header", "Authorization: Bearer tell-nobody")
        _die(queue)
        queue.drain()
        shown = [
            queue.ok("hook", "list"),
            queue.ok("hook", "list", "--json"),
            queue.ok("hook", "show", "ops"),
            queue.ok("hook", "show", "--json", "ops"),
            queue.ok("show", "@2", "--json"),
            queue.ok("logs", "@2"),
            queue.ok("list", "--json"),
            queue.ok("export"),
            queue.ok("sql", "--json", "SELECT * FROM hooks"),
            queue.ok("sql", "--json", "SELECT * FROM hook_run_list"),
        ]
    (received,) = receiver.received
    assert received.headers["authorization"] == "Bearer tell-nobody"
    for text in shown:
        for hidden in (secret, "tell-nobody", "in-the-path"):
            assert hidden not in text


@pytest.mark.parametrize(
    ("form", "options", "path", "body"),
    [
        ("healthchecks", (), "/hook/in-the-path/12", b"what it printed\n"),
        ("text", (), "/hook/in-the-path", b"night died: exit 12"),
        ("slack", (), "/hook/in-the-path", b'{"text": "night died: exit 12"}'),
    ],
)
def test_the_other_formats(
    queue: Queue, form: str, options: tuple[str, ...], path: str, body: bytes
) -> None:
    with receiving() as receiver:
        assert _add(queue, receiver, "--format", form, *options) == ""
        command = "echo what it printed; exit 12"
        queue.enqueue(command, "--max-retries", "1", "--label", "night")
        queue.drain()
    (received,) = receiver.received
    assert (received.path, received.body) == (path, body)
    assert "webhook-signature" not in received.headers


def test_the_end_of_the_output_is_sent_along_if_asked_for(queue: Queue) -> None:
    with receiving() as receiver:
        _add(queue, receiver, "--output", "1KiB")
        _die(queue, "seq 1000; exit 1")
        queue.drain()
    data = json.loads(receiver.received[0].body)["data"]
    assert (len(data["output"]), data["output"][-5:]) == (1024, "1000\n")


def test_an_answer_that_cannot_be_noted_does_not_send_the_event_again(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk may be full. Prevents a bug: the job failed, and each retry sent the event again."""

    def fails(*_: object) -> None:
        raise DiskFailure("the disk is full")

    with receiving(status(200)) as receiver:
        _add(queue, receiver)
        monkeypatch.setattr(Storage, "note_answer", fails)
        job = {"QUEUECTL_DB": str(queue.database), "QUEUECTL_JOB_ID": queue.enqueue("true")}
        event = {"QUEUECTL_HOOK": "ops", "QUEUECTL_EVENT_ID": "evt_1"}
        sent = queue.run("hook", "deliver", stdin='{"data": {}}', env={**job, **event})
    assert (sent.code, len(receiver.received)) == (0, 1)
    assert sent.err == "the answer was not noted: the disk is full\n200 OK\n"


def test_a_test_event_is_sent_at_once(queue: Queue) -> None:
    with receiving(status(200, b"fine"), status(500)) as receiver:
        secret = _add(queue, receiver)
        good = queue.run("hook", "test", "ops")
        bad = queue.run("hook", "test", "ops")
    assert (good.code, bad.code) == (0, 1)
    assert good.out.splitlines()[0] == "HTTP 200 OK"
    assert good.out.splitlines()[-1] == "fine"
    for received in receiver.received:
        assert json.loads(received.body)["type"] == "hook.test"
        assert _is_signed(received, secret) == [True]
    assert "Connection refused" in queue.fails(1, "hook", "test", "ops")


def test_a_test_has_the_variables_of_the_hook(queue: Queue) -> None:
    """Regression: it used the proxy and the certificates of the caller, which jobs do not have."""
    with receiving(status(200)) as proxy:
        queue.ok(
            "hook", "add", "ops", "--on", "dead", "--allow-http", "--url", "http://a.invalid/b",
            "--env", f"http_proxy={proxy.url}",
        )  # fmt: skip
        assert queue.ok("hook", "test", "ops").splitlines()[0] == "HTTP 200 OK"
    assert len(proxy.received) == 1


def test_a_test_runs_the_command_of_a_hook(queue: Queue) -> None:
    queue.ok("hook", "add", "cat", "--on", "dead", 'echo "$QUEUECTL_EVENT"; cat; exit 3')
    done = queue.run("hook", "test", "cat")
    event, payload = done.out.splitlines()
    assert (event, json.loads(payload)["type"]) == ("hook.test", "hook.test")
    assert (done.code, done.err) == (1, "")


@pytest.mark.parametrize(("command", "said"), [("true", "exit 0"), ("exit 3", "exit 3"),
                                               ("kill -9 $$", "killed by signal 9")])  # fmt: skip
def test_a_terminal_says_how_the_command_of_a_hook_ended(
    queue: Queue, command: str, said: str
) -> None:
    """A command that prints nothing would leave its user in doubt."""
    queue.ok("hook", "add", "quiet", "--on", "dead", command)
    done = on_terminal(queue, "hook", "test", "quiet", streams="stderr")
    assert done.screen.strip() == said


def test_a_test_of_a_command_ends_after_the_timeout_of_the_hook(queue: Queue) -> None:
    """The command and all that it started are ended, and one line says why."""
    queue.configure(kill_grace="0.1")
    command = "sleep 60 & echo $! > child; wait"
    queue.ok("hook", "add", "slow", "--on", "dead", "--timeout", "4s", command, cwd=queue.work)
    ended = queue.run("hook", "test", "slow")
    child = int((queue.work / "child").read_text())
    assert (ended.code, ended.err) == (
        124,
        "queuectl hook test: the command was killed after 4 s (hook add --timeout)\n",
    )
    assert not alive(child)


def test_a_test_in_a_folder_that_is_gone_says_so(queue: Queue) -> None:
    folder = queue.work / "gone"
    folder.mkdir()
    queue.ok("hook", "add", "ops", "--on", "dead", "--cwd", str(folder), "true")
    folder.rmdir()
    assert queue.fails(1, "hook", "test", "ops") == (
        f"queuectl hook test: the command cannot be started: {folder}: No such file or directory"
    )


def test_a_test_runs_the_command_by_the_shell_of_its_jobs(queue: Queue) -> None:
    queue.configure(shell="/bin/bash")
    queue.ok("hook", "add", "shell", "--on", "dead", 'test "$BASH" = /bin/bash')
    assert queue.run("hook", "test", "shell").code == 0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--url", "http://example.org/"), "--url: the URL must begin with https://"),
        (("--url", "https://example.org/", "true"), "runs a command or calls a URL, not both"),
        (("--header", "A: b", "true"), "--header needs --url"),
        (("--url", "https://example.org/", "--header", "nonsense"), "--header: a header is"),
        (("--url", "https://example.org/", "--secret-file", "absent"), "--secret-file: the secret"),
        (("--url", "https://example.org/", "--output", "1MiB"), "--output must be at most 10000"),
        (("--url", "https://example.org/", "--format", "xml"), "invalid value for '--format'"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    queue: Queue, options: tuple[str, ...], error: str
) -> None:
    done = queue.run("hook", "add", "bad", "--on", "dead", *options)
    assert (done.code, done.out) == (2, "")
    assert error in done.err
    assert queue.json("hook", "list") == []


def test_a_secret_that_is_not_there_cannot_be_shown_or_rotated(queue: Queue) -> None:
    queue.ok("hook", "add", "command", "--on", "dead", "true")
    queue.ok("hook", "add", "plain", "--on", "dead", "--url", "https://x.example/", "--no-secret")
    for name, reason in (("command", "it runs a command"), ("plain", "has no secret")):
        assert reason in queue.fails(1, "hook", "rotate", name)
        assert reason in queue.fails(1, "hook", "show", "--secret", name)


def test_only_the_job_of_a_webhook_delivers(queue: Queue) -> None:
    queue.enqueue("true")
    assert "queuectl hook test" in queue.fails(2, "hook", "deliver")
