"""Wrong uses of the command line, `enqueue` apart: one line, the exit code, nothing changed."""

from __future__ import annotations

import re

import pytest
from conftest import Queue

from cli.conftest import Call, assert_refused, everything, opened, tree
from queuectl.core.specs import JobSpec
from queuectl.core.times import utcnow

_DURATIONS = "(use seconds, or 500ms 90s 10m 1h30m 2d)"
_KEYS = "(known: max-retries backoff-base backoff-max backoff-jitter job-timeout …"
_NAMES = "must be printable, without white space, comma or slash"

# The call, the command that the line names, and what it says; … stands for the rest.
WRONG: list[tuple[str, str, str]] = [
    # Commands and options
    ("statu", "queuectl", "no such command: statu (did you mean status?)"),
    ("enqeue true", "queuectl", "no such command: enqeue (did you mean enqueue?)"),
    ("frobnicate", "queuectl", "no such command: frobnicate (known: enqueue worker …"),
    ("help", "queuectl", "no such command: help (known: enqueue worker …"),
    ("worker strat", "queuectl worker", "no such command: strat (did you mean start?)"),
    ("worker frobnicate", "queuectl worker", "no such command: frobnicate (known: …"),
    ("dlq lst", "queuectl dlq", "no such command: lst (did you mean list?)"),
    ("config gte", "queuectl config", "no such command: gte (did you mean get?)"),
    ("--bogus", "queuectl", "no such option…"),
    ("-x", "queuectl", "no such option…"),
    ("--db", "queuectl", "option '--db' requires an argument"),
    ("status --bogus", "queuectl status", "no such option…"),
    ("status --db", "queuectl status", "option '--db' requires an argument"),
    ("worker --bogus", "queuectl worker", "no such option…"),
    ("worker start --bogus", "queuectl worker start", "no such option…"),
    ("dlq retry --bogus", "queuectl dlq retry", "no such option…"),
    ("dlq retry --queue", "queuectl dlq retry", "option '--queue' requires an argument"),
    ("config list --bogus", "queuectl config list", "no such option…"),
    # Arguments too many or too few
    ("status extra", "queuectl status", "got unexpected extra argument (extra)"),
    ("list extra", "queuectl list", "got unexpected extra argument (extra)"),
    ("show a b", "queuectl show", "got unexpected extra argument (b)"),
    ("logs a b", "queuectl logs", "got unexpected extra argument (b)"),
    ("dlq list extra", "queuectl dlq list", "got unexpected extra argument (extra)"),
    ("worker start extra", "queuectl worker start", "got unexpected extra argument (extra)"),
    ("worker list extra", "queuectl worker list", "got unexpected extra argument (extra)"),
    ("config list extra", "queuectl config list", "got unexpected extra argument (extra)"),
    ("config get", "queuectl config get", "missing argument 'KEY'"),
    ("config set", "queuectl config set", "missing argument 'KEY'"),
    ("config set max-retries", "queuectl config set", "missing argument 'VALUE'"),
    ("config set max-retries 1 2", "queuectl config set", "got unexpected extra argument (2)"),
    ("config unset", "queuectl config unset", "missing argument 'KEY'"),
    ("completion", "queuectl completion", "missing argument '{bash|zsh|fish}'. Choose from: b…"),
    ("completion bash x", "queuectl completion", "got unexpected extra argument (x)"),
    ("show", "queuectl show", "which job? (give its id)"),
    ("logs", "queuectl logs", "which job? (give its id)"),
    # Values
    ("list --state faild", "queuectl list", "no such state: faild (did you mean failed?)"),
    ("list --state bogus", "queuectl list", "no such state: bogus (known: blocked scheduled …"),
    ("list --state failed,", "queuectl list", "no such state:  (known: blocked scheduled …"),
    ("list -n 0", "queuectl list", "invalid value for '-n': 0 is not in the range x>=1"),
    ("list -n x", "queuectl list", "invalid value for '-n': 'x' is not a valid integer range"),
    ("list --queue a/b", "queuectl list", f"--queue {_NAMES}"),
    ("list --ids --json", "queuectl list", "--ids and --json exclude each other"),
    ("dlq list --ids --json", "queuectl dlq list", "--ids and --json exclude each other"),
    ("logs a -n -1", "queuectl logs", "invalid value for '-n' / '--tail': -1 is not in the r…"),
    ("logs a --attempt 0", "queuectl logs", "invalid value for '--attempt': 0 is not in the …"),
    ("worker start -c 0", "queuectl worker start", "invalid value for '-c' / '--count': 0 is …"),
    ("worker start -c 1001", "queuectl worker start", "invalid value for '-c' / '--count': 10…"),
    ("worker start -c many", "queuectl worker start", "invalid value for '-c' / '--count': 'm…"),
    ("worker start --queue a/b", "queuectl worker start", f"--queue {_NAMES}"),
    ("worker start --max-jobs 0", "queuectl worker start", "invalid value for '--max-jobs': 0…"),
    (
        "worker start --max-runtime x",
        "queuectl worker start",
        f"not a duration: 'x' {_DURATIONS}",
    ),
    ("worker stop --timeout x", "queuectl worker stop", f"not a duration: 'x' {_DURATIONS}"),
    ("worker stop --queue a/b", "queuectl worker stop", f"--queue {_NAMES}"),
    ("dlq purge --all", "queuectl dlq purge", "this deletes all dead jobs: confirm with --yes"),
    ("completion tcsh", "queuectl completion", "invalid value for '{bash|zsh|fish}': 'tcsh' i…"),
    # Keys
    ("config set bogus 1", "queuectl config set", f"unknown key 'bogus' {_KEYS}"),
    (
        "config set max-retries x",
        "queuectl config set",
        "max-retries: not a whole number from 0 to 1000000: 'x'",
    ),
    (
        "config set max-retries -1",
        "queuectl config set",
        "max-retries: not a whole number from 0 to 1000000: '-1'",
    ),
    (
        "config set backoff-base 0",
        "queuectl config set",
        "backoff-base: not a number from 1 to 1000: '0'",
    ),
    (
        "config set backoff-base nan",
        "queuectl config set",
        "backoff-base: not a number from 1 to 1000: 'nan'",
    ),
    (
        "config set backoff-jitter 2",
        "queuectl config set",
        "backoff-jitter: not a number from 0 to 1: '2'",
    ),
    (
        "config set backoff-max soon",
        "queuectl config set",
        f"backoff-max: not a duration: 'soon' {_DURATIONS}",
    ),
    (
        "config set job-timeout -5",
        "queuectl config set",
        f"job-timeout: not a duration: '-5' {_DURATIONS}",
    ),
    (
        "config set kill-grace x",
        "queuectl config set",
        f"kill-grace: not a duration: 'x' {_DURATIONS}",
    ),
    (
        "config set output-limit 1",
        "queuectl config set",
        "output-limit: a size is 1 KiB to 1 TiB, not '1'",
    ),
    (
        "config set output-limit big",
        "queuectl config set",
        "output-limit: not a size: 'big' (use bytes, or 64KiB 10MiB 1GiB)",
    ),
    (
        "config set leftovers maybe",
        "queuectl config set",
        "leftovers: not one of keep, kill: 'maybe'",
    ),
    (
        "config set capture-env A-B",
        "queuectl config set",
        "capture-env: not names of variables, nor *: 'A-B'",
    ),
]

