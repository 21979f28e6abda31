"""The commands `config get`, `set`, `list` and `unset`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from queuectl.cli import offers, output
from queuectl.cli.command import (
    QueueCommand,
    QueueGroup,
    json_option,
    open_storage,
    queue_files,
    quiet_option,
)
from queuectl.cli.tables import Column, print_table
from queuectl.core.errors import QueueError
from queuectl.core.settings import KEYS, check_key, check_value, default_of, key_name

if TYPE_CHECKING:
    from queuectl.storage import Storage


def _read_key(_ctx: click.Context, _param: Any, key: str) -> str:
    return key_name(key)


_key_argument = click.argument("key", metavar="KEY", callback=_read_key, shell_complete=offers.keys)


@click.group("config", cls=QueueGroup)
def config() -> None:
    """Read and change the queue's configuration."""


def _default_of(key: str) -> str:
    return default_of(key, shared=queue_files().allow_shared)


@config.command("list", cls=QueueCommand)
@json_option
def config_list(as_json: bool) -> None:
    """List all keys with their values and meanings.

    \b
    Examples:
      queuectl config list
    """
    stored = open_storage().stored_settings()
    defaults = {key: _default_of(key) for key in KEYS}
    if as_json:
        shown = {
            key: {"value": stored.get(key, default), "default": default, "set": key in stored}
            for key, default in defaults.items()
        }
        for key in stored.keys() - KEYS.keys():
            shown[key] = {"value": stored[key], "default": None, "set": True}
        output.print_json(shown)
        return
    rows = [
        [key, stored.get(key, default), "" if key in stored else "default", KEYS[key].help]
        for key, default in defaults.items()
    ]
    rows += [
        [key, value, "", "unknown (an older tool stored it)"]
        for key, value in stored.items()
        if key not in KEYS
    ]
    columns = [Column("KEY"), Column("VALUE", least=8), Column(""), Column("MEANING")]
    print_table(columns, rows)


@config.command("get", cls=QueueCommand)
@_key_argument
@json_option
def config_get(key: str, as_json: bool) -> None:
    """Print the value of a key and nothing else.

    \b
    Examples:
      queuectl config get max-retries
    """
    stored = _open_for(key).stored_settings()
    if key not in stored:
        check_key(key)
    value = stored[key] if key in stored else _default_of(key)
    if as_json:
        output.print_json(value)
    else:
        output.print_line(value)


def _open_for(key: str, *, write: bool = False) -> Storage:
    """Open the queue. If there is none, an unknown key is reported instead."""
    try:
        return open_storage(write=write)
    except QueueError:
        check_key(key)
        raise


@config.command("set", cls=QueueCommand, context_settings={"ignore_unknown_options": True})
@_key_argument
@click.argument("value", metavar="VALUE", shell_complete=offers.key_values)
@quiet_option
def config_set(key: str, value: str, quiet: bool) -> None:
    """Give a key a value.

    `queuectl help configuration` says what each key does.

    \b
    Examples:
      queuectl config set max-retries 5
      queuectl config set job-timeout 2h
    """
    check_value(key, value)
    open_storage(create=True).set_key(key, value)
    if not quiet:
        output.print_line(f"{key} = {value}")


@config.command("unset", cls=QueueCommand)
@_key_argument
@quiet_option
def config_unset(key: str, quiet: bool) -> None:
    """Give a key its default again.

    \b
    Examples:
      queuectl config unset max-retries
    """
    _open_for(key, write=True).unset_key(key)
    if not quiet:
        known = key in KEYS
        output.print_line(f"{key} = {_default_of(key)} (default)" if known else f"{key} is unset")
