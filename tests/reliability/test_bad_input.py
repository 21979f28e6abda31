"""Any input is accepted, or refused with one line and the right exit code, no traceback."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.calls import Called
from support.queue import Queue
from support.tracing import LONG, sample
from support.wrong_calls import WRONG_ENQUEUES, WRONG_USAGE

_NUL, _LONE = "a\0b", "\ud800"
_NOT_TEXT: list[Any] = [5, 1.5, True, [], {}, ["a"], {"a": "b"}, _NUL, _LONE]
_NOT_NUMBER: list[Any] = [True, False, [], {}, [1], "", " ", "x", "1e", "0x10", "1,5", "--1"]
_WRONG: list[tuple[str, list[Any]]] = [
    ("command", [*_NOT_TEXT, "", " ", "\n\t", "x" * 130_001]),
    ("id", [*_NOT_TEXT, "", " ", "a b", "a,b", "a/b", "-a", "{a", "@a", "a\nb", "x" * 129,
            "é" * 65]),
    ("queue", [*_NOT_TEXT, "", "a b", "a,b", "a\nb", "x" * 129]),
    ("priority", [*_NOT_NUMBER, 1.5, "high", 10**30, -(10**30), "9" * 5000]),
    ("max_retries", [*_NOT_NUMBER, -1, 1.5, 10**30, "-1"]),
    ("timeout", [*_NOT_NUMBER, -1, "-1", 10**400, "1y", "1h-1m", "nan", "inf"]),
    ("delay", [*_NOT_NUMBER, -1, "-5m", "1y", "nan", "inf", 10**400]),
    ("run_at", [True, [], {}, "", "soon", "25:00", "2026-13-01", "2026-02-30", "2026-12-24T25:00",
                _NUL, "10000-01-01", "2026-12-24T18:00+99:00"]),
    ("cwd", [*_NOT_TEXT, "", "/none/of/it", "/dev/null", "x" * 5000]),
    ("env", [5, True, "A", ["A"], {"": "x"}, {"A=B": "x"}, {"A": 5}, {"A": None}, {"A": [1]},
             {"A": _NUL}, {"A": _LONE}, {"QUEUECTL_DB": "x"}, {"1A": "x"}, {"A B": "x"},
             {"A": "x" * 130_001}]),
    ("unique_key", [*_NOT_TEXT, "", "a\nb"]),
    ("label", [5, True, [], {}, _NUL, _LONE]),
    ("if_dup", [5, True, [], {}, "", "never", "SKIP"]),
    ("after", [5, True, {}, [5], [None], "", [""], ["a b"]]),
    ("after_any", [5, True, {}, [5], [[]], ""]),
    *((name, [1, "x"]) for name in ("state", "attempts", "created_at", "updated_at", "locked_by",
                                    "exit_code", "finished_at", "seq")),
    ("no_such_field", [1, "x"]),
    ("Command", ["true"]),
]  # fmt: skip
_FIELDS = [(name, value) for name, values in _WRONG for value in values]
_TEXTS = [
    b"{", b"{}", b"{]", b'{"command"}', b'{"command":}', b'{"command": "a",}', b"{'command': 'a'}",
    b'{"command": "a"} x', b'{"command": "a"}{"command": "b"}', b'{"command": "a", "command": "b"}',
    b'{"command": NaN}', b'{"command": "a", "timeout": NaN}', b'{"command": "a", "timeout": 1e999}',
    b'{"command": "a", "priority": Infinity}', b'{"command": "a", "priority": -Infinity}',
    b'{"command": "a\nb"}', b'{"command": "\\x"}', b'{"command": "\xff"}', b"[]", b"[1]", b"null",
    b"true", b"5", b'"a"', b"\xff\xfe{\x00}\x00", b'{"command": ' + b"[" * 10_000,
    b'{"command": "a", "priority": ' + b"9" * 10_000 + b"}", b'{"a":' * 10_000, b"\0", b"{\0}",
    b'{"command": "a" /* no */}', b'{command: "a"}', b'{"command": "a"; "id": "b"}',
]  # fmt: skip
_FEW = settings(
    max_examples=2000 if LONG else 12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _assert_one_line(called: Called, codes: tuple[int, ...]) -> None:
    assert "Traceback" not in called.err
    assert called.code in codes, called
    assert called.out == ""
    assert len(called.err.splitlines()) == 1, called.err
    assert called.err.startswith("queuectl enqueue: ")


def test_there_are_at_least_400_bad_inputs() -> None:
    """The tables of wrong usage are counted too: the suite always tries all of them."""
    assert len(_FIELDS) + len(_TEXTS) + len(WRONG_ENQUEUES) + len(WRONG_USAGE) >= 400


@pytest.mark.parametrize(("field", "values"), _WRONG)
def test_a_bad_value_of_a_field_is_refused(queue: Queue, field: str, values: list[Any]) -> None:
    """It gets one line and exit 2, alone and as one line of many, and no queue is created."""
    for number, value in enumerate(sample(values, 4)):
        text = json.dumps({"command": "true", field: value}).encode()
        if LONG or number:
            _assert_one_line(queue.run("enqueue", "-", stdin=b'{"command": "true"}\n' + text), (2,))
        if (LONG or not number) and len(text) < 100_000:
            _assert_one_line(queue.run("enqueue", text), (2,))
        assert not queue.database.exists(), (field, value)


@pytest.mark.parametrize("text", sample(_TEXTS, 10), ids=lambda text: repr(text[:40]))
def test_a_bad_text_is_refused(queue: Queue, text: bytes) -> None:
    """A bad line of stdin gets one error with its number and exit 2, and no queue is created."""
    called = queue.run("enqueue", "-", stdin=b'{"command": "true"}\n' + text)
    _assert_one_line(called, (2,))
    assert "line 2" in called.err
    assert not queue.database.exists()


_text = st.text(max_size=5)
_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
_names = st.sampled_from([name for name, _ in _WRONG]) | st.text(max_size=8)
_words = st.text(
    st.characters(min_codepoint=1, blacklist_categories=("Cs",)), max_size=12
) | st.sampled_from(
    "--id --queue --priority --max-retries --timeout --delay --at --cwd --env --label --unique "
    "--if-dup --after --output --lines - -- -q -1 { {} 1h 18:00 A=B * default true".split()
)


def _assert_accepted_or_refused(called: Called) -> None:
    assert "Traceback" not in called.err, called.err
    assert called.code in (0, 1, 2), called
    if called.code:
        assert called.out == ""
        # Without any words the help is printed.
        assert len(called.err.splitlines()) == 1 or called.err.startswith("Usage: "), called.err


@_FEW
@given(lines=st.lists(st.dictionaries(_names, _anything, max_size=4), min_size=1, max_size=3))
def test_any_json_is_accepted_or_refused(queue: Queue, lines: list[Any]) -> None:
    """The input is any JSON objects on stdin."""
    text = "\n".join(json.dumps(line) for line in lines).encode()
    _assert_accepted_or_refused(queue.run("enqueue", "-", stdin=text))


@_FEW
@given(text=st.binary(max_size=60))
def test_any_bytes_are_accepted_or_refused(queue: Queue, text: bytes) -> None:
    """The input is any bytes on stdin, read as JSON Lines or as commands."""
    _assert_accepted_or_refused(queue.run("enqueue", "-", stdin=text))
    _assert_accepted_or_refused(queue.run("enqueue", "--lines", "-", stdin=text))


@_FEW
@given(words=st.lists(_words, max_size=5))
def test_any_arguments_are_accepted_or_refused(queue: Queue, words: list[str]) -> None:
    """The arguments of `enqueue` are any words, except `--wait`, which would wait."""
    _assert_accepted_or_refused(queue.run("enqueue", *words))


@_FEW
@given(
    command=st.sampled_from(
        ["show", "logs", "why", "cancel", "retry", "edit", "list", "status", "prune", "config get",
         "config set", "dlq retry", "dlq purge", "queue pause", "queue limit", "import", "export",
         "worker stop", "wait --timeout 0"]
    ),
    words=st.lists(_words, max_size=3),
)  # fmt: skip
def test_any_arguments_of_any_command_are_accepted_or_refused(
    queue: Queue, command: str, words: list[str]
) -> None:
    """The arguments are any words, and the queue has a job."""
    if not queue.database.exists():
        assert queue.run("enqueue", "--id", "default", "true").code == 0
    called = queue.run(*command.split(), *words)
    assert "Traceback" not in called.err, called.err
    # 143: `wait` for a job that an earlier example has cancelled.
    assert called.code in (0, 1, 2, 124, 125, 143), called
