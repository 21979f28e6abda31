"""Wrong uses of all commands but `enqueue`: one line, the exit code, nothing changed."""

from __future__ import annotations

import re

import pytest

from queuectl.cli.hints import FOREIGN_COMMANDS
from queuectl.core.specs import JobSpec
from queuectl.core.times import utcnow
from support.calls import assert_refused
from support.queue import Queue
from support.states import every_state, everything, tree
from support.wrong_calls import WRONG_USAGE

_KEYS = "(known: max-retries backoff-base backoff-max backoff-jitter job-timeout …"


# Calls that fail after the queue was read: the command, the message and the exit code.
REFUSED: list[tuple[str, str, str, int]] = [
    (
        "dlq retry",
        "queuectl dlq retry",
        "no jobs given (give their ids, --queue, --state or --all)",
        2,
    ),
    (
        "dlq purge",
        "queuectl dlq purge",
        "no jobs given (give their ids, --queue, --state or --all)",
        2,
    ),
    (
        "dlq retry a --all",
        "queuectl dlq retry",
        "job ids and --queue, --state or --all cannot be used together",
        2,
    ),
    (
        "dlq retry a --queue b",
        "queuectl dlq retry",
        "job ids and --queue, --state or --all cannot be used together",
        2,
    ),
    (
        "dlq retry - a",
        "queuectl dlq retry",
        "- cannot be used with other ids: it reads them from stdin",
        2,
    ),
    ("config get bogus", "queuectl config get", f"unknown key 'bogus' {_KEYS}", 2),
    ("config unset bogus", "queuectl config unset", f"unknown key 'bogus' {_KEYS}", 2),
    ("show nobody", "queuectl show", "no such job: nobody", 1),
    ("show here-", "queuectl show", "no such job: here-", 1),
    ("logs nobody", "queuectl logs", "no such job: nobody", 1),
    ("logs here --attempt 7", "queuectl logs", "here has no attempt 7", 1),
    ("dlq retry nobody", "queuectl dlq retry", "no such job: nobody", 1),
    ("dlq retry here", "queuectl dlq retry", "cannot retry here: it is pending, not dead", 1),
    ("dlq purge nobody", "queuectl dlq purge", "no such job: nobody", 1),
    ("dlq purge here", "queuectl dlq purge", "cannot delete here: it is pending, not dead", 1),
    (
        "worker stop nobody",
        "queuectl worker stop",
        "no such worker is running: nobody (queuectl worker list)",
        1,
    ),
    (
        "enqueue --id here true",
        "queuectl enqueue",
        "a job here exists already and is pending (for one at a time use --unique)",
        1,
    ),
]


@pytest.mark.parametrize(("words", "command", "expected"), WRONG_USAGE)
def test_wrong_usage_creates_no_queue(
    queue: Queue, words: str, command: str, expected: str
) -> None:
    """The exit code is 2 and the message one line, found without a queue."""
    before = tree(queue.folder)

    assert_refused(queue.run(*words.split()), command, expected)
    assert tree(queue.folder) == before


def test_wrong_usage_changes_no_queue(queue: Queue) -> None:
    """Wrong calls do not change an existing queue."""
    queue.enqueue("true", "--id", "here")
    queue.ok("config", "set", "max-retries", "7")
    before = everything(queue)

    codes = {queue.run(*words.split()).code for words, _, _ in WRONG_USAGE}

    assert codes == {2}
    assert everything(queue) == before


def test_refused_calls_change_nothing(queue: Queue) -> None:
    """Each has its exit code and one line, and the queue does not change."""
    queue.enqueue("true", "--id", "here")
    before = everything(queue)

    for words, command, expected, code in REFUSED:
        assert_refused(queue.run(*words.split()), command, expected, code)
    assert everything(queue) == before


@pytest.mark.parametrize("words", ["", "worker", "dlq", "config"])
def test_a_group_without_a_command_prints_its_help(queue: Queue, words: str) -> None:
    """The help goes to stderr and the exit code is 2, on every version of click."""
    done = queue.run(*words.split())

    name = f"queuectl {words}".strip()
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"Usage: {name} [OPTIONS] COMMAND [ARGS]...\n")
    assert done.err == queue.run(*words.split(), "--help").out


