"""Commands, ids, folders and variables are UTF-8 in every locale, on their way in and out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from support.queue import Queue

_UTF_8_OFF = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
_FOLDER = "dür €"


@pytest.fixture(params=["C", "ISO-8859-1"])
def queue(queue: Queue, request: pytest.FixtureRequest, tmp_path: Path) -> Queue:
    """A queue whose commands and workers run in a locale whose encoding is not UTF-8."""
    queue.in_forks = False  # a fork has the encodings of the test process
    if request.param == "C":
        queue.env.update(_UTF_8_OFF, LC_ALL="C")
        return queue
    if shutil.which("localedef") is None:
        pytest.skip("no localedef to make a locale with")
    name = f"en_US.{request.param}"
    command = ["localedef", "-f", request.param, "-i", "en_US", str(tmp_path / name)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("localedef has no sources")
    queue.env.update(_UTF_8_OFF, LC_ALL=name, LOCPATH=str(tmp_path))
    return queue


def test_what_goes_in_comes_out(queue: Queue) -> None:
    """Regression: `ls dür` was stored as `ls dÃ¼r`; the folder ended the worker with a traceback,
    again and again; a command with `€` could not be started.
    """
    folder = queue.work / _FOLDER
    folder.mkdir()
    (folder / "fïle").touch()
    queue.ok("config", "set", "capture-env", "PATH HERE")
    job = queue.ok(
        *("enqueue", "--id", "jöb", "--label", "läbel €", "--env", "GIVEN=gïven €"),
        'printf \'%s|\' € *ï* "$PWD" "$HERE" "$GIVEN" "$QUEUECTL_JOB_ID"',
        env={"HERE": "hëre €"},
        cwd=folder,
    )
    queue.drain()
    shown = queue.json("show", job, "--show-env")

    assert job == "jöb"
    assert queue.ids() == ["jöb"]
    assert queue.ok("logs", "jöb") == f"€|fïle|{folder}|hëre €|gïven €|jöb|"
    assert (shown["state"], shown["cwd"], shown["label"]) == ("completed", str(folder), "läbel €")
    assert (shown["env"]["HERE"], shown["env"]["GIVEN"]) == ("hëre €", "gïven €")
    assert "jöb completed" in queue.ok("why", "jöb")


def test_files_have_the_names_that_were_given(queue: Queue) -> None:
    """The names of the database, of exports, logs and backups are the bytes that were typed."""
    queue.env["QUEUECTL_DB"] = str(queue.work / "quëue €.db")
    queue.ok("enqueue", "--id", "jöb", 'echo "$QUEUECTL_DB"')
    assert queue.run("worker", "start", "--drain", "--log-file", "lög").code == 0
    queue.ok("export", "expört")
    queue.ok("backup", "bäckup")

    assert queue.ok("logs", "jöb") == queue.env["QUEUECTL_DB"]
    assert queue.ok("status").endswith(f"Database: {queue.env['QUEUECTL_DB']}")
    assert {"quëue €.db", "lög", "expört", "bäckup"} <= {path.name for path in queue.work.iterdir()}
    assert "jöb completed" in (queue.work / "lög").read_text(encoding="utf-8")
    assert queue.fails(1, "export", "expört") == "queuectl export: expört exists already"
    assert queue.ok("--db", "bäckup", "list", "--ids") == "jöb"


@pytest.mark.parametrize(
    "words", [("enqueue", b"echo d\xfcr"), ("enqueue", "--id", b"\xfc", "true")]
)
def test_text_of_another_encoding_is_refused(queue: Queue, words: tuple[str | bytes, ...]) -> None:
    """What is no UTF-8 could not be given to the job as it was: wrong input."""
    what = "command" if len(words) == 2 else "--id"

    assert queue.fails(2, *words) == f"queuectl enqueue: {what} is not valid UTF-8"


def test_ids_on_stdin_are_utf_8(queue: Queue) -> None:
    """What `list --ids` prints can be read again by `cancel -`."""
    queue.ok("enqueue", "--id", "jöb", "true")

    assert queue.ok("cancel", "-", stdin=queue.ok("list", "--ids")) == "jöb is cancelled"
