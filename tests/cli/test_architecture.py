"""The pages for developers name files and functions that exist, and every module."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path
from typing import Iterator

import pytest

import queuectl
from support.pages import leads_to_a_file

# The package may be an installed one, with no sources in the checkout.
PACKAGE = Path(queuectl.__file__).parent
CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / ".github" / "ARCHITECTURE.md"
CONTRIBUTING = PAGE.with_name("CONTRIBUTING.md")
PAGES = [
    PAGE,
    CONTRIBUTING,
    *(CHECKOUT / folder / "README.md" for folder in (".", "tests/reliability", "tests/benchmarks")),
]
NAMED = re.compile(r"`((?:[\w.]+/)*\w+\.py)(?::([\w.]+))?`")

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="an unpacked sdist lacks it")


def _named(*pages: Path) -> list[tuple[str, str]]:
    """Return every `path.py` and `path.py:function` on the pages, without repetitions."""
    texts = [page.read_text("utf-8") for page in pages if page.exists()]
    return sorted({named for text in texts for named in NAMED.findall(text)})


@lru_cache(maxsize=None)
def _names_in(path: Path) -> frozenset[str]:
    """Return what a module defines: `function`, `CONSTANT`, `Class`, `Class.method`."""

    def below(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from below(node.body, f"{prefix}{node.name}.")
            for target in getattr(node, "targets", [getattr(node, "target", None)]):
                if isinstance(target, ast.Name):
                    yield prefix + target.id

    return frozenset(below(ast.parse(path.read_text("utf-8")).body, ""))


@pytest.mark.parametrize(("path", "name"), _named(PAGE, CONTRIBUTING))
def test_what_the_page_names_exists(path: str, name: str) -> None:
    """A renamed file or function is renamed on the page, too."""
    roots = (PACKAGE, PACKAGE.parent, CHECKOUT)
    found = [root / path for root in roots if (root / path).is_file()]

    assert found, path
    assert not name or name in _names_in(found[0]), f"{path} has no {name}"


def test_every_module_is_on_the_page() -> None:
    """A new module lands with its line in the table of modules."""
    modules = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py") and path.parent.name != "commands"
    }

    assert modules - {path for path, _ in _named(PAGE)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_what_the_page_says_of_the_checkout_exists(page: Path) -> None:
    """Folders and files of tests, scripts and workflows are where the page says."""
    text = page.read_text("utf-8")
    places = re.findall(r"(?<![\w./])(?:tests|queuectl|\.ci|\.github)/[\w./-]*\w", text)
    links = re.findall(r"\]\(([\w./-]+)\)", text)
    assert places

    folder = str(page.parent.relative_to(CHECKOUT))
    roots = (CHECKOUT, PACKAGE.parent)
    assert [at for at in places if not any((root / at).exists() for root in roots)] == []
    assert [link for link in links if not leads_to_a_file(folder, link)] == []


def test_the_page_about_reliability_names_every_file() -> None:
    """Each file of the folder is in the table, once, and nothing else is."""
    folder = CHECKOUT / "tests" / "reliability"
    page = (folder / "README.md").read_text("utf-8")
    named = re.findall(r"^\| `(test_\w+\.py)` \|", page, re.MULTILINE)

    assert sorted(named) == sorted(path.name for path in folder.glob("test_*.py"))
