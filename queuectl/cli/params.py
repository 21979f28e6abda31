"""Types of what options take."""

from __future__ import annotations

from typing import Any

import click

from queuectl.times import parse_duration


class _Duration(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """A duration: `90`, `10m`, `1h30m`; in seconds."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return the seconds."""
        return value if isinstance(value, float) else parse_duration(str(value))


DURATION = _Duration()
