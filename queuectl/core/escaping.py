"""Escaping text from users, so that it cannot control the terminal it is shown on."""

from __future__ import annotations

from contextlib import suppress


def escape(text: str) -> str:
    """Return text in which control characters, including line breaks, are shown as escapes."""
    if text.isprintable():
        return text
    # JSON can hold lone surrogates, which are no bytes of a name: they are escaped below.
    with suppress(UnicodeEncodeError):
        text = storable(text)
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def storable(text: str) -> str:
    """Return text of the system, such as a host name, with U+FFFD for bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def escape_json(text: str) -> str:
    """Return JSON in which control characters are written as JSON escapes: the values are the same.

    JSON escapes the ASCII control characters itself, except DEL.
    """
    if text.isprintable():
        return text
    return "".join(
        # JSON itself may hold line breaks, but only between its values.
        char if char.isprintable() or char == "\n" else _as_units(char)
        for char in text
    )


def _as_units(char: str) -> str:
    """Write a character as JSON does: as one or two units of UTF-16."""
    digits = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{digits[at : at + 4]}" for at in range(0, len(digits), 4))
