"""A named tuple of ours is what `typing.NamedTuple` makes of the same class."""

from __future__ import annotations

import pickle
import typing

import pytest

from queuectl.core.named_tuples import NamedTuple


class Ours(NamedTuple):
    """Two numbers."""

    first: int
    second: int | None = None

    @property
    def total(self) -> int:
        return self.first + (self.second or 0)

    @classmethod
    def of(cls, text: str) -> Ours:
        return cls(*map(int, text.split()))

    def __str__(self) -> str:
        return f"{self.first}, {self.second}"


class Theirs(typing.NamedTuple):
    """Two numbers."""

    first: int
    second: int | None = None


@pytest.mark.parametrize("name", ["_fields", "_field_defaults", "__doc__", "__module__"])
def test_it_describes_itself_alike(name: str) -> None:
    assert getattr(Ours, name) == getattr(Theirs, name)


def test_it_is_a_tuple_with_names_and_defaults() -> None:
    ours, theirs = Ours(1), Theirs(1)

    assert ours == theirs == (1, None)
    assert repr(ours) == "Ours(first=1, second=None)"
    assert ours._asdict() == theirs._asdict()
    assert ours._replace(second=2) == Ours(1, second=2) != ours
    assert hash(ours) == hash(theirs)
    assert pickle.loads(pickle.dumps(ours)) == ours


def test_a_missing_or_unknown_field_is_an_error() -> None:
    with pytest.raises(TypeError):
        Ours()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Ours(1, third=3)  # type: ignore[call-arg]


def test_it_keeps_its_own_members() -> None:
    assert Ours.of("1 2").total == 3
    assert str(Ours(1, 2)) == "1, 2"
    assert Ours.__qualname__ == "Ours"


def test_its_fields_cannot_be_set() -> None:
    with pytest.raises(AttributeError):
        Ours(1).first = 2  # type: ignore[misc]
