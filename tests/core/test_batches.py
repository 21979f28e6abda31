"""Batches: how they are named, and who serves them."""

from __future__ import annotations

import pytest

from queuectl.core.batches import is_batch, series_name
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
