"""The words that completion offers for a value: jobs, queues, workers, labels, paths and more.

Each function is a `shell_complete` of click. None of them creates or changes anything, or prints an
error. Completion alone needs what they import.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable, Iterable, List, Tuple

import click

from queuectl.core.states import JobState
from queuectl.host.files import find

if TYPE_CHECKING:
    from queuectl.core.models import Job
    from queuectl.storage import Storage

Completion = Callable[[click.Context, Any, str], List[Any]]
_Offer = Tuple[str, str]
"""A word, and what it means; empty if the word says it all."""

_MOST = 200
_DESCRIPTION_CELLS = 60


def path(kind: str = "file") -> Completion:
    """Leave it to the shell to offer files; `dir` offers folders."""

    def complete(_ctx: click.Context, _param: Any, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type=kind)]

    return complete


def command(ctx: click.Context, param: Any, incomplete: str) -> list[Any]:
    """Leave it to the shell to complete the command of a job: a program, and then its arguments.

    The value says how many of its words come before the one at the cursor.
    """
    from click.shell_completion import CompletionItem

    before = ctx.params.get(param.name) or ()
    if not before and (incomplete[:1] == "{" or any(char.isspace() for char in incomplete)):
        return [CompletionItem(incomplete, type="file")]  # a JSON object, or a line for the shell
    return [CompletionItem(str(len(before)), type="command")]


def jobs(*states: JobState) -> Completion:
    """Offer jobs in these states, or all jobs if none: ids that people gave, numbers, and prefixes.

    The newest come first. Several may be separated by commas.
    """

    def found(storage: Storage, begin: str) -> Iterable[_Offer]:
        from queuectl.core.models import Selection

        newest = list(storage.jobs(Selection(states=states), newest=_MOST))[::-1]
        if begin.startswith("@"):
            yield from _words(storage, states)
        for job in newest:
            by_number = begin.startswith("@") or (not begin and job.id_made)
            yield f"@{job.seq}" if by_number else job.id, _described(job)

    return _in_a_list(_from_queue(found))


def _words(storage: Storage, states: tuple[JobState, ...]) -> Iterable[_Offer]:
    from queuectl.core.models import Selection
    from queuectl.storage.names import GROUPS

    last = storage.newest()
    if last is not None and (not states or last.state in states):
        yield "@last", f"enqueued last: {_described(last)}"
    for word, meant in GROUPS.items():
        chosen = tuple(state for state in meant if not states or state in states)
        count = storage.count(Selection(states=chosen)) if chosen else 0
        if count:
            yield word, f"{' or '.join(state.value for state in chosen)}: {count:,}"


def _described(job: Job) -> str:
    from queuectl.core.naming import title

    return f"{job.state.value}: {title(job, cells=_DESCRIPTION_CELLS)}"


def _batches(storage: Storage, _begin: str) -> Iterable[_Offer]:
    from queuectl.core.batches import PREFIX, is_batch, owner_of

    names = {owner_of(count.queue) for count in storage.counts() if is_batch(count.queue)}
    return ((name[len(PREFIX) :], "") for name in sorted(names))


def _queues(storage: Storage, begin: str) -> Iterable[_Offer]:
    from queuectl.core.batches import is_batch

    for queue in storage.queues():
        if is_batch(queue.name) and not begin:
            continue
        waiting = queue.counts[JobState.PENDING]
        running = queue.counts[JobState.PROCESSING]
        yield queue.name, f"{waiting:,} pending, {running:,} running"


def _pools(storage: Storage, _begin: str) -> Iterable[_Offer]:
    from queuectl.core.counts import counted  # only for completion

    supervisors = [worker.supervisor for worker in storage.living_workers()]
    for pool in dict.fromkeys(supervisors):
        yield pool, f"pool of {counted(supervisors.count(pool), 'worker')}"


def _workers(storage: Storage, begin: str) -> Iterable[_Offer]:
    yield from _pools(storage, begin)
    for worker in storage.living_workers():
        yield worker.id, "idle" if worker.job is None else f"runs {worker.job}"


def _labels(storage: Storage, begin: str) -> Iterable[_Offer]:
    return ((label, "") for label in storage.labels(begin, most=_MOST))


def _hooks(storage: Storage, _begin: str) -> Iterable[_Offer]:
    from queuectl.core.hooks import show_events

    return ((hook.name, show_events(hook.events)) for hook in storage.hooks().hooks)


def _events(_storage: Storage, _begin: str) -> Iterable[_Offer]:
    from queuectl.core.hooks import EVENT_WORDS

    return ((event, "") for event in EVENT_WORDS)


def schedules(ctx: click.Context, _param: Any, incomplete: str) -> list[Any]:
    """Offer the names of schedules."""
    from queuectl.core.schedule_words import explained
    from queuectl.storage.schedules import Schedules

    try:
        given = ctx.find_root().params
        files = find(given.get("db"), os.environ.get("QUEUECTL_DB"), False)
        if not files.exists():
            return []
        storage = Schedules.open(files, upgrade=False)
        try:
            found = storage.schedules().schedules
            return _items(((one.name, explained(one)) for one in found), incomplete)
        finally:
            storage.close()
    except Exception:  # noqa: BLE001 (a message would appear in the line that the user types)
        return []


def _from_queue(found: Callable[[Storage, str], Iterable[_Offer]]) -> Completion:
    """Return a completion with words that the queue holds, and that begin with what was typed."""

    def complete(ctx: click.Context, _param: Any, incomplete: str) -> list[Any]:
        from queuectl.storage import Storage

        try:
            given = ctx.find_root().params
            files = find(given.get("db"), os.environ.get("QUEUECTL_DB"), False)
            if not files.exists():
                return []
            storage = Storage.open(files, upgrade=False)
            try:
                return _items(found(storage, incomplete), incomplete)
            finally:
                storage.close()
        except Exception:  # noqa: BLE001 (a message would appear in the line that the user types)
            return []

    return complete


def _in_a_list(complete: Completion) -> Completion:
    """Return a completion of the last word of a list with commas."""

    def complete_last(ctx: click.Context, param: Any, incomplete: str) -> list[Any]:
        before, comma, last = incomplete.rpartition(",")
        items = complete(ctx, param, last)
        for item in items:
            item.value = before + comma + item.value
        return items

    return complete_last


def _items(offers: Iterable[_Offer], incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem

    return [
        CompletionItem(word, help=meaning or None)
        for word, meaning in offers
        # A word that a foreign file holds must not control the terminal.
        if word.startswith(incomplete) and word.isprintable()
    ]


queue = _from_queue(_queues)
queues = _in_a_list(queue)
pools = _from_queue(_pools)
workers = _from_queue(_workers)
labels = _from_queue(_labels)
hooks = _from_queue(_hooks)
events = _in_a_list(_from_queue(_events))
batches = _in_a_list(_from_queue(_batches))


def variables(_ctx: click.Context, _param: Any, incomplete: str) -> list[Any]:
    """Offer the names of variables that are set here."""
    return _items(((name, "") for name in sorted(os.environ)), incomplete)


def keys(_ctx: click.Context, _param: Any, incomplete: str) -> list[Any]:
    """Offer the keys of the configuration."""
    from queuectl.core.settings import KEYS

    return _items(((name, key.help) for name, key in KEYS.items()), incomplete)


def key_values(ctx: click.Context, _param: Any, incomplete: str) -> list[Any]:
    """Offer the values that a key of the configuration can have, or else its default."""
    from queuectl.core.settings import KEYS, Choice, key_name

    key = KEYS.get(key_name(str(ctx.params.get("key"))))
    if key is None:
        return []
    if isinstance(key.read, Choice):
        return _items(((word, "") for word in key.read.words), incomplete)
    return _items([(key.default, "the default")] if key.default else [], incomplete)
