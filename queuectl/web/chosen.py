"""Which jobs a page shows and an action is about: some that were ticked, or all that fit."""

from __future__ import annotations

import hashlib
from array import array
from datetime import datetime, timedelta
from typing import Any, Mapping, Sequence

from werkzeug.datastructures import MultiDict

from queuectl.core import moments
from queuectl.core.deaths import DeathGroup
from queuectl.core.errors import InvalidInput
from queuectl.core.job_query import JobQuery, parse
from queuectl.core.named_tuples import NamedTuple
from queuectl.core.states import FINISHED_STATES, UNFINISHED_STATES, JobState
from queuectl.core.times import parse_utc, to_text
from queuectl.storage.actions import RETRYABLE_STATES
from queuectl.web import dying
from queuectl.web.storages import WebStorage

MOST_TICKED = 500
"""So many jobs can be ticked at once."""

_HOURS = {"1h": 1, "24h": 24, "7d": 7 * 24, "30d": 30 * 24}
_RETRIED = (JobState.FAILED, JobState.DEAD), RETRYABLE_STATES
_STATES: Mapping[str, tuple[Sequence[JobState], Sequence[JobState]]] = {
    "retry": _RETRIED,
    "change": _RETRIED,
    "cancel": (UNFINISHED_STATES, UNFINISHED_STATES),
    "delete": (FINISHED_STATES, FINISHED_STATES),
}
"""Of all jobs that fit a query, an action is about those in these states: unless the query names
states, and at most. They are the same as on the command line."""
_MOMENT = timedelta(microseconds=1)


def group_name(group: DeathGroup) -> str:
    """Return a short name for a group, the same for the same way to die."""
    return hashlib.sha256(group.key.encode("utf-8", "replace")).hexdigest()[:12]


def _called(states: Sequence[JobState]) -> str:
    """Return what jobs in some states are called."""
    for all_of_them, word in ((UNFINISHED_STATES, "unfinished"), (FINISHED_STATES, "finished")):
        if set(states) == set(all_of_them):
            return word
    *first, last = (state.value for state in states)
    return f"{', '.join(first)} and {last}" if first else last


def _died_of(groups: Sequence[DeathGroup]) -> str:
    """Return what the jobs of some groups died of, in words; empty without groups."""
    ways = (f"{one.reason}: {one.line}" if one.line else one.reason for one in groups)
    return f" that died of {' or '.join(f'“{way}”' for way in ways)}" if groups else ""


class DeadFilter(NamedTuple):
    """Which dead jobs the page of dead jobs shows."""

    q: str = ""
    """Words, and fields as in `core/job_query.py`."""
    queue: str = ""
    """Only jobs of this queue; empty means all."""
    within: str = ""
    """Only those that died within this time: `24h`; empty means at any time."""
    exit: str = ""
    """Only those that ended with this exit code; empty means any."""
    by: str = ""
    """`none` shows one after the other; all else shows groups."""
    group: str = ""
    """Only those of this group; empty means all."""

    @classmethod
    def of_request(cls, given: MultiDict[str, str]) -> DeadFilter:
        """Read the fields of an address or of a form."""
        return cls(*(given.get(name, "").strip() for name in cls._fields))

    @property
    def flat(self) -> bool:
        """Whether jobs are shown one after the other."""
        return self.by == "none"

    def arguments(self, **more: Any) -> dict[str, Any]:
        """Return what an address needs for this filter, with changes."""
        return {name: value for name, value in {**self._asdict(), **more}.items() if value}

    def query(self, *, now: datetime) -> JobQuery:
        """Return the query. Raises InvalidInput."""
        query = parse(self.q, now=now)
        if query.states and JobState.DEAD not in query.states:
            raise InvalidInput("all jobs on this page are dead")
        query = query._replace(states=(JobState.DEAD,))
        if self.queue:
            query = query._replace(queues=(self.queue,))
        if self.within:
            if self.within not in _HOURS:
                raise InvalidInput(f"died within: one of {', '.join(_HOURS)}, not {self.within}")
            after = now - timedelta(hours=_HOURS[self.within])
            query = query._replace(after=max(after, query.after or after))
        if self.exit:
            found = parse(f'exit:"{self.exit}"', now=now).exit_codes
            query = query._replace(exit_codes=found)
        return query

    def words(self) -> str:
        """Return the filter in words."""
        parts = []
        if self.queue:
            parts.append(f"in the queue {self.queue}")
        if self.within:
            parts.append(f"that died within {self.within}")
        if self.exit:
            parts.append(f"with exit code {self.exit}")
        if self.q:
            parts.append(f"that fit “{self.q}”")
        return " ".join(["dead jobs", *parts])


