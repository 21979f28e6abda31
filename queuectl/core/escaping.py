"""Showing what others wrote such that it drives no terminal."""

from __future__ import annotations


def escape(text: str) -> str:
    """Show control characters, line breaks among them, as escapes: nothing drives the terminal."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    )


def escape_json(text: str) -> str:
    """Do to JSON what `escape` does to text, by JSON's own escapes: its values stay what they are.

    What is ASCII is escaped in it already, DEL apart.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else _as_units(char)  # \n: between two values
        for char in text
    )


def _as_units(char: str) -> str:
    """Write a character as JSON does, in one or two units of UTF-16."""
    digits = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{digits[at : at + 4]}" for at in range(0, len(digits), 4))