# What is refused once the queue has been looked at, and the exit code.
REFUSED: list[tuple[str, str, str, int]] = [
    ("dlq retry", "queuectl dlq retry", "which jobs? (give their ids, --queue, or --all)", 2),
    ("dlq purge", "queuectl dlq purge", "which jobs? (give their ids, --queue, or --all)", 2),
    ("dlq retry a --all", "queuectl dlq retry", "name jobs or select them, not both", 2),
    ("dlq retry a --queue b", "queuectl dlq retry", "name jobs or select them, not both", 2),
    ("dlq retry - a", "queuectl dlq retry", "- stands alone: the ids come from stdin", 2),
    ("config get bogus", "queuectl config get", f"unknown key 'bogus' {_KEYS}", 2),
    ("config unset bogus", "queuectl config unset", f"unknown key 'bogus' {_KEYS}", 2),
    ("show nobody", "queuectl show", "no such job: nobody", 1),
    ("show here-", "queuectl show", "no such job: here-", 1),
    ("logs nobody", "queuectl logs", "no such job: nobody", 1),
    ("logs here --attempt 7", "queuectl logs", "here has no attempt 7", 1),
    ("dlq retry nobody", "queuectl dlq retry", "no such job: nobody", 1),
    ("dlq retry here", "queuectl dlq retry", "here is pending, not dead", 1),
    ("dlq purge nobody", "queuectl dlq purge", "no such job: nobody", 1),
    ("dlq purge here", "queuectl dlq purge", "here is pending, not dead", 1),
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


@pytest.mark.parametrize(("words", "command", "expected"), WRONG)
def test_wrong_usage_touches_nothing(
    queue: Queue, call: Call, words: str, command: str, expected: str
) -> None:
    """Wrong usage ends with 2 and one line, and never looks at the disk: no queue is there."""
    before = tree(queue.folder)

    assert_refused(call(*words.split()), command, expected)
    assert tree(queue.folder) == before


def test_wrong_usage_changes_nothing(queue: Queue, call: Call) -> None:
    """What a queue holds is untouched by calls that are wrong."""
    queue.enqueue("true", "--id", "here")
    queue.ok("config", "set", "max-retries", "7")
    before = everything(queue)

    codes = {call(*words.split()).code for words, _, _ in WRONG}

    assert codes == {2}
    assert everything(queue) == before


def test_what_the_queue_refuses_changes_nothing(queue: Queue, call: Call) -> None:
    """What the queue cannot do ends with its code and one line, and changes nothing."""
    queue.enqueue("true", "--id", "here")
    before = everything(queue)

    for words, command, expected, code in REFUSED:
        assert_refused(call(*words.split()), command, expected, code)
    assert everything(queue) == before


@pytest.mark.parametrize("words", ["", "worker", "dlq", "config"])
def test_a_bare_group_answers_with_its_help(queue: Queue, words: str) -> None:
    """Without a subcommand the help goes to stderr and the exit code is 2, on every click."""
    done = queue.run(*words.split())

    name = f"queuectl {words}".strip()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Usage: {name} [OPTIONS] COMMAND [ARGS]...\n")
    assert done.stderr == queue.run(*words.split(), "--help").stdout


@pytest.mark.parametrize(
    "word",
    [
        *["add", "submit", "push", "run", "start", "stop", "workers", "clean", "restart"],
        *["ps", "ls", "jobs", "follow", "tail", "log", "info", "stats", "kill", "rm", "remove"],
    ],
)
def test_a_foreign_word_names_ours(queue: Queue, call: Call, word: str) -> None:
    """What another tool calls its command leads to the command that is meant here."""
    called = call(word)

    found = re.fullmatch(
        rf"queuectl: no such command: {word} \(here it is: queuectl ([a-z -]+)\)\n", called.err
    )
    assert (called.code, called.out) == (2, "")
    assert found
    assert call(*found.group(1).split(), "--help").code == 0


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("statu", "queuectl: no such command: statu (did you mean status?)"),
        ("status extra", "queuectl status: got unexpected extra argument (extra)"),
        ("show", "queuectl show: which job? (give its id)"),
        ("dlq retry --queue", "queuectl dlq retry: option '--queue' requires an argument"),
    ],
)
def test_a_process_refuses_likewise(queue: Queue, words: str, line: str) -> None:
    """The installed command ends with 2, one line on stderr and nothing on stdout."""
    queue.enqueue("true")

    assert queue.fails(2, *words.split()) == line


