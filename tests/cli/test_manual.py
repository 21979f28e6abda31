"""The manual pages that the wheel installs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from queuectl.cli import manual, topics
from queuectl.cli.app import SECTIONS
from queuectl.cli.manual import pages
from queuectl.cli.markdown import Code, parse
from queuectl.cli.roff import escaped, marked
from support.commands import commands
from support.pages import calls_in, parse_call


def _examples() -> list[str]:
    blocks = parse(manual._EXAMPLES)
    return [line for block in blocks if isinstance(block, Code) for line in block.lines]


PAGES = pages(date="2026-01-31")


def test_there_is_a_page_for_queuectl_and_for_each_command_and_topic() -> None:
    """Their paths are those below share/man."""
    of_commands = [f"man1/queuectl-{name.replace(' ', '-')}.1" for name in commands()]
    of_topics = [f"man7/queuectl-{name}.7" for name in topics.topics()]

    assert list(PAGES) == ["man1/queuectl.1", *of_commands, *of_topics]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_can_be_found_by_its_name(path: str) -> None:
    """The line below NAME is what `whatis` and `apropos` print."""
    lines = PAGES[path].splitlines()
    name = path.partition("/")[2].rpartition(".")[0]

    assert lines[0].startswith(f".TH {name.upper()} ".replace("-", r"\-"))
    assert " 2026-01-31 " in lines[0]
    assert lines[lines.index(".SH NAME") + 1].startswith(name.replace("-", r"\-") + r" \- ")
    assert {".nh", ".ad l"} <= set(lines)


def test_every_command_is_on_the_page() -> None:
    """Each has its own section."""
    sections = [line for line in PAGES["man1/queuectl.1"].splitlines() if line.startswith(".SS ")]

    for name in commands():
        assert [s for s in sections if s.startswith(f".SS queuectl {name} ")] != [], name


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
@pytest.mark.parametrize("path", PAGES)
def test_man_prints_no_warning(path: str, tmp_path: Path) -> None:
    """No word is hyphenated, and only code is wider than 80 columns."""
    page = tmp_path / Path(path).name
    page.write_text(PAGES[path], encoding="utf-8")

    shown = subprocess.run(
        ["man", "--warnings", "-l", str(page)],
        env={"MANWIDTH": "80", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert shown.stderr == ""
    assert "\N{HYPHEN}" not in shown.stdout
    wide = [line.strip() for line in shown.stdout.splitlines() if len(line) > 80]
    name = page.stem.partition("-")[2] if page.suffix == ".7" else ""
    code = [block for block in topics.page(name) if isinstance(block, Code)] if name else []
    assert set(wide) <= {line.strip() for block in code for line in block.lines}


def test_the_sections_of_the_page() -> None:
    """A manual page is read by its sections, and these are the usual ones."""
    lines = PAGES["man1/queuectl.1"].splitlines()
    sections = [line[len(".SH ") :] for line in lines if line.startswith(".SH ")]

    commands_by_purpose = [escaped(section.upper()) for section in SECTIONS]
    assert sections == [
        "NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", *commands_by_purpose, "JOBS",
        "TIMES AND SIZES", "FIELDS OF A JOB", "SIGNALS", "CONFIGURATION", "EXIT STATUS",
        "ENVIRONMENT", "FILES", "EXAMPLES", "SECURITY", "BUGS", "SEE ALSO",
    ]  # fmt: skip


@pytest.mark.parametrize("call", [call for text in _examples() for call in calls_in(text)])
def test_an_example_can_be_parsed(call: str) -> None:
    """The examples of the page are calls that work."""
    parse_call(call)


def test_backquotes_of_a_help_text_become_bold() -> None:
    """A manual page prints code in bold."""
    assert marked("`a-b` and `c`") == r"\fBa\-b\fR and \fBc\fR"
