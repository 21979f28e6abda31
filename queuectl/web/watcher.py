"""Noticing that something changed, so that open pages are rendered again only then."""

from __future__ import annotations

import logging
import threading
import time

from queuectl.core.errors import QueueError
from queuectl.web.storages import Storages

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
"""How often the queue and the locks of its workers are looked at; the latter take 0.5 ms for eight.

A worker that is killed writes nothing. Browsers ask every two seconds, so that an open page shows
its death within three.
"""
_AGE_SECONDS = 15.0
"""After this time a page is rendered again without a change: what it says of times grows old."""
_IDLE_SECONDS = 10.0
"""If nobody has asked for this long, the thread sleeps until somebody does."""


class Watcher:
    """Counts up a number, the generation, whenever the queue or its workers change.

    One thread looks at the queue with a connection of its own. A page of the same generation is
    the same page: so a browser that asks every two seconds costs no query.
    """

    def __init__(self, storages: Storages) -> None:
        self._storages = storages
        self._generation = int(time.time() * 1000)  # not that of a server that was here before
        self._counting = threading.Lock()
        self._seen: tuple[object, ...] = ()
        self._asked_at = time.monotonic()
        self._wanted = threading.Event()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait until it has closed its connection."""
        self._left.set()
        self._wanted.set()
        self._thread.join()

    def generation(self) -> int:
        """Return the present generation. Call it before the queue is read for a page."""
        self._asked_at = time.monotonic()
        if not self._wanted.is_set():
            # The thread slept: nobody knows what has changed meanwhile.
            self._count()
            self._wanted.set()
        return self._generation

    def tell(self) -> None:
        """Let pages be rendered again: something has changed that is not in the queue."""
        self._count()

    def _count(self) -> None:
        with self._counting:
            self._generation += 1

    def _watch(self) -> None:
        aged_at = time.monotonic()
        while not self._left.is_set():
            now = time.monotonic()
            if now - self._asked_at > _IDLE_SECONDS:
                self._wanted.clear()
                self._wanted.wait()
                continue
            if now - aged_at >= _AGE_SECONDS:
                aged_at = now
                self._count()
            seen = (self._version(), self._alive())
            if seen != self._seen:
                self._seen = seen
                self._count()
            self._left.wait(_LOOK_SECONDS)
        self._storages.close()

    def _version(self) -> object:
        try:
            storage = self._storages.current()
            return id(storage), storage.version()
        except QueueError as error:  # the pages say what is wrong
            return str(error)

    def _alive(self) -> object:
        try:
            return tuple((one.id, one.problem) for one in self._storages.current().living_workers())
        except QueueError as error:
            return str(error)
