"""Fixtures of the tests of the web page."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Callable, Iterator

import pytest

pytest.importorskip("flask")
pytest.importorskip("waitress")

from queuectl.storage import Storage
from support.queue import Queue
from support.waiting import PATIENCE_SECONDS
from support.web import Page


@pytest.fixture(autouse=True)
def ends_before_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An action on many jobs leads back at once, also on a slow machine."""
    # By its name, since `queuectl.web.actions.bulk` is also that of the blueprint.
    module = import_module("queuectl.web.actions.bulk")
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def pages(storage: Storage) -> Iterator[Callable[..., Page]]:
    """Return what makes the pages of the queue of `storage`, with options."""
    made: list[Page] = []

    def make(**options: Any) -> Page:
        made.append(Page(storage.files, **options))
        return made[-1]

    yield make
    for page in made:
        page.close()


@pytest.fixture
def page(pages: Callable[..., Page]) -> Page:
    """The pages of the queue of `storage`."""
    return pages()


@pytest.fixture
def shown(queue: Queue) -> Iterator[Callable[..., Page]]:
    """Return what opens the pages of a queue; no command may run any more."""
    made: list[Page] = []

    def show(**options: Any) -> Page:
        queue.close_storage()
        made.append(Page(queue.files, **options))
        return made[-1]

    yield show
    for page in made:
        page.close()
