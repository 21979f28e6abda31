"""The page that Prometheus reads."""

from __future__ import annotations

from typing import Callable

from queuectl.core.specs import JobSpec
from queuectl.core.times import utcnow
from queuectl.storage import Storage
from support.queue import Queue
from support.web import Page, Server

_PENDING = 'queuectl_jobs{queue="default",state="pending"} 1.0\n'


def test_the_figures_need_a_token(page: Page, storage: Storage) -> None:
    """That of the link for looking is enough."""
    storage.enqueue([JobSpec(command="true")], now=utcnow())

    assert page.ask("/metrics", token=None).status == 401
    answer = page.ask("/metrics", token="view")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert answer.headers["Cache-Control"] == "no-store"
    assert _PENDING in answer.text


def test_a_request_chooses_the_format(page: Page) -> None:
    """Newer Prometheus servers prefer OpenMetrics."""
    accept = "application/openmetrics-text; version=1.0.0, text/plain; version=0.0.4; q=0.5"
    answer = page.ask("/metrics", headers={"Accept": accept})

    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=")
    assert answer.text.endswith("# EOF\n")


def test_outside_of_the_secret_path_they_are_public_or_not_there(
    pages: Callable[..., Page], storage: Storage
) -> None:
    """With --public-metrics the usual address works, and leads to nothing else."""
    storage.enqueue([JobSpec(command="true")], now=utcnow())
    private, public = pages(), pages(public_metrics=True)

    assert private.ask("/metrics", token=None, whole_path=True).status == 404
    answer = public.ask("/metrics", token=None, whole_path=True)
    assert answer.status == 200
    assert _PENDING in answer.text
    assert public.root not in answer.text + str(answer.headers)
    assert public.ask("/metrics", "POST", token=None, whole_path=True).status == 405
    for path in ("/metrics/", "/", "/jobs", "/metrics/x"):
        assert public.ask(path, token=None, whole_path=True).status == 404
    assert public.ask("/metrics", token=None, host="evil.example", whole_path=True).status == 421


def test_without_a_queue_the_target_is_down(queue: Queue) -> None:
    """An answer without figures would look like a queue in which nothing happens."""
    page = Page(queue.files, public_metrics=True)
    try:
        assert page.ask("/metrics").status == 503
        answer = page.ask("/metrics", token=None, whole_path=True)
        assert (answer.status, page.root in answer.text) == (503, False)
    finally:
        page.close()


def test_a_server_answers(queue: Queue) -> None:
    """As a real Prometheus asks: with the token of a file."""
    queue.enqueue("true")
    server = Server(queue, "--public-metrics")

    assert _PENDING in server.ask(f"{server.root}/metrics", headers=server.bearer).text
    assert _PENDING in server.ask("/metrics").text
    assert server.ask("/healthz").status == 200
