"""Functions that run at the same time in forks of the test process, and their results."""

from __future__ import annotations

import json
import os
import select
import signal
import time
import traceback
from typing import Any, Callable, NoReturn, Sequence

import pytest


def in_processes(parts: Sequence[Callable[[], Any]], timeout: float = 60) -> list[Any]:
    """Run each function in a process of its own; return their results in the same order.

    They start together, once all processes exist. No connection may be open in this process.
    Results pass through JSON; an exception fails the test with its traceback.
    """
    gate, opener = os.pipe()
    readers: list[int] = []
    pids: list[int] = []
    for part in parts:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(opener)
            os.close(reader)
            _answer(part, gate, writer)
        os.close(writer)
        readers.append(reader)
        pids.append(pid)
    os.close(gate)
    os.close(opener)
    answers = _collect(readers, timeout)
    for pid in pids:
        if len(answers) < len(readers):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    if len(answers) < len(readers):
        pytest.fail(f"{len(readers) - len(answers)} of {len(parts)} processes hang")
    results = [json.loads(answers[reader]) for reader in readers]
    errors = [result["error"] for result in results if "error" in result]
    if errors:
        pytest.fail(f"{len(errors)} of {len(parts)} processes failed, the first so:\n{errors[0]}")
    return [result["value"] for result in results]


def _answer(part: Callable[[], Any], gate: int, writer: int) -> NoReturn:
    try:
        os.read(gate, 1)
        answer = {"value": part()}
    except BaseException:  # noqa: BLE001 (the parent fails with its traceback)
        answer = {"error": traceback.format_exc()}
    with open(writer, "w") as stream:
        json.dump(answer, stream)
    os._exit(0)


def _collect(readers: Sequence[int], timeout: float) -> dict[int, bytes]:
    deadline = time.monotonic() + timeout
    answers: dict[int, bytes] = {}
    texts = dict.fromkeys(readers, b"")
    while len(answers) < len(readers):
        open_ones = [reader for reader in readers if reader not in answers]
        ready = select.select(open_ones, [], [], max(0.0, deadline - time.monotonic()))[0]
        if not ready:
            break
        for reader in ready:
            chunk = os.read(reader, 1 << 16)
            texts[reader] += chunk
            if not chunk:
                answers[reader] = texts[reader]
    for reader in readers:
        os.close(reader)
    return answers
