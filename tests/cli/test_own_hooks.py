"""The commands that a job brings along for its end: --on-success, --on-failure, --on-finish."""

from __future__ import annotations

import json

import pytest

from support.queue import Queue


def _on(queue: Queue, job: str) -> tuple[object, object, object]:
    shown = queue.json("show", job)
    return shown["on_success"], shown["on_failure"], shown["on_finish"]


def test_options_and_fields_give_a_job_hooks(queue: Queue) -> None:
    """Options beside JSON objects are defaults; a field wins."""
    options = ("--on-success", "echo good", "--on-failure", "echo bad", "--on-finish", "echo over")
    assert _on(queue, queue.enqueue("true", *options)) == ("echo good", "echo bad", "echo over")
    lines = json.dumps({"command": "true", "on_failure": "mail me"})
    job = queue.run("enqueue", "--on-finish", "x", "-", stdin=lines).out.strip()
    assert _on(queue, job) == (None, "mail me", "x")


def test_edit_and_retry_change_them(queue: Queue) -> None:
    """An empty command takes one away."""
    job = queue.enqueue("true", "--on-success", "a", "--on-failure", "b")
    queue.run("edit", "--on-success", "", "--on-finish", "c", job)
    assert _on(queue, job) == (None, "b", "c")
    queue.run("cancel", job)
    queue.run("retry", "--on-finish", "d", job)
    assert _on(queue, job) == (None, "b", "d")


@pytest.mark.parametrize("command", ["", "  "])
def test_an_empty_command_is_refused(queue: Queue, command: str) -> None:
    """An unset variable would otherwise be taken for a hook."""
    result = queue.run("enqueue", "--on-failure", command, "true")
    assert (result.code, result.err) == (2, "queuectl enqueue: --on-failure is an empty command\n")


def test_they_run_and_say_what_happened(queue: Queue) -> None:
    """Each runs as a job of its own, in the folder of its parent, and has it as JSON on stdin."""
    report = 'jq -r .type >> seen; echo "$QUEUECTL_PARENT_LABEL $QUEUECTL_PARENT_EXIT_CODE" >> seen'
    report = report.replace("jq -r .type", 'grep -o \'"type": "[a-z.]*"\'')
    label = "$(touch danger) '; touch danger"
    job = queue.enqueue(
        "exit 3", "--cwd", str(queue.work), "--label", label, "--max-retries", "1",
        "--on-success", "echo wrong >> seen", "--on-failure", report,
    )  # fmt: skip
    queue.drain(workers=1)
    assert (queue.work / "seen").read_text() == f'"type": "job.dead"\n{label} 3\n'
    assert not (queue.work / "danger").exists()
    shown = queue.run("show", job).out
    assert "@2 on-failure (completed)" in shown
    hook = queue.json("list", "--queue", "default/hooks")[0]
    assert (hook["hook"], hook["hook_of"]) == ("on-failure", 1)
    assert "on-failure of @1" in queue.run("list").out
