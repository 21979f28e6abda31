"""The README says what is true, and its first two blocks stay what they are."""

from __future__ import annotations

import re

import pytest

from queuectl.core.states import JobState
from support.pages import CHECKOUT, README, rows


@pytest.mark.parametrize(("position", "heading"), [(0, "Run it"), (1, "Test it")])
def test_the_first_blocks_are_one_line_to_copy(position: int, heading: str) -> None:
    """The first block runs queuectl, the second one runs its tests."""
    block = README.blocks[position]

    assert (block.heading, block.language) == (heading, "sh")
    assert block.text.count("\n") == 1
    assert block.text.startswith("python3 -m venv .venv && .venv/bin/pip install -q ")


def test_all_states_are_in_the_diagram() -> None:
    """No state is missing."""
    diagram = README.block("States", "text")

    assert {state.value for state in JobState} <= set(re.findall(r"\w+", diagram))


def test_all_exit_codes_are_in_the_readme() -> None:
    """Scripts rely on them."""
    found = {int(code) for cells in rows(README.section("Exit codes"))
             for code in re.findall(r"\d+", cells[0])}  # fmt: skip

    assert found == {0, 1, 2, 3, 75, 124, 125, 126, 130, 137, 141, 143}


@pytest.mark.skipif(not (CHECKOUT / ".github").is_dir(), reason="an unpacked sdist lacks it")
def test_the_links_of_the_readme_lead_to_files() -> None:
    """Every link to a file of the checkout has a target."""
    targets = re.findall(r"\]\(([^)#]+)\)", README.text)
    assert targets

    assert [target for target in targets if not (CHECKOUT / target).exists()] == []
