"""Why a job failed, in a few words."""

from __future__ import annotations

import pytest

from queuectl.core.models import OutcomeKind
from queuectl.core.reasons import short_reason
from queuectl.runner.attempt import Command, describe_end
from queuectl.runner.exit_status import Status

_COMMAND = Command("true", "", {}, None, "", 300, 1)


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        (None, Status(3, None), "exit 3"),
        (None, Status(126, None), "exit 126 (cannot run)"),
        (None, Status(127, None), "exit 127 (not found)"),
        (None, Status(None, 9), "signal KILL"),
        (OutcomeKind.TIMEOUT, Status(None, 15), "timeout 5m"),
        (OutcomeKind.LOST, Status(None, None), "lost"),
    ],
)
def test_reasons_of_attempts(kind: OutcomeKind | None, status: Status, expected: str) -> None:
    """Each reason that an attempt can have takes few cells."""
    reason = describe_end(kind, status, _COMMAND, pid=1, seconds=1.0).reason

    assert reason is not None
    assert short_reason(reason) == expected


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("killed after 5m by its timeout; process 7 cannot be ended",
         "timeout 5m; process 7 cannot be ended"),
        ("killed by signal 99 (99)", "signal 99"),
        ("killed by SIGKILL", "killed by SIGKILL"),
        ("cwd /x is gone", "cwd /x is gone"),
        ("", ""),
    ],
)  # fmt: skip
def test_other_reasons(reason: str, expected: str) -> None:
    """What is not known stays as it is, also behind a known reason."""
    assert short_reason(reason) == expected
