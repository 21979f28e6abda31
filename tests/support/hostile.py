"""Texts that must stay text on the page, wherever they come from."""

from __future__ import annotations

EVIL = (
    '"><script>alert(1)</script>',
    "<img src=x onerror=alert(1)>",
    "'onmouseover='alert(1)",
    "</title></textarea></pre></svg><svg onload=alert(1)>",
    "{{7777*7777}}{% raw %}",
    "javascript:alert(1)",
    "\x1b]8;;http://evil.example\x07\x1b[31m\u202e\u2066\x7f",
)
"""What must be shown as text, wherever it comes from."""


def has_no_markup(text: str, where: str) -> None:
    """Fail if a part of EVIL has become markup, or a control character is left."""
    for raw in ("<script>a", "<img", "<svg onload", "'onmouse", "60481729", "\x1b", "\u202e"):
        assert raw not in text, (where, raw)
    assert 'href="javascript' not in text
