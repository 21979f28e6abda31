"""The state in which a power cut may leave a disk, rebuilt from the system calls that wrote."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path
from typing import NamedTuple

from support.watch.file_watch import by_hand

CALLS = "openat,pwrite64,write,ftruncate,fsync,fdatasync,unlink"
"""The system calls to trace; strace also needs the options `-f -y -xx -s 200000`."""

_SECTOR_BYTES = 512

_LINE = re.compile(r"(?P<pid>\d+) +(?:<\.\.\. )?(?P<call>\w+)(?P<rest>.*)")
_PATH = re.compile(r"<((?:\\x[0-9a-f]{2})+)>")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


class Event(NamedTuple):
    """One system call that changed something; `number` is an offset, a length or a descriptor."""

    call: str
    path: str
    content: bytes = b""
    number: int = 0


def read_trace(trace: Path) -> list[Event]:
    """Return the events of a trace in order: a sync when it ends, a write when it starts."""
    events: list[Event] = []
    syncing: dict[str, str] = {}
    for line in trace.read_text().splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        pid, call, rest = match.group("pid", "call", "rest")
        if "resumed>" in rest:
            if call in ("fsync", "fdatasync"):
                events.append(Event("sync", syncing.pop(pid)))
            continue
        paths = [_text(found).decode(errors="replace") for found in _PATH.findall(rest)]
        if call in ("fsync", "fdatasync"):
            if "unfinished" in rest:
                syncing[pid] = paths[0]
            else:
                events.append(Event("sync", paths[0]))
            continue
        event = _change(call, rest, paths)
        if event is not None:
            events.append(event)
    return events


def _change(call: str, rest: str, paths: list[str]) -> Event | None:
    texts = [_text(found) for found in _TEXT.findall(rest)]
    if call == "openat" and "O_CREAT" in rest and "-1 E" not in rest:
        return Event("create", texts[0].decode())
    if call == "unlink":
        return None if "-1 E" in rest else Event("unlink", texts[0].decode())
    if call == "pwrite64":
        offset = int(rest.rpartition('", ')[2].split(",")[1].split(")")[0].split()[0])
        return Event("write", paths[0], texts[0], offset)
    if call == "ftruncate":
        return Event("truncate", paths[0], b"", int(re.findall(r", (\d+)", rest)[0]))
    if call == "write":
        return Event("say", "", texts[0], int(re.split(r"[(<,]", rest)[1]))
    return None


def _text(hexadecimal: str) -> bytes:
    return bytes.fromhex(hexadecimal.replace("\\x", ""))


class _File:
    def __init__(self) -> None:
        self.safe = b""
        self.pending: list[tuple[int, bytes | None]] = []
        """Changes since the last sync: an offset and bytes written there, or a length and None."""


class Disk:
    """The files of one folder, each with what is synced and what may be lost."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._names: dict[str, _File] = {}
        self._safe_names: dict[str, _File] = {}
        self._changes: list[tuple[str, _File | None]] = []
        """Changes since the last sync of the folder: a new name, or a removed one (None)."""

    def happen(self, event: Event) -> None:
        """Apply the next event."""
        if event.path == self._folder and event.call == "sync":
            self._safe_names = dict(self._names)
            self._changes = []
            return
        folder, name = os.path.split(event.path)
        if folder != self._folder:
            return
        if event.call == "create" and name not in self._names:
            self._names[name] = _File()
            self._changes.append((name, self._names[name]))
        elif event.call == "unlink":
            self._names.pop(name, None)
            self._changes.append((name, None))
        file = self._names.get(name)
        if file is None:
            return
        if event.call == "write":
            file.pending.append((event.number, event.content))
        elif event.call == "truncate":
            file.pending.append((event.number, None))
        elif event.call == "sync":
            file.safe = _applied(file.safe, file.pending)
            file.pending = []

    def leave(self, folder: Path, chance: random.Random, share: float) -> None:
        """Write into a folder what a power cut leaves if this share of unsynced data was written.

        Sectors are chosen at random, without regard to their order. Changes of names are in order.
        """
        names = dict(self._safe_names)
        for name, file in self._changes[: round(share * len(self._changes))]:
            if file is None:
                names.pop(name, None)
            else:
                names[name] = file
        for name, file in names.items():
            pending = [
                part
                for change in file.pending
                for part in _sectors(change)
                if chance.random() < share
            ]
            with by_hand():
                (folder / name).write_bytes(_applied(file.safe, pending))
            (folder / name).chmod(0o600)


def _sectors(change: tuple[int, bytes | None]) -> list[tuple[int, bytes | None]]:
    offset, content = change
    if content is None:
        return [change]
    cuts = [0, *range(_SECTOR_BYTES - offset % _SECTOR_BYTES, len(content), _SECTOR_BYTES)]
    return [
        (offset + start, content[start:stop])
        for start, stop in zip(cuts, [*cuts[1:], len(content)])
    ]


def _applied(content: bytes, changes: list[tuple[int, bytes | None]]) -> bytes:
    grown = bytearray(content)
    for number, written in changes:
        if written is None:
            del grown[number:]
            grown.extend(bytes(max(0, number - len(grown))))
        else:
            grown.extend(bytes(max(0, number + len(written) - len(grown))))
            grown[number : number + len(written)] = written
    return bytes(grown)
