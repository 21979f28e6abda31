"""Pages of jobs that fit a query, forwards and backwards, and a search whose time is over."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from queuectl.core.job_query import parse
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.host import files
from queuectl.storage import Storage as Full
from queuectl.storage import searching


class Storage(Full, searching.Searching):
    """A full storage that can also search."""


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Storage]:
    """Ten jobs, of which every second is in the queue mail; the third is cancelled."""
    storage = Storage.open(files.find(str(tmp_path / "queue.db"), None, False), create=True)
    specs = [
        JobSpec(command=f"run {number}", id=f"j{number}", queue="mail" if number % 2 else "default")
        for number in range(10)
    ]
    storage.enqueue(specs, now=utcnow())
    storage.cancel(storage.get("j3"), now=utcnow())
    yield storage
    storage.close()


def _find(storage: Storage, text: str = "", **options: object) -> searching.JobPage:
    arguments: dict[str, object] = {"most": 3, "seconds": 10.0, **options}
    return storage.search(parse(text, now=utcnow()), **arguments)  # type: ignore[arg-type]


def _ids(page: searching.JobPage) -> list[str]:
    return [job.id for job in page.jobs]


def test_pages(filled: Storage) -> None:
    """Older pages follow each other without a gap, and back again."""
    first = _find(filled)
    second = _find(filled, before=first.jobs[-1].seq)
    last = _find(filled, before=second.jobs[-1].seq, most=4)
    back = _find(filled, after=second.jobs[0].seq)

    assert [_ids(page) for page in (first, second, last, back)] == [
        ["j9", "j8", "j7"], ["j6", "j5", "j4"], ["j3", "j2", "j1", "j0"], ["j9", "j8", "j7"],
    ]  # fmt: skip
    assert [(one.has_newer, one.has_older) for one in (first, second, last, back)] == [
        (False, True), (True, True), (True, False), (False, True),
    ]  # fmt: skip
    assert {page.stopped_at for page in (first, second, last, back)} == {None}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("queue:mail", ["j9", "j7", "j5"]),
        ("state:cancelled", ["j3"]),
        ("state:cancelled queue:default", []),
        ("state:dead", []),
        ("state:pending,cancelled queue:mail", ["j9", "j7", "j5"]),
        ("RUN state:cancelled", ["j3"]),
        ('"run 4"', ["j4"]),
        ("nothing", []),
    ],
)
def test_queries(filled: Storage, text: str, ids: list[str]) -> None:
    assert _ids(_find(filled, text)) == ids


def test_states_that_have_many_jobs(filled: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are found without the index of the state, in the same order."""
    monkeypatch.setattr(searching, "_FEW", 0)

    assert _ids(_find(filled, "state:pending")) == ["j9", "j8", "j7"]
    assert _ids(_find(filled, "state:cancelled")) == ["j3"]


def test_a_search_ends_in_time(filled: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how far it came, and goes on from there; nothing is left out or found twice."""
    monkeypatch.setattr(searching, "_STEP", 2)
    found: list[str] = []
    before: int | None = None
    stops = 0

    while True:
        page = _find(filled, "queue:mail", before=before, most=50, seconds=0.0)
        found += _ids(page)
        if page.stopped_at is None:
            break
        assert page.has_older
        assert page.searched > 0
        before, stops = page.stopped_at, stops + 1

    assert found == ["j9", "j7", "j5", "j3", "j1"]
    assert stops >= 3


def test_jobs_of_hooks_are_left_out(filled: Storage) -> None:
    with filled._transaction() as conn:
        conn.execute("UPDATE jobs SET hook = 'ops', hook_of = 1 WHERE id = 'j9'")

    assert _ids(_find(filled, with_hooks=False)) == ["j8", "j7", "j6"]
    assert _ids(_find(filled)) == ["j9", "j8", "j7"]
    assert filled.get("j3").state is JobState.CANCELLED
