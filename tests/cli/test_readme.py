"""The README agrees with the help and the code, and its examples work as pasted."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterable, NamedTuple

import click
import pytest

import queuectl
from queuectl.cli.app import root
from queuectl.core.settings import KEYS
from queuectl.core.states import JobState
from support.calls import COMMAND
from support.commands import commands
from support.queue import Queue
from support.waiting import wait_until

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
_OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


class Block(NamedTuple):
    """A fenced block with the heading above it."""

    heading: str
    language: str
    text: str


def _blocks() -> list[Block]:
    pattern = re.compile(
        r"^#+ (?P<heading>[^\n]+)$|^```(?P<language>\w*)\n(?P<text>.*?)^```$",
        re.MULTILINE | re.DOTALL,
    )
    found, heading = [], ""
    for match in pattern.finditer(README):
        if match["heading"] is not None:
            heading = match["heading"]
        else:
            found.append(Block(heading, match["language"], match["text"]))
    return found


BLOCKS = _blocks()


def _block(heading: str, language: str = "sh") -> str:
    """Return the only block of a language under a heading."""
    found = [b.text for b in BLOCKS if (b.heading, b.language) == (heading, language)]
    assert len(found) == 1, (heading, found)
    return found[0]


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
    assert {state.value for state in JobState} <= set(re.findall(r"\w+", _block("States", "text")))


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


def _sh(queue: Queue, script: str, *, cwd: Path | None = None, **env: str) -> Any:
    """Run a script as if it was pasted into a shell."""
    return subprocess.run(
        ["sh", "-c", script],
        cwd=str(cwd or queue.work),
        env={**queue.env, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _stub(queue: Queue, name: str, script: str) -> str:
    """Make a program; return a PATH on which it is found."""
    folder = queue.folder / "bin"
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"{folder}:{queue.env['PATH']}"


def test_the_quick_start_works(queue: Queue) -> None:
    """Its lines do what the comments beside them say, with workers in another terminal."""
    queue.ok("config", "set", "backoff-max", "0.05")
    lines = [line for line in _block("Quick start").splitlines() if line.startswith("queuectl")]
    enqueued, start, looks = lines[:3], lines[3], lines[4:]
    ids = [_sh(queue, line).stdout.strip() for line in enqueued]

    assert start == "queuectl worker start --count 2"
    workers = queue.start(workers=2)
    queue.until(ids[2], "dead")
    queue.until(ids[1], "completed")
    shown = [_sh(queue, line) for line in looks]
    workers.send_signal(signal.SIGINT)

    assert workers.wait(30) == 0
    assert [(done.returncode, done.stderr) for done in shown] == [(0, "")] * 3
    assert re.search(r"Completed: +2\n", shown[0].stdout)
    assert [line.split()[0] for line in shown[1].stdout.splitlines()[1:]] == ids
    assert [line.split()[0] for line in shown[2].stdout.splitlines()[1:]] == [ids[2]]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="it calls sha256sum")
def test_the_real_example_works(queue: Queue) -> None:
    """As pasted: 2 of 200 jobs die, are repaired and retried, and the checksums match."""
    done = _sh(queue, "set -e\n" + _block("A real example"), TMPDIR=str(queue.folder))

    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    dead = [row.split()[0] for row in rows[1:3]]
    assert [" ".join(row.split()[4:]) for row in rows[1:3]] == [
        f"exit 1 gzip -f 'tree/file {number}'" for number in _numbers(rows[1:3])
    ]
    assert sorted(_numbers(rows[1:3])) == [77, 177]
    assert rows[3:5] == [f"{job} is pending again" for job in dead]
    assert "  Total:          200" in rows
    assert "  100.0% (200/200)" in rows
    assert rows[-1] == "all 200 files are intact"


def _numbers(rows: list[str]) -> list[int]:
    return [int(re.findall(r"file (\d+)", row)[0]) for row in rows]


def _crontab() -> list[str]:
    """Return the commands of the crontab lines that call queuectl, as cron passes them to sh."""
    lines = [
        line
        for block in BLOCKS
        if block.language == "crontab"
        for line in block.text.splitlines()
        if " queuectl " in line
    ]
    return [line.split(None, 5)[5].replace("\\%", "%") for line in lines]


def test_the_crontab_lines_print_nothing_on_success(queue: Queue) -> None:
    """Prevents that `enqueue -q --wait` warns about missing workers, which cron would mail."""
    nightly, workers, archive = _crontab()
    path = _stub(queue, "backup", "echo backing up; echo done >> ledger")
    waiting = subprocess.Popen(
        ["sh", "-c", nightly],
        cwd=str(queue.work),
        env={**queue.env, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with waiting:
        wait_until(lambda: queue.exists() and queue.counts(), what="the job")
        ran = _sh(queue, workers)
        said, _ = waiting.communicate(timeout=60)
    archived = _sh(queue, archive)

    assert (waiting.returncode, said) == (0, b"")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert (queue.work / "ledger").read_text() == "done\n"
    assert (archived.returncode, archived.stdout, archived.stderr) == (0, "", "")
    assert re.fullmatch(
        r"tar czf /var/backups/home-\d{4}-\d\d-\d\d\.tgz /home",
        queue.json("list", "--state", "pending")[0]["command"],
    )


def test_the_crontab_line_reports_a_failure(queue: Queue) -> None:
    """After 3 attempts it prints the output of the last one and the reason."""
    nightly, workers, _ = _crontab()
    path = _stub(queue, "backup", "echo run >> ledger; echo disk full >&2; exit 3")
    queue.ok("config", "set", "backoff-max", "0.05")
    pool = queue.start()
    failed = _sh(queue, nightly, PATH=path)
    again = _sh(queue, workers)
    pool.send_signal(signal.SIGTERM)

    assert pool.wait(30) == 0
    assert (failed.returncode, failed.stdout) == (3, "disk full\n")
    assert re.fullmatch(r"queuectl enqueue: [0-9a-f]{12} is dead: exit 3\n", failed.stderr)
    assert (queue.work / "ledger").read_text() == "run\n" * 3
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_the_examples_for_shells_work(queue: Queue) -> None:
    """Many jobs, dependencies, waiting, monitoring and workers in the background."""
    bulk, after, wait, check, background = [
        b.text for b in BLOCKS if (b.heading, b.language) == ("Shells and cron", "sh")
    ]
    path = _stub(queue, "make", 'echo "make $*" >> made')
    queue.ok("config", "set", "backoff-max", "0.05")

    stored = [_sh(queue, script, PATH=path) for script in (bulk, after)]
    queue.start(workers=2)
    waited = _sh(queue, wait)
    queue.ok("wait", "--all", "--timeout", "30")
    checked = _sh(queue, check)
    detached = _sh(queue, background)

    assert [(done.returncode, done.stderr) for done in stored] == [(0, ""), (0, "")]
    assert [len(done.stdout.split()) for done in stored] == [11, 2]
    assert waited.stdout == "it ended with 3\n"
    assert waited.returncode == 0
    pages = {f"page-{number}.txt": f"page {number}\n" for number in range(1, 10)}
    made = {path.name: path.read_text() for path in queue.work.glob("page-*")}
    assert made == pages
    assert {path.name for path in queue.work.iterdir()} == {*pages, "build-ended", "made"}
    assert (queue.work / "made").read_text() == "make \nmake install\n"
    assert checked.returncode == 2
    assert checked.stdout.startswith("QUEUECTL CRITICAL - 1 dead job (limit 0) | dlq=1;;0;0 ")
    assert (detached.returncode, detached.stderr) == (0, "")
    assert detached.stdout.splitlines()[1].startswith("stopped ")
    assert queue.json("worker", "list") == []


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is there only")
def test_the_unit_tells_systemd_when_its_workers_are_ready(queue: Queue) -> None:
    """READY=1 is sent when jobs can run, and after TERM the exit code is 0."""
    unit = dict(line.split("=", 1) for line in _block("Shells and cron", "ini").splitlines()
                if "=" in line)  # fmt: skip
    program, *arguments = shlex.split(unit["ExecStart"])
    assert (unit["Type"], unit["KillMode"]) == ("notify", "mixed")
    assert Path(program).name == Path(COMMAND).name
    address = str(queue.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service_manager:
        service_manager.bind(address)
        service_manager.settimeout(30)
        service = queue.spawn(*arguments, env={"NOTIFY_SOCKET": address})
        told = service_manager.recv(100)
    workers = queue.json("worker", "list")
    service.send_signal(signal.SIGTERM)

    assert told == b"READY=1"
    assert len(workers) == 2
    assert service.wait(30) == 0