@pytest.mark.parametrize(
    ("group", "word"),
    [(group, word) for group, words in FOREIGN_COMMANDS.items() for word in words],
)
def test_a_word_of_another_tool_suggests_our_command(queue: Queue, group: str, word: str) -> None:
    """The command and the option that the message names exist."""
    called = queue.run(*([] if group == "queuectl" else [group]), word)

    path = "queuectl" if group == "queuectl" else f"queuectl {group}"
    found = re.fullmatch(
        rf"{path}: no such command: {word} \(use: queuectl ([a-z ,&-]+)\)\n", called.err
    )
    assert (called.code, called.out) == (2, "")
    assert found
    for command in found.group(1).split(" && queuectl "):
        names = [name for name in command.split() if name.islower() and "-" not in name]
        options = [name for name in command.split() if name.startswith("--")]
        text = queue.ok(*(names[: 2 if names[0] in FOREIGN_COMMANDS else 1]), "--help")
        assert all(option in text for option in options)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("restart", "queuectl: no such command: restart (use: queuectl retry)"),
        ("stash", "queuectl: no such command: stash (use: queuectl edit --delay)"),
        ("switch", "queuectl: no such command: switch (use: queuectl edit --priority)"),
        ("parallel 4", "queuectl: no such command: parallel (use: queuectl worker scale)"),
        ("group add x", "queuectl: no such command: group (use: queuectl queue list)"),
        ("follow", "queuectl: no such command: follow (use: queuectl logs --follow)"),
        ("send 3 y", "queuectl: no such command: send (a job gets no input while it runs)"),
        (
            "worker restart",
            "queuectl worker: no such command: restart (use: queuectl worker stop && queuectl "
            "worker start)",
        ),
        (
            "worker logs",
            "queuectl worker: no such command: logs (workers of --detach log to workers.log in the "
            "folder queue.db.d)",
        ),
        (
            "queue add x",
            "queuectl queue: no such command: add (its first job makes a queue: queuectl enqueue "
            "--queue NAME)",
        ),
        (
            "config max-retries 4",
            "queuectl config: no such command: max-retries (use: queuectl config get max-retries, "
            "or queuectl config set max-retries VALUE)",
        ),
        (
            "queue rename a b",
            "queuectl queue: no such command: rename (queuectl edit --queue NAME JOB puts a job "
            "elsewhere)",
        ),
        ("status --label x", "queuectl status: no such option: --label (queuectl status --help …"),
        ("worker start --jobs 4", "queuectl worker start: no such option: --jobs (did you mean …"),
        ("enqueue --every 10m x", "queuectl enqueue: no such option: --every (use: queuectl sch…"),
        ("enqueue --webhook x", "queuectl enqueue: no such option: --webhook (use: queuectl ho…"),
        ("schedule add --zone x", "queuectl schedule add: no such option: --zone (did you mean …"),
        ("search x", "queuectl: no such command: search (use: queuectl list --find)"),
        ("enqueue --retries 4 x", "queuectl enqueue: no such option: --retries (did you mean …"),
        ("enqueue --max_retries 4 x", "queuectl enqueue: no such option: --max_retries (did …"),
        ("enqueue -j 4 x", "queuectl enqueue: no such option: -j (queuectl enqueue --help lists …"),
        ("run -k echo", "queuectl run: no such option: -k (did you mean --keep-order?)"),
        ("queue pause --all", "queuectl queue pause: no such option: --all (use: queuectl queue …"),
        (
            "schedule pause --all",
            "queuectl schedule pause: no such option: --all (queuectl schedule pause --help lists "
            "them)",
        ),
        (
            "hook resume --all",
            "queuectl hook resume: no such option: --all (queuectl hook resume --help lists them)",
        ),
        ("schedule run -P s", "queuectl schedule run: no such option: -P (queuectl schedule run …"),
        ("worker stop --all", "queuectl worker stop: no such option: --all (use: queuectl work…"),
        ("web --port 80", "queuectl web: no such option: --port (did you mean --listen?)"),
        ("run -P 4 echo", "queuectl run: no such option: -P (use: --jobs)"),
        ("run -a x echo", "queuectl run: no such option: -a (use: :::: FILE, after the command)"),
        ("urgent @3", "queuectl: no such command: urgent (use: queuectl edit --priority)"),
        ("list --stat dead", "queuectl list: no such option: --stat (did you mean --state?)"),
        ("cancel -j 3", "queuectl cancel: no such option: -j (queuectl cancel --help lists them)"),
    ],
)
def test_what_is_not_there_has_a_sensible_hint(queue: Queue, words: str, line: str) -> None:
    """Words and options of other tools, and misspelt ones."""
    found = queue.fails(2, *words.split())

    assert found.startswith(line[:-1]) if line.endswith("…") else found == line


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("running", "processing"),
        ("queued", "pending"),
        ("done", "completed"),
        ("success", "completed"),
        ("canceled", "cancelled"),
        ("Dead", "dead"),
        ("waiting", "blocked,scheduled,pending,failed"),
        ("finished", "completed,dead,cancelled"),
        ("running, queued", "processing,pending"),
    ],
)
def test_states_may_be_called_as_people_call_them(queue: Queue, given: str, meant: str) -> None:
    """The same jobs are found."""
    every_state(queue)

    found = queue.ok("list", "--ids", "--state", given)

    assert found == queue.ok("list", "--ids", "--state", meant)
    assert found


