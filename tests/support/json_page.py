"""The keys of JSON documents that the topic `json` describes."""

from __future__ import annotations

from support.pages import TOPICS, code, rows


def keys(section: str, header: str = "Key") -> list[str]:
    """Return the keys in the tables of a section that have this header."""
    found: list[str] = []
    current = ""
    for cells in rows(TOPICS["json"].section(section)):
        if not code(cells[0]):
            current = cells[0]
        elif current == header:
            found += code(cells[0])
    return found