class Chosen(NamedTuple):
    """The jobs that an action is about."""

    page: str
    """The page on which they were chosen: `dead` or `jobs`."""
    ticked: tuple[int, ...]
    """Jobs that were ticked, by their seqs."""
    groups: tuple[str, ...]
    """Groups that were ticked on the page of dead jobs."""
    everything: bool
    """Whether all jobs are meant that the page is about."""
    dead: DeadFilter
    """The filter of the page of dead jobs."""
    q: str
    """The query of the page of jobs."""
    with_hooks: bool
    """Whether the page of jobs shows the jobs of hooks."""
    verb: str
    """What is to be done: `retry`, `change`, `cancel` or `delete`."""
    until: datetime
    """When the page was made. Jobs that have changed since then are left alone."""

    @classmethod
    def of_form(cls, form: MultiDict[str, str], verb: str) -> Chosen:
        """Read a form. Raises InvalidInput."""
        try:
            ticked = tuple(dict.fromkeys(array("q", map(int, form.getlist("job")))))
            until = parse_utc(form["until"])
        except (ValueError, KeyError, OverflowError):
            raise InvalidInput("the form cannot be read: load the page again") from None
        if len(ticked) > MOST_TICKED:
            raise InvalidInput(f"at most {MOST_TICKED} jobs can be ticked")
        return cls(
            "dead" if form.get("page") == "dead" else "jobs",
            ticked,
            tuple(dict.fromkeys(form.getlist("in-group"))),
            form.get("all") == "1",
            DeadFilter.of_request(form),
            form.get("q", "").strip(),
            form.get("hooks") == "1",
            verb,
            until,
        )

    def fields(self) -> list[tuple[str, str]]:
        """Return the fields of a form that chooses the same jobs."""
        found = [("page", self.page), ("until", to_text(self.until))]
        if self.everything:
            found.append(("all", "1"))
            found += self._filter_fields()
        elif self.groups:
            found += self._filter_fields()
        found += [("job", str(seq)) for seq in self.ticked if not self.everything]
        found += [("in-group", name) for name in self.groups if not self.everything]
        return found

    def _filter_fields(self) -> list[tuple[str, str]]:
        if self.page == "dead":
            return [(name, value) for name, value in self.dead._asdict().items() if value]
        return [("q", self.q), *([("hooks", "1")] if self.with_hooks else [])]

    @property
    def is_exact(self) -> bool:
        """Whether each job was ticked, so that all of them were seen."""
        return not self.everything and not self.groups

    @property
    def _group_names(self) -> tuple[str, ...]:
        """The groups that were chosen: the ticked ones, or the only one that the page showed."""
        if not self.everything:
            return self.groups
        return (self.dead.group,) if self.page == "dead" and self.dead.group else ()

    def find_groups(self, storage: WebStorage) -> list[DeathGroup]:
        """Return the groups of dead jobs that were chosen; none if jobs were chosen otherwise.

        Raises InvalidInput.
        """
        names = self._group_names
        if not names:
            return []
        query = self._parsed()
        found = dying.groups(storage, query, since=query.after, until=self.until)
        return [one for one in found if group_name(one) in names]

    def seqs(self, storage: WebStorage, groups: Sequence[DeathGroup]) -> Sequence[int]:
        """Return the jobs, the oldest first. `groups` are those of `find_groups`.

        Raises InvalidInput.
        """
        if self.everything and not self._group_names:
            with_hooks = self.page == "jobs" and self.with_hooks
            return storage.seqs_of(self._query(), with_hooks=with_hooks)
        ticked = () if self.everything else self.ticked
        return array("q", sorted({*ticked, *(death.seq for one in groups for death in one.jobs)}))

    def words(self, groups: Sequence[DeathGroup]) -> str:
        """Return in words which jobs they are. `groups` are those of `find_groups`."""
        at = moments.local(self.until)
        if self.everything:
            if self.page == "dead":
                return f"all {self.dead.words()}{_died_of(groups)}, until {at}"
            called = _called(self._parsed().states)
            fitting = f" that fit “{self.q}”" if self.q else ""
            hooks = "" if self.with_hooks else ", without those of hooks"
            return f"all {called} jobs{fitting}, as of {at}{hooks}"
        parts = []
        if self.groups:
            parts.append(f"all{_died_of(groups)}, until {at}")
        if self.ticked:
            parts.append(f"{len(self.ticked)} that you ticked")
        return ", and ".join(parts)

    def _query(self) -> JobQuery:
        query = self._parsed()
        # What changes at this very moment has not been seen; `before` excludes its own time.
        before = self.until + _MOMENT
        return query._replace(before=min(before, query.before or before))

    def _parsed(self) -> JobQuery:
        if self.page == "dead":
            return self.dead.query(now=self.until)
        query = parse(self.q, now=self.until)
        usual, possible = _STATES[self.verb]
        states = tuple(state for state in query.states or usual if state in possible)
        if not states:
            named = " or ".join(state.value for state in query.states)
            verb = "retry" if self.verb == "change" else self.verb
            raise InvalidInput(f"cannot {verb} jobs that are {named}")
        return query._replace(states=states)
