"""Text from users is shown so that it cannot control a terminal."""

from __future__ import annotations

import pytest

from queuectl.core.escaping import escape


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é €", "plain é €"),
        ("a\nb\x1b[31m", "a\\nb\\x1b[31m"),
        ("caf\udcc3\udca9", "café"),  # bytes of UTF-8 that another locale did not understand
        ("\udcff", "\ufffd"),
        ("\ud800", "\\ud800"),
        ("\ud800\udcff\n", "\\ud800\\udcff\\n"),
    ],
)
def test_any_text_can_be_shown(text: str, shown: str) -> None:
    """Regression: half of a surrogate pair, which JSON can hold, was a UnicodeEncodeError."""
    assert escape(text) == shown
