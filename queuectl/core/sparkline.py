"""Numbers as a row of bars, one cell for each."""

from __future__ import annotations

import math
from typing import Sequence

_BARS = "▁▂▃▄▅▆▇█"
_DIGITS = "123456789"


def sparkline(values: Sequence[float], *, ascii_only: bool = False) -> str:
    """Return one bar per number: `▁▂▅█`, or `1269` in ASCII; a blank for 0.

    The largest number has the highest bar, and a small one still has the lowest.
    """
    bars = _DIGITS if ascii_only else _BARS
    highest = max(values, default=0)
    return "".join(
        " " if value <= 0 else bars[max(0, math.ceil(value / highest * len(bars)) - 1)]
        for value in values
    )
