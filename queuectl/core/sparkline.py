"""Numbers as a row of bars, one cell for each."""

from __future__ import annotations

import math
from typing import Sequence

_BARS = "▁▂▃▄▅▆▇█"
_DIGITS = "0123456789"


def sparkline(values: Sequence[float], *, ascii_only: bool = False) -> str:
    """Return one bar for each number: `▁▂▅█`, or `0159` in ASCII.

    The largest number has the highest bar; only 0 has the lowest one.
    """
    bars = _DIGITS if ascii_only else _BARS
    highest = max(values, default=0)
    return "".join(
        bars[math.ceil(value / highest * (len(bars) - 1)) if value > 0 else 0] for value in values
    )
