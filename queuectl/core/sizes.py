"""How numbers of bytes look to people."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def size(count: float) -> str:
    """Return a number of bytes with a unit: `20 B`, `1.5 KiB`, `13 MiB`, `74 GiB`.

    Below ten there is one decimal.
    """
    unit = 0
    while count >= 1023.5 and unit < len(_UNITS) - 1:
        count, unit = count / 1024, unit + 1
    shown = f"{count:.1f}" if unit and count < 9.95 else f"{count:,.0f}"
    return f"{shown} {_UNITS[unit]}"
