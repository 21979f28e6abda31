"""The README agrees with the help and the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Iterable

import click
import pytest

import queuectl
from queuectl.cli.app import root
from queuectl.core.settings import KEYS
from queuectl.core.states import JobState
from support.commands import commands
from support.readme import BLOCKS, CHECKOUT, README, block

_OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


def _section(heading: str) -> str:
    """Return the text under a heading, up to the next heading of its level."""
    return README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def _rows(text: str) -> list[list[str]]:
    """Return the cells of all table rows."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
    ]


def _code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


LEAVES = commands()


def _options(command: click.Command) -> set[str]:
    """Return all options in the help of the command, except the help option."""
    return {
        word
        for param in command.params
        if isinstance(param, click.Option) and not param.hidden
        for word in param.opts
    } - {"-h", "--help"}


def _documented() -> dict[str, set[str]]:
    """Return the commands in the tables of the README with their options, in order."""
    commands: dict[str, set[str]] = {}
    of_enqueue: set[str] = set()
    for cells in _rows(_section("Commands")):
        words = _code(cells[0])
        if cells[0].startswith("`-"):
            of_enqueue.update(*(_OPTION.findall(word) for word in words))
        elif len(cells) == 3 and words:
            commands[words[0]] = {
                option for word in _code(cells[2]) for option in _OPTION.findall(word)
            }
    commands["enqueue"] = of_enqueue
    return commands


@pytest.mark.parametrize(("position", "heading"), [(0, "Run it"), (1, "Test it")])
def test_the_first_blocks_are_one_line_to_copy(position: int, heading: str) -> None:
    """The first block runs queuectl, the second one runs its tests."""
    block = BLOCKS[position]

    assert (block.heading, block.language) == (heading, "sh")
    assert block.text.count("\n") == 1
    assert block.text.startswith("python3 -m venv .venv && .venv/bin/pip install -q ")


def test_every_command_is_in_the_readme_once() -> None:
    """The order is that of the help."""
    cells = [row[0] for row in _rows(_section("Commands")) if len(row) == 3]
    names = [code[0] for code in map(_code, cells) if code]

    assert sorted(names) == sorted(LEAVES)
    assert _first_words(names) == _first_words(LEAVES)


def _first_words(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name.split()[0] for name in names))


def test_the_sections_of_the_commands_are_those_of_the_help() -> None:
    """Their names and their order are the same."""
    shown = re.findall(r"^(\w[\w ]+):$", root.get_help(click.Context(root)), re.MULTILINE)
    tables = [cells[0] for cells in _rows(_section("Commands")) if cells[2:] == ["Options"]]

    assert tables == [section for section in shown if section != "Options"]


@pytest.mark.parametrize("name", LEAVES)
def test_the_options_of_a_command_are_those_of_the_readme(name: str) -> None:
    """No option is missing or left over, short ones included."""
    assert _documented()[name] == _options(LEAVES[name])


def test_the_options_of_all_commands_are_in_the_readme() -> None:
    """--db, --allow-shared and --version are named once, above the tables."""
    above = _section("Commands").split("\n|", 1)[0]

    assert _options(root) <= set(_OPTION.findall(above))


def test_every_configuration_key_is_in_the_readme_with_its_default() -> None:
    """These are all keys, in the order of `config list`, and no others."""
    rows = [cells for cells in _rows(_section("Configuration")) if cells[0] != "Key"]

    assert [(_code(cells[0])[0], *_code(cells[1])) for cells in rows] == [
        (name, key.default) for name, key in KEYS.items()
    ]
    assert all(meaning for *_, meaning in rows)


def test_all_states_are_in_the_diagram() -> None:
    """No state is missing."""
    assert {state.value for state in JobState} <= set(re.findall(r"\w+", block("States", "text")))


def test_all_exit_codes_are_in_the_readme() -> None:
    """Scripts rely on them."""
    found = {int(code) for cells in _rows(_section("Exit codes"))
             for code in re.findall(r"\d+", cells[0])}  # fmt: skip

    assert found == {0, 1, 2, 3, 75, 124, 125, 126, 130, 137, 141, 143}


def test_all_variables_of_queuectl_are_in_the_readme() -> None:
    """All QUEUECTL_* in the sources are in the README; one more there is for the tests."""
    variable = re.compile(r"\b_?QUEUECTL_[A-Z][A-Z_]*")
    sources = Path(queuectl.__file__).parent.rglob("*.py")
    used = {name for path in sources for name in variable.findall(path.read_text("utf-8"))}

    assert set(variable.findall(README)) - {"QUEUECTL_TEST_LONG"} == used


@pytest.mark.skipif(not (CHECKOUT / ".github").is_dir(), reason="an unpacked sdist lacks it")
def test_the_links_of_the_readme_lead_to_files() -> None:
    """Every link to a file of the checkout has a target."""
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets

    assert [target for target in targets if not (CHECKOUT / target).exists()] == []


def _calls() -> list[str]:
    """Return every call of queuectl in the blocks and tables, quoted for the shell."""
    texts = [line for b in BLOCKS if b.language != "text" for line in b.text.splitlines()]
    for cells in _rows(README):
        texts += [word for cell in cells for word in _code(cell) if word.startswith("queuectl ")]
    calls = []
    for text in texts:
        words: list[str] | None = None
        lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for word in [*lexer, ";"]:
            if words is None:
                words = [] if re.fullmatch(r"(.*/)?queuectl", word) else None
            elif set(word) <= set("();<>|&"):
                calls.append(" ".join(map(shlex.quote, words)))
                words = None
            else:
                words.append(word)
    return list(dict.fromkeys(calls))


@pytest.mark.parametrize("call", _calls())
def test_a_call_in_the_readme_can_be_parsed(call: str) -> None:
    """It names an existing command, with options and values that it accepts."""
    words = shlex.split(call)
    if words[0] == "--db":
        del words[:2]
    command: click.Command = root
    context = click.Context(root, info_name="queuectl")
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = command.get_command(context, name)
        assert found is not None, name
        command, parent = found, context
        context = click.Context(command, info_name=name, parent=parent)

    command.make_context(name, words, parent=parent)


def test_the_calls_are_found() -> None:
    """Proof that the test above is given calls from blocks and from tables."""
    calls = _calls()

    assert len(calls) > 50
    assert {"worker start --count 4 --drain -q", "enqueue --at 18:00 make"} <= set(calls)
