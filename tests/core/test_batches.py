"""Batches: how they are named, and who serves them."""

from __future__ import annotations

import pytest

from queuectl.core.batches import is_batch, series_name, serves, start_command
from queuectl.core.values import check_queue


@pytest.mark.parametrize(
    ("words", "program"),
    [
        (["ffmpeg", "-i", "{}"], "@ffmpeg-"),
        (["A=b", "/usr/bin/gzip"], "@gzip-"),
        (["gzip -c {} > {.}.gz"], "@gzip-"),
        (["{}"], "@batch-"),
        (["A=b"], "@batch-"),
        (["-"], "@batch-"),
        (["a-program-with-a-very-long-name"], "@a-program-with-a-ver-"),
    ],
)
def test_a_series_is_named_after_its_program(words, program):
    """The name can be a queue's, and is the same each time."""
    name = series_name(words, "/folder")

    assert name.rpartition("-")[0] + "-" == program
    assert name == series_name(words, "/folder")
    assert is_batch(check_queue(name + ".17", "queue"))


def test_another_command_or_folder_is_another_series():
    """So --resume never continues something else."""
    names = {
        series_name(words, folder)
        for words in (["gzip", "{}"], ["gzip {}"], ["gzip", "-9", "{}"])
        for folder in ("/a", "/b")
    }

    assert len(names) == 6


def test_a_lane_is_served_with_its_queue() -> None:
    """A worker of all queues serves all lanes, of batches as well; one lane can be named alone."""
    assert serves((), "mail/hooks")
    assert serves(("mail",), "mail/hooks")
    assert serves(("mail/hooks",), "mail/hooks")
    assert serves(("@a.1",), "@a.1/hooks")
    assert serves((), "@a.1/hooks")
    assert not serves((), "@a.1")
    assert not serves(("web",), "mail/hooks")
    assert not serves(("mail/hooks",), "mail")


def test_workers_for_a_batch_have_to_name_it() -> None:
    """Its lane, as each lane, is served by workers that name no queue."""
    wanted = ["@a.1/hooks", "@a.1", "mail/hooks"]
    assert start_command(wanted) == "queuectl worker start --queue @a.1"
    assert start_command(["@a.1/hooks"]) == "queuectl worker start"
