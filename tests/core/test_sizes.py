"""How numbers of bytes look to people."""

from __future__ import annotations

import pytest

from queuectl.core.sizes import size


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (20, "20 B"),
        (1023, "1,023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (10188, "9.9 KiB"),
        (10189, "10 KiB"),
        (1024 * 1023, "1,023 KiB"),
        (1024 * 1024 - 1, "1.0 MiB"),
        (13 << 20, "13 MiB"),
        (74 << 30, "74 GiB"),
        (5 << 50, "5,120 TiB"),
    ],
)
def test_a_size_has_a_unit(count: int, shown: str) -> None:
    """It has one decimal below ten, and separated thousands."""
    assert size(count) == shown
