"""The README and the help topics agree with the commands and the code."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

import queuectl
from queuectl.core.retry import MAX_INTERRUPTIONS
from queuectl.core.settings import KEYS
from queuectl.storage.database import WAIT_SECONDS
from queuectl.worker import start
from support.commands import commands
from support.pages import CHECKOUT, PAGES, README, TOPICS, calls_in, code, parse_call

LEAVES = commands()
_DEMO = CHECKOUT / ".ci" / "demo.py"
_WORDS = {3: "three", 10: "ten"}
_DEFAULT_DELAYS = [float(KEYS["backoff-base"].default) ** retry for retry in (1, 2)]


def _calls() -> list[str]:
    """Return every call of queuectl in the blocks, tables and sentences, and in the demo."""
    calls = []
    for page in PAGES:
        texts = [
            line
            for block in page.blocks
            if block.language not in ("text", "console")
            for line in block.text.splitlines()
        ]
        texts += [
            line[2:]
            for block in page.blocks
            if block.language == "console"
            for line in block.text.splitlines()
            if line.startswith("$ ")
        ]
        outside = re.sub(r"^```.*?^```$", "", page.text, flags=re.MULTILINE | re.DOTALL)
        texts += [
            word.replace("\\|", "|") for word in code(outside) if word.startswith("queuectl ")
        ]
        calls += [call for text in texts for call in calls_in(text)]
    if _DEMO.exists():  # an unpacked sdist lacks it
        typed = re.findall(r"Step\(\s*\"([^\"]+)\"", _DEMO.read_text("utf-8"))
        calls += [call for command in typed for call in calls_in(command)]
    known = {name.split()[0] for name in LEAVES} | {"--db", "--version"}
    return [call for call in dict.fromkeys(calls) if call.split(" ")[0] in known]


def _options(command: click.Command) -> list[click.Option]:
    """Return the options in the help of a command."""
    return [
        param for param in command.params if isinstance(param, click.Option) and not param.hidden
    ]


@pytest.mark.parametrize("call", _calls())
def test_a_call_on_a_page_can_be_parsed(call: str) -> None:
    """It names an existing command, with options and values that it accepts."""
    parse_call(call)


def test_the_calls_are_found() -> None:
    """Proof that the test above is given calls from blocks, from tables and from sentences."""
    calls = _calls()

    assert len(calls) > 50
    assert {
        "logs @failed",
        "worker start --count 4 --detach",
        "enqueue --at 18:00 make",
        "config list",
    } <= set(calls)


@pytest.mark.parametrize("name", commands(groups=True))
def test_every_command_and_every_option_has_a_help_text(name: str) -> None:
    """The help is the reference: no page lists the options a second time."""
    command = commands(groups=True)[name]
    texts = [command.help or "", *(option.help or "" for option in _options(command))]

    assert [text for text in texts if not re.match(r"[A-Z].*\.", text, re.DOTALL)] == []


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_is_used_on_a_page(name: str) -> None:
    """Whoever reads the pages meets every command once, in a call that works."""
    assert any(f"{call} ".startswith(f"{name} ") for call in _calls())


def test_every_configuration_key_is_in_its_topic_with_its_default() -> None:
    """These are all keys, in the order of `config list`, and no others; each is explained."""
    topic = TOPICS["configuration"]
    rows = [cells for cells in topic.rows if cells[0] != "Key"]

    assert [(code(cells[0])[0], *code(cells[1])) for cells in rows] == [
        (name, key.default) for name, key in KEYS.items()
    ]
    assert all(cells[2] for cells in rows)
    explained = re.findall(r"^- `([\w-]+)`: ", topic.text, re.MULTILINE)
    assert sorted(explained) == sorted(KEYS)


def test_all_variables_of_queuectl_are_on_a_page() -> None:
    """All QUEUECTL_* in the sources are on a page, and no others are."""
    variable = re.compile(r"\b_?QUEUECTL_[A-Z][A-Z_]*")
    sources = Path(queuectl.__file__).parent.rglob("*.py")
    used = {name for path in sources for name in variable.findall(path.read_text("utf-8"))}
    named = {name for page in PAGES for name in variable.findall(page.text)}

    assert named == used


def test_all_promises_are_in_their_topic() -> None:
    """There are twelve, by their numbers, and the README has seven lines of them."""
    topic = TOPICS["promises"].text
    numbers = re.findall(r"^## P(\d+): \w", topic, re.MULTILINE)

    assert numbers == [str(number) for number in range(1, 13)]
    assert len(re.findall(r"^- ", README.section("Promises"), re.MULTILINE)) == 7


@pytest.mark.parametrize(
    ("topic", "sentence"),
    [
        ("promises", f"interrupted {_WORDS[MAX_INTERRUPTIONS]} times in a row"),
        ("troubleshooting", f"held the lock of the database for {WAIT_SECONDS:g} seconds"),
        ("troubleshooting", f"needs {start._DESCRIPTORS} open files and one more for each worker"),
        ("troubleshooting", f"tried {_WORDS[int(KEYS['max-retries'].default)]} times in all"),
        ("troubleshooting", f"are kept ({KEYS['output-limit'].default.replace('MiB', ' MiB')})"),
        ("scripts", f"the queue was locked for {WAIT_SECONDS:g} seconds"),
        ("coming-from", f"and tried {_WORDS[int(KEYS['max-retries'].default)]} times"),
        ("recipes", f"deleted after {KEYS['retention'].default.replace('d', ' days')}"),
        ("cron", "retried after {:g} and {:g} seconds".format(*_DEFAULT_DELAYS)),
    ],
)
def test_numbers_in_a_guide_are_those_of_the_code(topic: str, sentence: str) -> None:
    """A limit or default that changes has to be changed in the guides, too."""
    assert sentence in " ".join(TOPICS[topic].text.split())
