"""Actions on many jobs: first a page that says what will happen, then the action itself."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from flask import Blueprint, Response, abort, redirect, request, url_for

from queuectl.core.counts import counted
from queuectl.core.deaths import DeathGroup
from queuectl.core.errors import InvalidInput, QueueError
from queuectl.core.states import JobState
from queuectl.core.times import utcnow
from queuectl.storage.actions import RETRYABLE_STATES
from queuectl.storage.bulk import Many
from queuectl.web import changes
from queuectl.web.acting import done, is_script, reason, refused, where_from
from queuectl.web.chosen import Chosen
from queuectl.web.frame import render
from queuectl.web.guard import may_see_env, serving, storage
from queuectl.web.storages import WebStorage
from queuectl.web.tasks import Task

bulk = Blueprint("bulk", __name__)

VERBS = {
    "retry": ("Retry", "They start over, with all their attempts. Their history is kept."),
    "change": (
        "Retry",
        "They start over with these changes, with all their attempts. Their history is kept.",
    ),
    "cancel": (
        "Cancel",
        "Those that wait are cancelled at once. Those that run are killed, with all processes that "
        "they started. All are kept with what they printed.",
    ),
    "delete": (
        "Delete",
        "They are deleted, with their history and what they printed. That cannot be undone.",
    ),
}
"""What can be done: the word on the button, and what will happen."""
_MOST_SHOWN = 10
_TYPED_FROM = 100
"""Whoever deletes more jobs than this has to type their number."""
_PATIENCE_SECONDS = 1.5
"""An action that ends within this time leads back at once."""


@bulk.post("/bulk")
def ask() -> str:
    """Show how many jobs were chosen, some of them, and what will happen. Changes nothing."""
    verb, _, until = request.form["do"].partition(" ")
    if verb not in VERBS:
        abort(400)
    fields = request.form.copy()
    fields.setdefault("until", until)
    chosen = Chosen.of_form(fields, verb)
    return _confirm(verb, chosen, chosen.find_groups(storage()), None)


@bulk.post("/bulk/do")
def do() -> Response | str:
    """Do it, in a thread."""
    verb = request.form["do"]
    if verb not in VERBS:
        abort(400)
    chosen = Chosen.of_form(request.form, verb)
    groups = chosen.find_groups(storage())
    try:
        made = _changes(verb)
        why = reason()
        if verb == "delete":
            _check_typed(len(chosen.seqs(storage(), groups)))
    except InvalidInput as error:
        if is_script():
            raise
        return _confirm(verb, chosen, groups, str(error))
    task = Task(verb, chosen.words(groups), where_from())
    states = (JobState.DEAD,) if chosen.page == "dead" else RETRYABLE_STATES
    unchanged_since = None if chosen.is_exact else chosen.until

    def act(of_thread: WebStorage, seqs: Sequence[int]) -> Many:
        now = utcnow()
        if verb == "cancel":
            return of_thread.cancel_many(seqs, reason=why, unchanged_since=unchanged_since, now=now)
        if verb == "delete":
            return of_thread.delete_many(seqs, unchanged_since=unchanged_since, now=now)
        return of_thread.retry_many(
            seqs, made, states=states, unchanged_since=unchanged_since, now=now
        )

    serving().tasks.start(task, lambda of_thread: chosen.seqs(of_thread, groups), act)
    if task.wait(_PATIENCE_SECONDS) and task.is_clean:
        return done(f"bulk.{verb}", [], f"{task.said()}.", to=task.back)
    if is_script() and task.ended_at is not None:
        return refused(task.problem or task.said())
    return redirect(url_for("tasks.task", name=task.name), 303)  # type: ignore[return-value]


def _confirm(verb: str, chosen: Chosen, groups: Sequence[DeathGroup], problem: str | None) -> str:
    seqs = chosen.seqs(storage(), groups)
    if not seqs:
        raise QueueError("no job is selected" if chosen.is_exact else "no job fits any more")
    word, happens = VERBS[verb]
    return render(
        "confirm.html",
        title=f"{word} {counted(len(seqs), 'job')}",
        nav="dead.dead" if chosen.page == "dead" else "jobs.jobs",
        verb=verb,
        word=word,
        happens=happens,
        count=len(seqs),
        words=chosen.words(groups),
        fields=chosen.fields(),
        jobs=storage().jobs_by_seq(list(seqs[-_MOST_SHOWN:])[::-1]),
        back=request.form.get("back", ""),
        target=where_from(),
        problem=problem,
        typed=verb == "delete" and len(seqs) > _TYPED_FROM,
        names={name: text for name, text in changes.NAMES.items() if name != "label"},
        values=request.form,
        live=False,
    )


def _changes(verb: str) -> Mapping[str, Any]:
    if verb != "change":
        return {}
    made = changes.read(request.form, job=None, with_env=may_see_env(), now=utcnow())
    if not made:
        raise InvalidInput("nothing is changed: fill in at least one field")
    return made


def _check_typed(count: int) -> None:
    typed = "".join(request.form.get("typed", "").split()).replace(",", "")
    if count > _TYPED_FROM and typed != str(count):
        raise InvalidInput(f"type the number of jobs, {count:,}, to delete them")
