"""How long a worker pauses while the host cannot start processes."""

from __future__ import annotations

from queuectl.worker.pausing import Pause


def test_pauses_grow_to_a_minute_until_a_job_starts() -> None:
    """The reason is shown once, and taken back once."""
    shown: list[str | None] = []
    pause = Pause(shown.append)
    pause.end()
    lengths = []
    for _ in range(8):
        pause.begin("no processes")
        lengths.append(round(pause.left_seconds()))
    pause.end()
    assert pause.left_seconds() == 0
    pause.begin("no processes")

    assert lengths == [1, 2, 4, 8, 16, 32, 60, 60]
    assert round(pause.left_seconds()) == 1
    assert shown == ["cannot start jobs: no processes", None, "cannot start jobs: no processes"]
