"""What templates and static files must not contain, whatever is added later."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

import queuectl.web

PACKAGE = Path(queuectl.web.__file__).parent
TEMPLATES = sorted((PACKAGE / "templates").iterdir())
SOURCES = sorted(PACKAGE.rglob("*.py"))
IDIOMORPH = "4cbd535caf7663a51eda9bce6595371c384fc430d54b8d414e29a61167f19f96"
"""The SHA-256 of dist/idiomorph.min.js in version 0.8.0, as npm has it."""


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_inline_code_and_no_unescaped_text(path: Path) -> None:
    """The Content-Security-Policy forbids inline code; nothing switches escaping off."""
    text = path.read_text("utf-8")

    assert path.suffix == ".html"
    assert (
        re.findall(r"<script(?! src=)|<style|\sstyle=|\son[a-z]+=|javascript:", text, re.IGNORECASE)
        == []
    )
    assert re.findall(r"\|\s*(?:safe|tojson)\b|autoescape|Markup", text) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_only_charts_and_ansi_make_markup(path: Path) -> None:
    """They build it from pieces that are escaped. (`frame.py` only looks for it.)"""
    made = re.findall(r"Markup\(|render_template_string", path.read_text("utf-8"))

    assert path.name in ("charts.py", "ansi.py") or made == []


def test_every_attribute_is_quoted() -> None:
    """An escaped value is safe only within quotes."""
    for path in TEMPLATES:
        assert re.findall(r"=\{\{|=\{%", path.read_text("utf-8")) == [], path.name


def test_the_script_is_small() -> None:
    lines = (PACKAGE / "static" / "app.js").read_text("utf-8").splitlines()

    assert len(lines) <= 300
    assert [line for line in lines if "innerHTML" in line or "eval(" in line] == []


def test_nothing_comes_from_elsewhere() -> None:
    """The pages work without a network."""
    for path in [*TEMPLATES, PACKAGE / "static" / "app.css", PACKAGE / "static" / "app.js"]:
        loads = r"(?:src|href|action)=[\"']?(?:\w+:)?//|url\([\"']?(?!#)|@import|fetch\([\"'`]\w+:"
        assert re.findall(loads, path.read_text("utf-8")) == [], path.name


def test_the_library_is_the_one_that_was_published() -> None:
    content = (PACKAGE / "static" / "idiomorph.min.js").read_bytes()

    assert hashlib.sha256(content).hexdigest() == IDIOMORPH
    assert "Zero-Clause BSD" in (PACKAGE / "static" / "idiomorph.LICENSE").read_text("utf-8")
