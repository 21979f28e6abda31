"""New queues for tests: copies of one that is made once, which takes a sixth of the time."""

from __future__ import annotations

import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from queuectl.host import files
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import make
from queuectl.storage import Storage, schema
from support.watch.file_watch import by_hand


def open_new(place: QueueFiles) -> Storage:
    """Open the storage of a queue, and make the queue first if it does not exist yet.

    Tests of how a queue is made call `Storage.open` with `create` instead, or a command.
    """
    if place.exists():
        return Storage.open(place, create=True)
    return open_copy(_empty_queue(), place)


def open_copy(content: bytes, place: QueueFiles) -> Storage:
    """Make a queue from the content of another one's file; open the storage of the new queue."""
    with open(make(place.database), "wb") as stream:
        stream.write(content)
    storage = Storage.open(place, create=True)
    with storage._transaction() as conn:
        schema.name_queue(conn)
        schema.set_meta(conn, "file", storage.file_id)
    return storage


def content_of(storage: Storage) -> bytes:
    """Close a storage; return what its file holds."""
    storage.close()
    with by_hand():
        return Path(storage.files.database).read_bytes()


@lru_cache(maxsize=None)
def _empty_queue() -> bytes:
    folder = tempfile.mkdtemp(prefix="queuectl-test-")
    try:
        place = files.find(f"{folder}/queue.db", None, False)
        return content_of(Storage.open(place, create=True))
    finally:
        shutil.rmtree(folder)
