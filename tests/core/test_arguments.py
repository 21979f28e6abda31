"""The sources of arguments of a command template, and how they are combined."""

from __future__ import annotations

from itertools import count, islice

import pytest

from queuectl.core.arguments import Source, combinations, split
from queuectl.core.errors import InvalidInput


def combined(*words):
    """Return the combinations that the words after a command make."""
    sources = split(["echo", *words])[1]
    return [" ".join(chosen) for chosen in combinations(sources, [each.words for each in sources])]


def test_words_without_a_separator_are_no_template():
    """`find -exec {} +` and `::` stay what they are."""
    words = ("find", ".", "-exec", "wc", "{}", "::", "x:::y")

    assert split(words) == (words, [])


def test_separators_end_the_template_and_begin_sources():
    """What follows :::: are the names of files."""
    template, sources = split(["cp", "{}", ":::", "a", "b", "::::+", "-", ":::"])

    assert template == ("cp", "{}")
    assert sources == [Source(":::", ("a", "b")), Source("::::+", ("-",)), Source(":::", ())]
    assert [source.names_files for source in sources] == [False, True, False]
    assert [source.is_linked for source in sources] == [False, True, False]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((":::", "a", "b"), ["a", "b"]),
        ((":::",), []),
        ((":::", "a", "b", ":::", "1", "2"), ["a 1", "a 2", "b 1", "b 2"]),
        ((":::", "a", "b", ":::+", "1", "2"), ["a 1", "b 2"]),
        ((":::", "x", "y", ":::", "a", "b", ":::+", "1", "2"),
         ["x a 1", "x b 2", "y a 1", "y b 2"]),
        ((":::", "a", "b", ":::"), []),
    ],
)  # fmt: skip
def test_sources_are_combined_or_linked(words, expected):
    """Several sources make all combinations; :::+ pairs its arguments with those before."""
    assert combined(*words) == expected


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((":::+", "a"), ":::+ needs a source of arguments before it"),
        (("::::",), ":::: needs a file, or - for stdin"),
        ((":::", "a", ":::+", "1", "2"),
         ":::+ needs as many arguments as the source before it (1), not 2"),
    ],
)  # fmt: skip
def test_sources_that_make_no_sense_are_refused(words, problem):
    """No argument is dropped in silence."""
    with pytest.raises(InvalidInput) as refused:
        combined(*words)

    assert str(refused.value) == problem


def test_a_single_source_is_read_as_it_goes():
    """So a file of any length needs no memory."""
    endless = combinations([Source("::::", ("-",))], [map(str, count(1))])

    assert list(islice(endless, 3)) == [("1",), ("2",), ("3",)]
