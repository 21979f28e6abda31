"""`--input`: what a job reads from its stdin."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from support.queue import Queue


def _stored(queue: Queue, job: str) -> bytes | None:
    found = queue.get(job).input_id
    return None if found is None else queue.storage.find_content(found)


def test_stdin_is_stored(queue: Queue) -> None:
    """`echo data | queuectl enqueue --input - sort`."""
    job = queue.ok("enqueue", "--input", "-", "sort", stdin="b\na\n")

    assert _stored(queue, job) == b"b\na\n"
    assert "Input:    4 B\n" in queue.run("show", job).out
    assert queue.show(job)["input_bytes"] == 4


def test_a_file_is_stored_as_it_is_now(queue: Queue) -> None:
    """Later changes of it do not matter."""
    path = queue.work / "data"
    path.write_bytes(b"\xff\0old")
    job = queue.enqueue("cat", "--input", "data")
    path.write_bytes(b"new")

    assert _stored(queue, job) == b"\xff\0old"


def test_without_it_nothing_is_read(queue: Queue) -> None:
    """Not even what is piped to `enqueue`."""
    job = queue.ok("enqueue", "sort", stdin="b\na\n")

    assert (_stored(queue, job), queue.show(job)["input_bytes"]) == (None, None)


@pytest.mark.parametrize(
    ("field", "content"),
    [
        ("two\nlines", b"two\nlines"),
        ("", b""),
        ({"base64": base64.b64encode(b"\xff\0").decode()}, b"\xff\0"),
    ],
)
def test_the_field(queue: Queue, field: object, content: bytes) -> None:
    """Text, or base64 for bytes that are no text; it wins over the option."""
    spec = json.dumps({"command": "cat", "input": field})
    job = queue.ok("enqueue", "--input", "-", spec, stdin="from the option")

    assert _stored(queue, job) == content


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (3, "input must be text, not 3"),
        ({"base64": "?"}, "input is not valid base64"),
        ({"base64": 3}, "input must be text, not 3"),
        ({"hex": "00"}, 'input must be text, not {"hex": "00"}'),
        ("\ud800", "input is not valid UTF-8"),
        (
            "x" * ((1 << 20) + 1),
            "input is longer than 1 MiB (let the job read a file: make < FILE)",
        ),
    ],
)
def test_a_wrong_field_is_refused(queue: Queue, field: object, message: str) -> None:
    """The message names it."""
    line = json.dumps({"command": "cat", "input": field})

    said = queue.fails(2, "enqueue", "-", stdin=line)
    assert said == f"queuectl enqueue: line 1: {message}"


def test_a_wrong_file_is_refused(queue: Queue) -> None:
    """One that is missing, a folder, or more than 1 MiB; nothing is stored."""
    (queue.work / "large").write_bytes(b"x" * ((1 << 20) + 1))
    (queue.work / "full").write_bytes(b"x" * (1 << 20))

    assert queue.fails(2, "enqueue", "--input", "missing", "cat") == (
        "queuectl enqueue: --input: cannot read missing: No such file or directory"
    )
    assert queue.fails(2, "enqueue", "--input", ".", "cat") == (
        "queuectl enqueue: --input: cannot read .: Is a directory"
    )
    assert queue.fails(2, "enqueue", "--input", "large", "cat") == (
        "queuectl enqueue: --input is longer than 1 MiB (let the job read a file: make < FILE)"
    )
    assert not queue.database.exists()
    assert queue.show(queue.enqueue("cat", "--input", "full"))["input_bytes"] == 1 << 20


@pytest.mark.parametrize("words", [["enqueue", "-"], ["enqueue", "cat", "::::", "-"],
                                   ["run", "-"], ["run", "cat", "::::", "-"]])  # fmt: skip
def test_stdin_cannot_be_read_twice(queue: Queue, words: list[str]) -> None:
    """It would be empty the second time."""
    said = queue.fails(2, words[0], "--input", "-", *words[1:], stdin="true\n")

    assert said.startswith(
        f"queuectl {words[0]}: stdin is read for the jobs already (--input needs a file)"
    )


def test_jobs_of_one_call_share_it(queue: Queue) -> None:
    """1 MiB for 300 jobs is stored once."""
    (queue.work / "data").write_bytes(b"x" * (1 << 20))
    queue.ok("enqueue", "--input", "data", "cat", ":::", *map(str, range(300)))

    size = sum(path.stat().st_size for path in Path(queue.folder).glob("queue.db*") if
               path.is_file())  # fmt: skip
    assert [job.input_bytes for job in queue.jobs()] == [1 << 20] * 300
    assert size < 8 << 20


def test_it_can_be_changed(queue: Queue) -> None:
    """'' takes it away."""
    job = queue.enqueue("cat", "--input", "-", stdin="old")
    queue.ok("edit", job, "--input", "-", stdin="new")
    assert _stored(queue, job) == b"new"

    queue.ok("edit", job, "--input", "")
    assert _stored(queue, job) is None


def test_each_attempt_gets_it_anew(queue: Queue) -> None:
    """From its begin, whatever the attempt before has read; more than a pipe holds."""
    queue.configure(backoff_base="1", backoff_max="0")
    (queue.work / "data").write_bytes(b"x" * (1 << 20))
    job = queue.enqueue(
        "head -c 5; head -c 10 >&2; cat | wc -c; [ $QUEUECTL_ATTEMPT = 2 ]", "--input", "data"
    )
    queue.drain(workers=1)

    assert queue.outcomes(job) == ["exit", "ok"]
    for number in "12":
        printed = queue.run("logs", "--attempt", number, job).out
        assert printed.split() == ["xxxxx" + "x" * 10 + str((1 << 20) - 15)]


def test_run_gives_it_to_each_job(queue: Queue) -> None:
    """And to each job anew."""
    done = queue.run(
        "run", "--input", "-", "--output", "always", "--keep-order",
        "cat; echo {}", ":::", "a", "b",
        stdin="data\n",
    )  # fmt: skip

    assert (done.code, done.out) == (0, "data\na\ndata\nb\n")


def test_a_missing_content_fails_the_attempt(queue: Queue) -> None:
    """Another program has deleted it. The worker goes on."""
    job = queue.enqueue("cat", "--input", "-", "--max-retries", "1", stdin="data")
    other = queue.enqueue("true")
    with queue.storage._transaction() as conn:
        conn.execute("DELETE FROM contents WHERE typeof(content) = 'blob'")
    queue.drain(workers=1)

    assert (queue.outcomes(job), queue.outcomes(other)) == (["spawn-error"], ["ok"])
    assert queue.get(job).last_error == "its input is missing in the queue"
