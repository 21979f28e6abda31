"""Enqueueing one job per argument: `enqueue COMMAND ::: ARG...`."""

from __future__ import annotations

import shlex

import pytest

from support.queue import Queue


def _commands(queue: Queue) -> list[str]:
    return [job["command"] for job in queue.json("list", "--json")]


def test_each_argument_makes_one_job(queue: Queue) -> None:
    """The ids are printed in the order of the arguments, and options apply to all jobs."""
    out = queue.ok("enqueue", "--priority", "3", "mv", "{}", "{.}.b", ":::", "x y.a", "it's.a")

    assert queue.ids() == out.split()
    assert _commands(queue) == ["mv 'x y.a' 'x y.b'", """mv 'it'"'"'s.a' 'it'"'"'s.b'"""]
    assert [job["priority"] for job in queue.json("list", "--json")] == [3, 3]


def test_a_text_of_one_word_is_for_the_shell(queue: Queue) -> None:
    """Its redirection is one, and the argument is quoted where it is put."""
    queue.ok("enqueue", "gzip -c {} > {/.}.gz", ":::", "a/b c.txt")

    assert _commands(queue) == ["gzip -c 'a/b c.txt' > 'b c'.gz"]


@pytest.mark.parametrize(
    ("options", "given", "expected"),
    [
        ((), "a\n\nb c\r\n", ["wc a", "wc 'b c\r'"]),
        (("-0",), "a\nb\0\0c\0", ["wc 'a\nb'", "wc ''", "wc c"]),
        (("--null",), "a", ["wc a"]),
    ],
)
def test_arguments_are_read_from_stdin(
    queue: Queue, options: tuple[str, ...], given: str, expected: list[str]
) -> None:
    """There is one per line, or one before each NUL byte."""
    queue.ok("enqueue", *options, "wc", "::::", "-", stdin=given)

    assert _commands(queue) == expected


def test_no_argument_makes_no_job(queue: Queue) -> None:
    """A search that found nothing leaves nothing to do, which is no error."""
    assert queue.ok("enqueue", "wc", "::::", "-", stdin="") == ""
    assert not queue.database.exists()


def test_files_and_words_are_combined(queue: Queue) -> None:
    """The last source varies fastest, and {1} and {2} tell the sources apart."""
    (queue.work / "names").write_text("a\nb\n")
    queue.ok("enqueue", "cp", "{1}", "{2}/{#}", "::::", "names", ":::", "x", "y")

    assert _commands(queue) == ["cp a x/1", "cp a y/2", "cp b x/3", "cp b y/4"]


def test_a_dry_run_prints_the_commands_and_stores_nothing(queue: Queue) -> None:
    """This holds for a template, for lines and for a single job; no queue is created."""
    assert queue.ok("enqueue", "--dry-run", "rm", ":::", "a b", "c\nd") == "rm 'a b'\nrm 'c\\nd'"
    assert queue.ok("enqueue", "--dry-run", "--lines", "-", stdin="a | b\n") == "a | b"
    assert queue.ok("enqueue", "--dry-run", "echo", "a b") == "echo 'a b'"
    assert not queue.database.exists()


def test_after_two_dashes_the_separator_is_a_word(queue: Queue) -> None:
    """So every command can be enqueued."""
    queue.ok("enqueue", "--", "echo", "{}", ":::", "a")

    assert _commands(queue) == ["echo '{}' ::: a"]


def test_without_a_separator_braces_stay_as_they_are(queue: Queue) -> None:
    """find and awk use them."""
    queue.ok("enqueue", "find", ".", "-exec", "wc", "{}", "+")

    assert _commands(queue) == ["find . -exec wc '{}' +"]


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        ("::: a", 2, "no command before ::: (for a command per line, use --lines)"),
        ("--id x echo ::: a", 2,
         "--id cannot be used with -, --file or :::, because it is for one job"),
        ("--wait echo ::: a", 2,
         "--wait cannot be used with -, --file or :::, because it is for one job"),
        ("--lines echo ::: a", 2, "::: cannot be used with --file or --lines"),
        ("-0 echo", 2, "--null requires arguments from a file (::::)"),
        ("echo :::: nowhere", 2, "cannot read nowhere: No such file or directory"),
        ("echo {2} ::: a", 2, "{2} is used, but there is only 1 source of arguments"),
        ("'{\"command\":\"x\"}' ::: a", 2, "::: cannot be used with a JSON object"),
        ("- ::: a", 2, "only options may follow -, not :::"),
        ("'echo x' y ::: a", 2, "options go before the command (or quote the whole command as "
         "one word, or put -- before it)"),
        ("'echo `{}`' ::: a", 2, "{} cannot be used in or after `...` (use $(...)) "
         "(give the command as several words, or put this text into a script)"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(queue: Queue, words: str, code: int, problem: str) -> None:
    """There is one line, and no queue is created."""
    assert queue.fails(code, "enqueue", *shlex.split(words)) == f"queuectl enqueue: {problem}"
    assert not queue.database.exists()


def test_one_bad_argument_is_named_and_nothing_is_stored(queue: Queue) -> None:
    """All jobs are stored, or none."""
    bad = queue.fails(2, "enqueue", "echo", ":::", "a", b"\xff", "c")

    assert bad == "queuectl enqueue: command 2: command is not valid UTF-8"
    assert not queue.database.exists()
