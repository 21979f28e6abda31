"""Commands that begin and end alike."""

from __future__ import annotations

from queuectl.cli.similar import Similar

_CLIPS = [f"ffmpeg -i '/data/2026/clip {n:03}.mkv' -c:v libx264 -crf 20 out.mp4" for n in range(9)]


def test_the_common_beginning_is_shortened_first() -> None:
    """As much as needed, up to the last word or folder that all have in common."""
    similar = Similar(_CLIPS, 56)

    assert [similar.shorten(command) for command in _CLIPS[:2]] == [
        "ffmpeg -i '/data/2…000.mkv' -c:v libx264 -crf 20 out.mp4",
        "ffmpeg -i '/data/2…001.mkv' -c:v libx264 -crf 20 out.mp4",
    ]


def test_the_common_end_is_shortened_next() -> None:
    """Some of both is kept, so that the commands are still known by them."""
    similar = Similar(_CLIPS, 30)

    assert similar.shorten(_CLIPS[5]) == "ffmpeg …005.mkv' -c:v libx264…"


def test_commands_that_fit_are_not_changed() -> None:
    """There is nothing to gain."""
    similar = Similar(_CLIPS, 80)

    assert [similar.shorten(command) for command in _CLIPS] == _CLIPS


def test_other_programs_are_another_matter() -> None:
    """One command that differs does not keep the others from being shortened."""
    similar = Similar([*_CLIPS, "make all", "exit 3", "exit 3"], 30)

    assert similar.shorten("make all") == "make all"
    assert similar.shorten("exit 3") == "exit 3"
    assert similar.shorten(_CLIPS[5]) == "ffmpeg …005.mkv' -c:v libx264…"


def test_a_later_command_that_differs_stays_whole() -> None:
    """The commands of the first page decide what is common."""
    similar = Similar(_CLIPS, 30)

    assert similar.shorten("ffmpeg -version") == "ffmpeg -version"
