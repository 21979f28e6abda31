"""The stored keys: set, read back and unset."""

from __future__ import annotations

import pytest

from queuectl.core.errors import InvalidInput
from support.rows import sql


def test_nothing_is_stored_at_first(storage):
    """Defaults are not stored, so that a later release may change them."""
    assert storage.stored_settings() == {}
    assert storage.settings().max_retries == 3


def test_a_key_is_kept_as_it_was_written_and_in_force_at_once(storage):
    """The text is stored, and its value is in force; the last one wins."""
    storage.set_key("retention", "10d")
    storage.set_key("retention", "1h30m")

    assert storage.stored_settings() == {"retention": "1h30m"}
    assert storage.settings().retention == 5400.0


def test_an_unset_key_has_its_default(storage):
    """Unsetting a key that is not set is a success."""
    storage.set_key("max-retries", "9")
    storage.unset_key("max-retries")
    storage.unset_key("max-retries")

    assert (storage.stored_settings(), storage.settings().max_retries) == ({}, 3)


@pytest.mark.parametrize(("key", "value"), [("max-retries", "many"), ("nonsense", "1")])
def test_a_wrong_key_or_value_is_not_stored(storage, key, value):
    """It is refused, and the old value stays."""
    storage.set_key("max-retries", "9")
    with pytest.raises(InvalidInput):
        storage.set_key(key, value)

    assert storage.stored_settings() == {"max-retries": "9"}


def test_a_key_of_an_older_tool_can_be_unset(storage):
    """It is listed and can be unset; after that it is unknown."""
    sql(storage, "INSERT INTO config VALUES ('backoff-initial-delay', '1')")
    listed = storage.stored_settings()
    storage.unset_key("backoff-initial-delay")

    assert listed == {"backoff-initial-delay": "1"}
    assert storage.stored_settings() == {}
    with pytest.raises(InvalidInput, match=r"^unknown key 'backoff-initial-delay' "):
        storage.unset_key("backoff-initial-delay")


def test_durability_changes_how_a_worker_commits(storage):
    """With `normal` its connection does not wait for the disk; with `full` it does so again."""

    def synchronous():
        return storage._database.connection.execute("PRAGMA synchronous").fetchone()[0]

    levels = [synchronous()]
    for value in ("normal", "full"):
        storage.set_key("durability", value)
        storage.set_durability(storage.settings())
        levels.append(synchronous())

    assert levels == [2, 1, 2]