def test_an_abbreviation_of_several_ids_names_them(queue: Queue, call: Call) -> None:
    """When several made ids begin so, the line names up to five of them, and nothing is done."""
    with opened(queue) as storage:
        enqueued = storage.enqueue([JobSpec(command="true")] * 2000, now=utcnow())
    made = [job.id for job in enqueued]
    starts = [job[:4] for job in made]
    start = next(start for start in starts if starts.count(start) > 1)
    both = sorted(job for job in made if job.startswith(start))

    assert_refused(
        call("show", start),
        "queuectl show",
        f"{start} could be {', '.join(both)} (give more digits)",
        code=1,
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("show Nobody.", "queuectl show: no such job: Nobody."),
        ("dlq retry Nightly", "queuectl dlq retry: Nightly is pending, not dead"),
        ("enqueue {} End.", "queuectl enqueue: nothing may follow a JSON object but options: End."),
        ("export Taken", "queuectl export: Taken exists already"),
    ],
)
def test_a_name_is_said_as_it_is(queue: Queue, words: str, line: str) -> None:
    """Regression: click's own errors are made lower-case, and so were ids and paths in ours."""
    queue.enqueue("true", "--id", "Nightly")
    (queue.work / "Taken").touch()

    assert queue.run(*words.split()).stderr == f"{line}\n"
