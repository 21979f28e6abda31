"""The text that Prometheus reads: names, types, labels and values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client", reason="needs the extra metrics")

from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from queuectl.metrics import exposition
from queuectl.metrics.exposition import OWN_LABELS
from support.figures import FULL, figures, queue_figures
from support.screens import compare

TOPIC = Path(exposition.__file__).parents[1] / "help" / "prometheus.md"


def _samples(text: str, name: str) -> dict[str, float]:
    """Return the values of a name by its labels, as they are written."""
    found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def _text(*args: object, **kwargs: object) -> str:
    return exposition.to_text(*args, **kwargs).decode()  # type: ignore[arg-type]


def test_all_series_of_a_queue() -> None:
    """The text is the same, byte by byte, with each version of prometheus-client."""
    compare(_text(FULL, {"owner": "ada"}), "metrics")


def test_a_queue_without_jobs_has_no_series_of_a_queue() -> None:
    """Families without series are left out, with their descriptions."""
    text = _text(figures(), {})

    assert "queue=" not in text
    assert "queuectl_jobs" not in text
    assert _samples(text, "queuectl_workers") == {'busy="true"': 0, 'busy="false"': 0}
    assert _samples(text, "queuectl_build_info") == {'schema="4",version="1.2.3"': 1}


def test_the_first_failure_increases_a_series_that_was_there() -> None:
    """The series of a queue begin with zeros: from no series to 1 is no increase."""
    text = _text(figures(queues=[queue_figures("q", jobs={"pending": 1}, enqueued=1)]), {})

    assert _samples(text, "queuectl_runs_total") == {
        f'outcome="{outcome}",queue="q"': 0 for outcome in ("ok", "exit", "timeout", "lost")
    }
    assert _samples(text, "queuectl_jobs_finished_total") == {
        f'queue="q",state="{state}"': 0 for state in ("completed", "dead", "cancelled")
    }
    assert _samples(text, "queuectl_jobs") == {
        'queue="q",state="pending"': 1,
        **{f'queue="q",state="{state}"': 0 for state in ("processing", "failed", "dead")},
    }


def test_buckets_are_cumulative() -> None:
    """The last bucket, without an upper bound, holds all, and is the count."""
    text = _text(FULL, {})
    buckets = _samples(text, "queuectl_run_duration_seconds_bucket")
    counts = [count for labels, count in buckets.items() if 'queue="mail"' in labels]

    assert counts[:4] == [9000, 14000, 17000, 17203]
    assert counts[-3:] == [17205, 17206, 17207]
    assert _samples(text, "queuectl_run_duration_seconds_count")['queue="mail"'] == 17207
    assert _samples(text, "queuectl_run_duration_seconds_sum")['queue="mail"'] == 98765.5


def test_prometheus_client_reads_both_formats() -> None:
    """A parser that we have not written finds the same values in each."""
    plain = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(_text(FULL, {"owner": "ada"}))
        for sample in family.samples
    }
    openmetrics = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in openmetrics_parser.text_string_to_metric_families(
            _text(FULL, {"owner": "ada"}, openmetrics=True)
        )
        for sample in family.samples
    }

    assert plain == openmetrics
    assert len(plain) > 100
    assert all(("owner", "ada") in labels for _, labels in plain)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version="),
        ("text/plain", "text/plain; version="),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version="),
    ],
)
def test_a_request_chooses_the_format(accept: str, content_type: str) -> None:
    """The page /metrics answers as the Accept header asks."""
    body, given = exposition.answer(FULL, accept)

    assert given.startswith(content_type)
    assert body.endswith(b"# EOF\n") == ("openmetrics" in content_type)


def test_no_label_can_be_added_that_a_series_has() -> None:
    """Otherwise it would overwrite that label."""
    names = set(re.findall(r'[{,](\w+)="', _text(FULL, {})))

    assert names == OWN_LABELS


def test_every_name_is_explained_by_the_topic() -> None:
    """The table of the topic has each name with its type and its labels, and no others."""
    listed = set()
    for names, kind, labels in re.findall(
        r"^\| (queuectl_[\w, ]+) \| (\w+) \| ([\w, ]*) ?\|$", TOPIC.read_text("utf-8"), re.MULTILINE
    ):
        listed |= {(name, kind, labels.strip()) for name in names.split(", ")}
    text = _text(FULL, {})
    labels_of = {}
    for name, labels in re.findall(
        r"^(queuectl_\w+?)(?:_bucket)?(?:\{(.*)\})? ", text, re.MULTILINE
    ):
        labels_of.setdefault(name, set(re.findall(r'(\w+)="', labels)) - {"le"})
    shown = {
        (name, kind, frozenset(labels_of[name]))
        for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE)
    }

    assert shown == {
        (name, kind, frozenset(filter(None, labels.split(", ")))) for name, kind, labels in listed
    }
