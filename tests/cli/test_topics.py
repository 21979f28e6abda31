"""The topics of `queuectl help`: pages that agree with the code."""

from __future__ import annotations

import re
from typing import Iterator

import click
import pytest

from queuectl.cli import markdown, topics
from queuectl.cli.app import root
from queuectl.core.models import OutcomeKind
from queuectl.core.settings import KEYS
from support.commands import commands
from support.pages import CHECKOUT, leads_to_a_file

TOPICS = topics.topics()
PAGES = {path.stem: path.read_text("utf-8") for path in topics.FOLDER.glob("*.md")}
"""Every page, with the index."""
BLOCKS = {name: markdown.parse(text) for name, text in PAGES.items()}
_COMMANDS = commands(groups=True)
_OPTIONS = {
    word
    for command in _COMMANDS.values()
    for param in command.params
    if isinstance(param, click.Option)
    for word in (*param.opts, *command.get_help_option_names(click.Context(command)))
} | {"--help", "-h"}
_WIDEST_CODE = 70
"""A manual page of 80 columns indents code by 9."""


def _spans(name: str, kind: str) -> Iterator[markdown.Span]:
    for block in BLOCKS[name]:
        for text in markdown.texts_of(block):
            yield from (span for span in text if span.kind == kind)


def _code(name: str) -> Iterator[markdown.Code]:
    return (block for block in BLOCKS[name] if isinstance(block, markdown.Code))


def test_the_index_lists_every_page_once() -> None:
    """A page without a line in the index would be found by nobody."""
    listed = [span.target for span in _spans("README", "link")]

    assert listed == [f"{name}.md" for name in TOPICS]
    assert sorted(TOPICS) == sorted(PAGES.keys() - {"README"})


def test_a_topic_has_the_name_of_no_command() -> None:
    """`queuectl help NAME` means one thing."""
    assert TOPICS.keys() & root.list_commands(click.Context(root)) == set()
    assert [name for name in TOPICS if not re.fullmatch("[a-z]+(-[a-z]+)*", name)] == []


@pytest.mark.parametrize("topic", TOPICS.values(), ids=str)
def test_a_summary_is_a_short_phrase(topic: topics.Topic) -> None:
    """It fits on a line of the list, and manual pages print it after the name."""
    assert topic.section
    assert re.fullmatch(r"[^.]{10,60}", topic.summary)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_one_title(name: str) -> None:
    """It is the first line."""
    headings = [block for block in BLOCKS[name] if isinstance(block, markdown.Heading)]

    assert BLOCKS[name][0] == headings[0]
    assert [heading.level for heading in headings].count(1) == 1


@pytest.mark.parametrize("name", PAGES)
def test_links_between_pages_lead_to_topics(name: str) -> None:
    """Any other link leads to a website, or to a file of the checkout."""
    targets = {span.target for span in _spans(name, "link")}

    others = {target for target in targets if topics.topic_of_link(target) not in TOPICS}
    files = {target for target in others if not target.startswith("https://")}
    assert {target for target in files if not target.startswith("../../")} == set()
    if (CHECKOUT / ".github").is_dir():  # an unpacked sdist lacks it
        assert {target for target in files if not leads_to_a_file("queuectl/help", target)} == set()


@pytest.mark.parametrize("name", PAGES)
def test_code_fits_a_manual_page(name: str) -> None:
    """Lines of code are never filled. (A line of a crontab has the length that it needs.)"""
    lines = [line for code in _code(name) if code.language == "text" for line in code.lines]

    assert [line for line in lines if len(line) > _WIDEST_CODE] == []


@pytest.mark.parametrize("name", PAGES)
def test_options_on_a_page_exist(name: str) -> None:
    """`--option` in a sentence is an option of some command."""
    if name == "coming-from":
        return  # it names options of other programs
    words = (span.text.split()[0].partition("=")[0] for span in _spans(name, "code"))
    named = {word for word in words if re.match(r"--?[a-zA-Z]", word)}

    assert named - _OPTIONS == set()


@pytest.mark.parametrize("name", PAGES)
def test_keys_on_a_page_exist(name: str) -> None:
    """`two-words` in a sentence are a key of the configuration."""
    named = {s.text for s in _spans(name, "code") if re.fullmatch("[a-z]+(-[a-z]+)+", s.text)}
    explained = {span.text for table in _tables(name) for row in table.rows for span in row[0]}
    outcomes = {kind.value for kind in OutcomeKind}

    assert named - KEYS.keys() - explained - outcomes - {"nightly-backup", "by-hand"} == set()


def _tables(name: str) -> Iterator[markdown.Table]:
    return (block for block in BLOCKS[name] if isinstance(block, markdown.Table))
