"""The reference topics say what the code does."""

from __future__ import annotations

import inspect
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Iterator

import pytest

import queuectl
from queuectl.cli import waiting
from queuectl.cli.commands import check
from queuectl.core import diagnosis, explanation, jobfile
from queuectl.core.errors import QueueError
from queuectl.core.estimates import Hold
from queuectl.core.models import SPAWN_FAILED, OutcomeKind
from queuectl.core.settings import KEYS
from queuectl.core.specs import JSON_FIELDS
from queuectl.core.states import FINISHED_STATES, JobState
from queuectl.core.times import parse_duration, parse_instant
from queuectl.core.values import JOB_WORDS, check_name
from queuectl.host.files import DEFAULT_DATABASE, QueueFiles
from support.json_page import keys
from support.pages import TOPICS, code, rows

_SOURCES = sorted(Path(queuectl.__file__).parent.rglob("*.py"))


def _terms(topic: str, heading: str = "") -> list[str]:
    """Return the code in the first cells of the tables of a page, or of one section."""
    page = TOPICS[topic]
    text = page.section(heading) if heading else page.text
    return [word for cells in rows(text) for word in code(cells[0])]


def test_states() -> None:
    """These are all states, in the order of the code."""
    assert _terms("states")[: len(JobState)] == [state.value for state in JobState]


def test_finished_states() -> None:
    """The page counts five states as unfinished: the first four and `failed`."""
    others = [state for state in list(JobState)[4:] if state is not JobState.FAILED]

    assert tuple(others) == FINISHED_STATES


def test_ids() -> None:
    """The words for jobs are those of the code, and the examples are what ids look like."""
    words = [word for word in _terms("ids") if word.startswith("@")]
    ids = [word for word in _terms("ids") if word[0] not in "@-"]

    assert set(words) - {"@17"} == set(JOB_WORDS)
    assert [check_name(word, "id") for word in ids] == ids


@pytest.mark.parametrize("text", _terms("times", "Durations"))
def test_durations(text: str) -> None:
    """Each example is a duration."""
    assert parse_duration(text) > 0


@pytest.mark.parametrize("text", _terms("times", "Times"))
def test_times(text: str) -> None:
    """Each example is a time."""
    now = datetime(2026, 11, 28, tzinfo=timezone.utc)

    assert parse_instant(text, now=now) > now


@pytest.mark.parametrize("text", _terms("times", "Sizes"))
def test_sizes(text: str) -> None:
    """Each example is a size."""
    assert KEYS["output-limit"].read(text) >= 65536


def _errors(base: type[QueueError]) -> Iterator[type[QueueError]]:
    yield base
    for error in base.__subclasses__():
        yield from _errors(error)


def test_exit_codes() -> None:
    """All codes of the code are on the page, and no others."""
    found = {int(c) for cells in rows(TOPICS["exit-codes"].text)
             for c in re.findall(r"(?<!\+)\b\d+", cells[0])} - {128}  # fmt: skip
    errors = {error.exit_code for error in _errors(QueueError)}
    of_wait = {
        waiting.TIME_RAN_OUT, waiting.COULD_NOT_WAIT, waiting._CANCELLED, waiting._LOST,
        SPAWN_FAILED,
    }  # fmt: skip
    by_signal = {130, 141, 143}

    assert found == {0, check.UNKNOWN} | errors | of_wait | by_signal


def test_variables_that_are_read() -> None:
    """Every variable that the sources read from the environment is on the page."""
    read = re.compile(r"environ(?:\.get\(|\.pop\(|\.setdefault\(|\[)\"([A-Z_]+)\"")
    pager = re.compile(r"env\.setdefault\(\"([A-Z_]+)\"")
    used = {
        name
        for path in _SOURCES
        for pattern in (read, pager)
        for name in pattern.findall(path.read_text("utf-8"))
    }

    of_setproctitle = {"SPT_NOENV"}
    assert used - of_setproctitle <= {*_terms("environment"), *code(TOPICS["environment"].text)}


_FOR_HOOKS = {"QUEUECTL_PYTHON"}
"""What a worker sets only for the job of a hook."""


def test_variables_of_a_job() -> None:
    """These are the variables that a worker sets."""
    source = (Path(queuectl.__file__).parent / "worker" / "commands.py").read_text("utf-8")
    set_by_workers = set(re.findall(r'"(QUEUECTL_[A-Z_]+)"', source))

    assert set(_terms("environment", "What a job gets")) == {*set_by_workers, "PWD"} - _FOR_HOOKS
    assert set(_terms("environment", "What the job of a hook gets")) >= _FOR_HOOKS


def test_files() -> None:
    """Every file that a queue keeps has the name that the page says."""
    queue = QueueFiles("queue.db")
    kept = {
        queue.wal, queue.shm, queue.write_lock, queue.start_lock, queue.stage_lock,
        queue.batch_lock, queue.web_key,
        queue.detached_log,
        queue.before_upgrade, f"{queue.folder}/", f"{queue.workers}/", f"{queue.logs}/",
    }  # fmt: skip

    assert set(_terms("files")) - {"--db", "QUEUECTL_DB"} == {*kept, DEFAULT_DATABASE}


def test_fields_that_enqueue_reads() -> None:
    """These are all fields of the JSON form, in the order of the messages."""
    assert _terms("json", "What enqueue reads") == list(JSON_FIELDS)


def test_keys_that_export_writes() -> None:
    """They are derived from those of a job, as the page says."""
    of_a_job = set(keys("A job")) - {
        "locked_by", "locked_at", "number", "started_at", "seconds", "output_bytes",
        "input_bytes", "hook", "hook_of", "event_id",
    }  # fmt: skip

    assert set(jobfile.FIELDS) == of_a_job | {
        "after", "after_any", "id_made", "input", "captured",
    }  # fmt: skip


def test_reasons_of_why() -> None:
    """These are all words that `why --json` prints as the reason."""
    source = Path(explanation.__file__).read_text("utf-8")
    reasons = set(re.findall(r'Explanation\(\s*"([a-z-]+)"', source))
    reasons |= set(re.findall(r'Explanation\("([a-z-]+)" if \w+ else "([a-z-]+)"', source)[0])

    assert set(keys("An explanation", "Reason")) == reasons


def test_codes_of_findings() -> None:
    """They are on the page, in the order in which they are found."""
    looks = [inspect.getsource(look) for look in diagnosis.LOOKS]
    code = re.compile(r'(?:critical|warning|Finding)\(\s*"([a-z-]+)"')
    found = [code.findall(source)[:1] for source in looks]
    codes = [codes[0] if codes else "hook-failing" for codes in found]

    assert keys("A finding", "Code") == codes


def test_what_holds_up_a_queue() -> None:
    """The page names all reasons."""
    cells = rows(TOPICS["json"].section("The progress of a queue"))
    [meaning] = [row[1] for row in cells if "held_by" in row[0]]

    assert code(meaning) == [hold.value for hold in Hold]


def test_outcomes() -> None:
    """The page names all outcomes of an attempt."""
    [row] = [cells for cells in rows(TOPICS["json"].section("An attempt")) if "outcome" in cells[0]]

    assert code(row[1]) == [kind.value for kind in OutcomeKind]
