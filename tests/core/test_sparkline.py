"""Numbers as bars."""

from __future__ import annotations

import pytest

from queuectl.core.sparkline import sparkline


@pytest.mark.parametrize(
    ("values", "bars", "digits"),
    [
        ([], "", ""),
        ([0, 0], "▁▁", "00"),
        ([1, 2, 4, 8], "▂▃▅█", "2359"),
        ([0.001, 0, 1000], "▂▁█", "109"),
        ([3, 3], "██", "99"),
    ],
)
def test_bars(values: list[float], bars: str, digits: str) -> None:
    """The largest number has the highest bar; only 0 has the lowest one."""
    assert sparkline(values) == bars
    assert sparkline(values, ascii_only=True) == digits