def test_a_key_may_be_written_as_in_json(queue: Queue) -> None:
    """`max_retries` is max-retries, for all three commands; a misspelt key has a hint."""
    assert queue.ok("config", "set", "max_retries", "7") == "max-retries = 7"
    assert queue.ok("config", "get", "MAX_RETRIES") == "7"
    assert queue.ok("config", "unset", "max_retries") == "max-retries = 3 (default)"
    assert queue.fails(2, "config", "set", "max-retry", "7") == (
        "queuectl config set: unknown key 'max-retry' (did you mean max-retries?)"
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("statu", "queuectl: no such command: statu (did you mean status?)"),
        ("status extra", "queuectl status: got unexpected extra argument (extra)"),
        (
            "worker start 4",
            "queuectl worker start: got unexpected extra argument (4) (did you mean --count 4?)",
        ),
        (
            "list dead",
            "queuectl list: got unexpected extra argument (dead) (did you mean --state dead?)",
        ),
        (
            "list @3",
            "queuectl list: got unexpected extra argument (@3) (use: queuectl show @3)",
        ),
        ("list @;ls", "queuectl list: got unexpected extra argument (@;ls)"),
        ("show", "queuectl show: no job given (give its id)"),
        ("dlq retry --queue", "queuectl dlq retry: option '--queue' requires an argument"),
    ],
)
def test_the_installed_command_refuses_in_the_same_way(queue: Queue, words: str, line: str) -> None:
    """The exit code is 2, with one line on stderr and nothing on stdout."""
    queue.enqueue("true")

    assert queue.fails(2, *words.split()) == line


def test_an_ambiguous_id_names_the_jobs(queue: Queue) -> None:
    """The line names up to five ids that begin with it, and nothing is done."""
    with queue.opened() as storage:
        enqueued = storage.enqueue([JobSpec(command="true")] * 2000, now=utcnow())
    made = [job.id for job in enqueued]
    starts = [job[:4] for job in made]
    start = next(start for start in starts if starts.count(start) > 1)
    both = sorted(job for job in made if job.startswith(start))

    assert_refused(
        queue.run("show", start),
        "queuectl show",
        f"{start} could be {', '.join(both)} (give more digits)",
        code=1,
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("show Nobody.", "queuectl show: no such job: Nobody."),
        ("dlq retry Nightly", "queuectl dlq retry: cannot retry Nightly: it is pending, not dead"),
        ("enqueue {} End.", "queuectl enqueue: only options may follow a JSON object, not End."),
        ("export Taken", "queuectl export: Taken exists already"),
    ],
)
def test_names_in_messages_keep_their_case(queue: Queue, words: str, line: str) -> None:
    """Regression: errors of click are made lower-case, and so were ids and paths in ours."""
    queue.enqueue("true", "--id", "Nightly")
    (queue.work / "Taken").touch()

    assert queue.run(*words.split()).err == f"{line}\n"
