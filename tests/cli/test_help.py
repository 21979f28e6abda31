"""The help of every command: it fits on a terminal, and says what the code does."""

from __future__ import annotations

import re

import click
import pytest

from queuectl.cli.help_layout import JOB
from queuectl.core.settings import KEYS
from queuectl.core.states import UNFINISHED_STATES, JobState
from queuectl.core.times import format_duration, parse_duration
from support.commands import commands
from support.pages import calls_in, parse_call

COMMANDS = commands(groups=True)
GROUPS = [name for name, command in COMMANDS.items() if isinstance(command, click.Group)]


def _help(name: str) -> str:
    """Return the help of a command as a terminal of 80 columns shows it."""
    context = click.Context(COMMANDS[name], info_name=f"queuectl {name}".strip(), terminal_width=80)
    return COMMANDS[name].get_help(context)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_80_columns(name: str) -> None:
    """No line is longer, and click cuts no summary of a command."""
    lines = _help(name).splitlines()

    assert [line for line in lines if len(line) > 80] == []
    assert [line for line in lines if line.endswith("...") and "Usage:" not in line] == []


@pytest.mark.parametrize("name", GROUPS)
def test_a_summary_of_a_command_is_one_line(name: str) -> None:
    """The list of commands has one line for each of them."""
    listed = _help(name).partition("Show this message and exit.\n")[2].splitlines()

    assert [line for line in listed if line.startswith("   ")] == []
    assert len([line for line in listed if line.startswith("  ")]) >= 3


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_takes_jobs_says_how_to_name_them(name: str) -> None:
    """Four characters of a generated id are enough; `-` reads ids where several may be given."""
    text = " ".join(_help(name).split())
    usage = _help(name).splitlines()[0]
    metavars = " ".join(param.metavar or "" for param in COMMANDS[name].params)

    assert usage.startswith("Usage: queuectl")
    assert (f" JOB {JOB}" in text) == bool(re.search(r"\bJOB\b", metavars))
    assert (f" JOB {JOB}; - means jobs from stdin." in text) == ("[JOB]..." in usage)


@pytest.mark.parametrize("name", COMMANDS)
def test_words_that_stand_for_a_value_are_explained(name: str) -> None:
    """DURATION, TIME and STATE are written in more ways than a reader can guess."""
    values = _help(name).partition("\nValues:\n")[2]

    for param in COMMANDS[name].params:
        for word in ("DURATION", "TIME", "STATE", "WARN", "CRIT"):
            if word in re.findall("[A-Z]+", param.metavar or "") and not param.hidden:
                assert word in values
    assert not re.search(r"\[x?<|[<>]=", _help(name))


def test_the_states_are_named() -> None:
    """All of them, so that nobody has to provoke an error to learn them."""
    assert _states("list") == [state.value for state in JobState]
    assert _states("cancel") == [state.value for state in UNFINISHED_STATES]
    assert _states("dlq retry") == ["dead"]


def _states(name: str) -> list[str]:
    return re.findall(r"[a-z]+", _help(name).rpartition("STATE   ")[2].partition(".\n")[0])


@pytest.mark.parametrize("name", commands())
def test_a_command_shows_examples(name: str) -> None:
    """They can be parsed, and end the text above the options."""
    text = _help(name).partition("\n  Examples:\n")[2].partition("\n\n")[0]
    lines = text.splitlines()
    calls = [call for line in lines for call in calls_in(line.strip().partition("   ")[0])]

    assert [line for line in lines if not line.startswith("    ")] == []
    assert calls
    for call in calls:
        parse_call(call)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_short_option_has_a_long_form(name: str) -> None:
    """A script reads better with long forms."""
    short = [
        param.opts
        for param in COMMANDS[name].params
        if isinstance(param, click.Option) and not param.opts[-1].startswith("--")
    ]

    assert short == []


@pytest.mark.parametrize("name", ["enqueue", "edit", "worker start", "list", "dlq list"])
def test_options_are_grouped_by_purpose(name: str) -> None:
    """Only a few options belong to no section, and these come last."""
    titles = re.findall(r"^(\w.*):$", _help(name), re.MULTILINE)
    options = _help(name).partition("Other options:\n")[2].partition("\n\n")[0]

    assert len(titles) >= 3
    assert [title for title in titles if title != "Values"][-1] == "Other options"
    assert set(re.findall(r"--[a-z-]+", options)) <= {"--quiet", "--help"}


def _is_hidden(group: click.Group, word: str) -> bool:
    command = group.get_command(click.Context(group), word)
    return command is not None and command.hidden


def test_commands_of_a_group_are_in_the_order_of_use() -> None:
    """Not in that of the alphabet, in which `start` would come after `list`."""
    context = click.Context(COMMANDS["worker"])
    orders = {
        name: [word for word in command.list_commands(context) if not _is_hidden(command, word)]
        for name, command in COMMANDS.items()
        if name and isinstance(command, click.Group)
    }

    assert orders == {
        "schedule": "add list show next run pause resume remove tick import export".split(),
        "worker": ["start", "stop", "scale", "unit", "list"],
        "queue": ["list", "pause", "resume", "limit"],
        "hook": "add list show remove pause resume test rotate".split(),
        "dlq": ["list", "retry", "purge"],
        "config": ["list", "get", "set", "unset"],
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_no_line_breaks_at_a_hyphen(name: str) -> None:
    """An option or a key would be torn apart. (Only a dash, or `-` for stdin, ends a line.)"""
    assert re.findall(r"[\w]-\n", _help(name)) == []


def test_an_argument_that_may_be_left_out_is_in_brackets() -> None:
    """The usage line shows whether an argument is required. (Commands have lines of their own.)"""
    wrong = [
        (name, param.metavar)
        for name, command in COMMANDS.items()
        for param in command.params
        if isinstance(param, click.Argument) and name not in ("enqueue", "run")
        and (param.metavar or "").startswith("[") == param.required
    ]  # fmt: skip

    assert wrong == []


@pytest.mark.parametrize(
    ("name", "option", "key"),
    [
        ("enqueue", "--max-retries", "max-retries"),
        ("enqueue", "--timeout", "job-timeout"),
        ("prune", "--older-than", "retention"),
    ],
)
def test_the_help_names_the_default_of_the_configuration(name: str, option: str, key: str) -> None:
    """A default that is changed in the settings has to be changed in the help, too."""
    found = next(param for param in COMMANDS[name].params if option in param.opts)
    assert isinstance(found, click.Option)
    default = KEYS[key].default
    if key != "max-retries":
        default = format_duration(parse_duration(default))

    assert re.search(rf"\(default: {default}\b", found.help or "")
