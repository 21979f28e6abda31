"""Which colours are used, and when."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import queuectl
from queuectl.cli import colors
from queuectl.core.states import SIGNS, JobState
from support.held import UNTIL_GO
from support.queue import Queue
from support.screens import widest
from support.states import every_state
from support.terminal import Watch, on_terminal
from support.waiting import PATIENCE_SECONDS, wait_until

_LEGIBLE = {0, 1, 2, 31, 32}
"""Reset, bold, faint, red, green. Contrast on white in xterm: yellow 1.7, cyan 2.0; bright black on
the dark theme of Solarized: 1.0."""

_CODES = re.compile("\x1b\\[([0-9;]*)m")


def _codes(text: str) -> set[int]:
    return {int(code) for found in _CODES.findall(text) for code in found.split(";")}


@pytest.mark.parametrize("state", JobState)
def test_a_state_is_a_sign_and_a_word(state: JobState) -> None:
    """So nobody needs to see colours. The sign takes one cell on any terminal."""
    shown = _CODES.sub("", colors.signed_state(state))

    assert shown == f"{SIGNS[state]} {state.value}"
    assert widest(shown) == 2 + len(state.value)


def test_signs_differ() -> None:
    """No two states have the same one."""
    assert len(set(SIGNS.values())) == len(JobState)


@pytest.mark.parametrize(
    "words",
    [
        "list", "dlq list", "status", "queue list", "show dead", "why dead", "logs dead", "doctor",
        "check", "worker list", "config list", "help states", "enqueue true", "retry --state dead",
        "cancel --all", "prune --older-than 0", "run -j 2 sleep ::: 0 2",
        "wait --timeout 0 pending",
    ],
)  # fmt: skip
def test_only_legible_styles_are_printed(queue: Queue, words: str) -> None:
    """Never yellow, cyan or bright black; red is bold, and green is for signs and bars alone."""
    every_state(queue)

    screen = on_terminal(
        queue, *words.split(), streams="stdout stderr", env={"TERM": "xterm"}, size=(200, 50)
    ).screen

    assert _codes(screen) <= _LEGIBLE
    assert "\x1b[31m\x1b[1m" in screen or 31 not in _codes(screen)
    assert set(re.findall("\x1b\\[32m█*([^\x1b█]{2,})", screen)) == set()


def test_the_bar_of_a_run_is_green_as_far_as_it_is_done(queue: Queue) -> None:
    """It is a shape, so it needs no contrast: the part that is left has another one."""
    bar = re.compile("\x1b\\[32m█+\x1b\\[0m\x1b\\[2m░+\x1b")
    running = Watch(queue, args=["run", "-j", "2", "sh", "-c", ":::", "true", UNTIL_GO])
    try:
        wait_until(lambda: bar.search(running.screen), what="the bar")
        queue.let_go()
        assert running.process.wait(PATIENCE_SECONDS) == 0
    finally:
        running.close()


def test_colours_are_in_one_place() -> None:
    """Only `cli/colors.py` has any."""
    sources = Path(queuectl.__file__).parent.rglob("*.py")
    users = [path.name for path in sources if re.search(r"\b[fb]g=", path.read_text())]

    assert users == ["colors.py"]


@pytest.mark.parametrize(
    ("words", "env", "colored"),
    [
        ("--color always list", {}, True),
        ("list --color always", {}, True),
        ("list --color=always", {"NO_COLOR": "1", "TERM": "dumb"}, True),
        ("list --color never", {"FORCE_COLOR": "1"}, False),
        ("--color always list --color never", {}, False),
        ("list --color auto", {}, False),
        ("list --color auto", {"FORCE_COLOR": "1"}, True),
        ("dlq list --color always", {}, True),
        ("dlq --color always list", {}, True),
        ("queue list --color always", {}, True),
    ],
)
def test_the_option(queue: Queue, words: str, env: dict[str, str], colored: bool) -> None:
    """It may come before or after the command's name, and wins over the environment."""
    every_state(queue)

    assert ("\x1b" in queue.ok(*words.split(), env=env)) == colored


def test_never_holds_on_a_terminal(queue: Queue) -> None:
    """Signs are no colours: they stay."""
    every_state(queue)

    screen = on_terminal(queue, "--color", "never", "list", env={"TERM": "xterm"}).screen

    assert "\x1b" not in screen


def test_a_wrong_value(queue: Queue) -> None:
    """The error names the option and its values."""
    assert queue.fails(2, "list", "--color", "blue").startswith(
        "queuectl list: invalid value for '--color': 'blue' is not one of 'auto', 'always', 'never'"
    )
