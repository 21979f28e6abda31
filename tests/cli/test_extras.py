"""Commands whose packages are not installed: one line that says how to get them."""

from __future__ import annotations

import pytest

from support.missing import run_without
from support.queue import Queue

_CHECKOUT = "in a checkout of queuectl: pip install"
_WEB = (
    f"this command needs the packages flask, waitress and prometheus-client ({_CHECKOUT} '.[web]')"
)
_CRON = (
    f"cron expressions need the package cronsim ({_CHECKOUT} '.[cron]'; 'every 10m' works without)"
)


@pytest.mark.parametrize(
    ("module", "words", "message"),
    [
        ("prometheus_client", ("metrics",),
         f"this command needs the package prometheus-client ({_CHECKOUT} '.[metrics]')"),
        ("flask", ("web",), _WEB),
        ("waitress", ("web",), _WEB),
        ("jinja2", ("web", "--link"), _WEB),
        ("cronsim", ("schedule", "add", "nightly", "0 2 * * *", "--", "true"), _CRON),
        ("cronsim", ("schedule", "next", "@daily"), _CRON),
    ],
)  # fmt: skip
def test_a_missing_package_is_named(
    queue: Queue, module: str, words: tuple[str, ...], message: str
) -> None:
    """With the extra that brings it, and what works without it."""
    queue.enqueue("true")
    command = " ".join(words[: 2 if words[0] == "schedule" else 1])

    assert run_without(queue, (module,), *words) == (1, "", f"queuectl {command}: {message}\n")


def test_status_and_doctor_say_what_a_schedule_lacks(queue: Queue) -> None:
    """It was added where the package is there, and makes no jobs here."""
    pytest.importorskip("cronsim")
    queue.ok("schedule", "add", "nightly", "0 2 * * *", "--", "true")

    _, shown, _ = run_without(queue, ("cronsim",), "status")
    assert (
        "  ! The schedule nightly makes no jobs: cron expressions need the package cronsim; "
        "install it in a checkout of queuectl (pip install '.[cron]')\n"
    ) in shown
    code, checked, _ = run_without(queue, ("cronsim",), "doctor")
    assert (code, f"fail  schedules: nightly: {_CRON}\n" in checked) == (1, True)


def test_the_others_need_none(queue: Queue) -> None:
    """Everything else works with click and tabulate alone, schedules `every 10m` included."""
    extras = ("prometheus_client", "flask", "waitress", "jinja2", "werkzeug", "cronsim")
    for words in (
        ("enqueue", "true"),
        ("schedule", "add", "often", "every 10m", "--", "true"),
        ("hook", "add", "ops", "--on", "dead", "--", "true"),
        ("worker", "start", "--drain", "-q"),
        ("list",),
        ("status",),
        ("status", "--json"),
        ("schedule", "list"),
        ("stats", "--json"),
        ("check", "--max-dlq", "0"),
        ("sql", "SELECT count(*) FROM job_list"),
        ("metrics", "--grafana"),
    ):
        code, _, err = run_without(queue, extras, *words)
        assert (words, code, err) == (words, 0, "")
