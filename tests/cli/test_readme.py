"""The README says what is true, and its first two blocks stay what they are."""

from __future__ import annotations

import html
import re

import pytest

from support.pages import CHECKOUT, README, TOPICS, leads_to_a_file

_DEMO = CHECKOUT / ".ci" / "demo.py"


@pytest.mark.parametrize(("position", "heading"), [(0, "Run it"), (1, "Test it")])
def test_the_first_blocks_are_one_line_to_copy(position: int, heading: str) -> None:
    """The first block runs queuectl, the second one runs its tests."""
    block = README.blocks[position]

    assert (block.heading, block.language) == (heading, "sh")
    assert block.text.count("\n") == 1
    assert block.text.startswith("python3 -m venv .venv && .venv/bin/pip install -q ")


def test_the_readme_is_short() -> None:
    """It is the face of the project; the topics are the reference."""
    assert len(README.text.splitlines()) <= 200


def test_every_topic_is_in_the_readme() -> None:
    """Its last section is the index of all topics."""
    linked = re.findall(r"\(queuectl/help/([\w-]+)\.md\)", README.section("Documentation"))

    assert sorted(linked) == sorted(TOPICS)


def test_the_speed_in_the_readme_is_that_of_the_last_run() -> None:
    """Whoever refreshes the tables of the benchmark refreshes this sentence, too."""
    page = (CHECKOUT / "tests" / "benchmarks" / "README.md").read_text("utf-8")
    rate, ratio = re.findall(
        r"^\| drain, durability full, workers: 2 \| ([\d,]+) jobs/s \| ([\d.]+) of",
        page,
        re.MULTILINE,
    )[0]

    assert f"runs {rate} jobs per second" in " ".join(README.text.split())
    assert f"{ratio} of what `xargs -P2` does" in " ".join(README.text.split())


@pytest.mark.skipif(not (CHECKOUT / ".github").is_dir(), reason="an unpacked sdist lacks it")
def test_the_links_of_the_readme_lead_to_files() -> None:
    """Every link to a file of the checkout has a target."""
    targets = re.findall(r"\]\(([^)#]+)\)", README.text)
    assert targets

    assert [target for target in targets if not leads_to_a_file(".", target)] == []


def test_the_links_inside_the_readme_lead_to_headings() -> None:
    """A heading that is renamed is renamed in the links, too."""
    headings = re.findall(r"^#+ (.+)$", README.text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}

    assert set(re.findall(r"\]\(#([^)]+)\)", README.text)) <= anchors


@pytest.mark.skipif(not _DEMO.exists(), reason="an unpacked sdist lacks it")
def test_the_picture_shows_the_session_of_its_script() -> None:
    """Each command that the script types is in the picture, and no script is."""
    picture = (CHECKOUT / ".github" / "demo.svg").read_text("utf-8")
    typed = re.findall(r"^    Step\(\s*\"([^\"]+)\"", _DEMO.read_text("utf-8"), re.MULTILINE)
    shown = html.unescape(picture)

    assert len(typed) >= 8
    assert [command for command in typed if f">$ {command}<" not in shown] == []
    assert "<script" not in picture
    assert "prefers-color-scheme:dark" in picture
