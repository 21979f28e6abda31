"""A complete task with the installed command: a tree of files, one job per file."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import shlex
from collections import Counter
from pathlib import Path

from support.queue import Queue

_FILES = 200
_FLAKY_EVERY = 25
_MISSING = ("lost/été.txt", "lost/two words.bin", "lost/third")


def _make_tree(root: Path) -> list[Path]:
    """Make files with many kinds of names; return their paths below `root`."""
    source = random.Random(7)
    kinds = (
        b"",
        b"plain text\n" * 40,
        "Grüße, 世界 — naïve\n".encode() * 20,
        bytes(range(256)) * 30,
        b"no newline at the end",
        source.getrandbits(8 * 50_000).to_bytes(50_000, "little"),
        b"\0" * 100_000,
    )
    names = ("plain.txt", "two words.bin", "été — 世界.dat", "quo'te\".txt", "$HOME;x.log", "-n")
    paths = []
    for number in range(_FILES):
        folder = Path(f"part {number % 7}") / f"d{number % 3}"
        path = folder / f"{number:03d} {names[number % len(names)]}"
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(kinds[number % len(kinds)])
        paths.append(path)
    return paths


def _pack(path: Path, number: int, *, flaky: bool) -> str:
    """Return the command that compresses one file and then adds a line to the ledger."""
    source, target = shlex.quote(f"tree/{path}"), shlex.quote(f"packed/{number:03d}.gz")
    fail_once = f"mkdir marks/{number} 2>/dev/null && exit 9; "
    return (
        (fail_once if flaky else "")
        + f"test -f {source} || {{ echo no {source} >&2; exit 66; }}; "
        + f"gzip -c -- {source} > {target}.part && mv {target}.part {target} && "
        + f"echo {number} >> ledger"
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_tree_of_files_is_compressed_exactly_once(queue: Queue) -> None:
    """Each job had its effect once, after retries, the DLQ, a repair and a `dlq retry`."""
    work = queue.work
    paths = _make_tree(work / "tree")
    missing = [Path(name) for name in _MISSING]
    everything = [*paths, *missing]
    (work / "packed").mkdir()
    (work / "marks").mkdir()
    for key, value in (("backoff-base", "1"), ("backoff-max", "1"), ("max-retries", "2")):
        queue.ok("config", "set", key, value)
    flaky = set(range(0, _FILES, _FLAKY_EVERY))
    specs = [
        json.dumps({"id": f"pack-{number}", "command": _pack(path, number, flaky=number in flaky)})
        for number, path in enumerate(everything)
    ]
    ids = queue.ok("enqueue", "-", stdin="\n".join(specs[:_FILES])).split()
    ids += [queue.ok("enqueue", spec) for spec in specs[_FILES:]]
    assert ids == [f"pack-{number}" for number in range(len(everything))]

    queue.drain(workers=4)

    dead = [f"pack-{number}" for number in range(_FILES, len(everything))]
    assert queue.counts() == {"completed": _FILES, "dead": len(dead)}
    assert queue.ok("dlq", "list", "--ids").split() == dead
    assert [queue.outcomes(job) for job in dead] == [["exit", "exit"]] * len(dead)
    assert {job["last_error"] for job in queue.json("dlq", "list")} == {"exit 66"}

    for path in missing:
        (work / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (work / "tree" / path).write_text(f"here at last: {path}\n")
    queue.ok("dlq", "retry", "--all")
    queue.drain(workers=4)

    assert queue.counts() == {"completed": len(everything)}
    expected: dict[str, str] = {}
    packed: dict[str, str] = {}
    for number, path in enumerate(everything):
        name = f"{number:03d}.gz"
        expected[name] = _digest((work / "tree" / path).read_bytes())
        packed[name] = _digest(gzip.decompress((work / "packed" / name).read_bytes()))
    assert packed == expected
    assert sorted(item.name for item in (work / "packed").iterdir()) == sorted(expected)
    assert Counter((work / "ledger").read_text().split()) == Counter(
        str(number) for number in range(len(everything))
    )
    runs = Counter(len(queue.attempts(job)) for job in ids)
    assert runs == {1: _FILES - len(flaky), 2: len(flaky), 3: len(missing)}
