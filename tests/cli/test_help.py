"""The help of every command: it fits on a terminal, and says what the code does."""

from __future__ import annotations

import re

import click
import pytest

from queuectl.core.settings import KEYS
from queuectl.core.times import format_duration, parse_duration
from support.commands import commands

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
    usage, _, text = " ".join(_help(name).split()).partition("Options:")[0].partition(" [OPTIONS]")
    takes_jobs = re.search(r"\bJOB\b", text.partition(".")[0])
    short = (
        "JOB is an id (the first 4 characters of a generated id are enough), a number such as @17, "
        "or @last, @running or @failed."
    )

    assert usage.startswith("Usage: queuectl")
    assert (short in text) == bool(takes_jobs or name == "enqueue")
    assert ("- reads ids from stdin." in text) == text.startswith(" [JOB]...")


def test_an_argument_that_may_be_left_out_is_in_brackets() -> None:
    """The usage line shows whether an argument is required. (`enqueue` has a line of its own.)"""
    wrong = [
        (name, param.metavar)
        for name, command in COMMANDS.items()
        for param in command.params
        if isinstance(param, click.Argument) and name != "enqueue"
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
