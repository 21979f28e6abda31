"""Which variables a job takes over from the shell that enqueues it."""

from __future__ import annotations

import pytest

from queuectl.core.environment import is_captured
from queuectl.core.values import captured_variables


@pytest.mark.parametrize(
    "name",
    "_ SHLVL PWD OLDPWD TERM TERMCAP COLUMNS LINES WINDOWID BASHOPTS SHELLOPTS BASH_FUNC_f%% "
    "BASH_FUNC_f() QUEUECTL_DB QUEUECTL_JOB_ID _QUEUECTL_POOL MAKEFLAGS NOTIFY_SOCKET".split(),
)
def test_some_variables_are_left_out(name):
    """They are about one shell, one terminal, one process, or another job."""
    assert not is_captured(name)
    assert captured_variables(("*",), {name: "x", "FOO": "bar"}) == {"FOO": "bar"}


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "LANG", "TERM_PROGRAM", "BASH_ENV", "a.b-c", "X_"]
)
def test_all_others_are_taken_over(name):
    """Also those whose names no shell can use."""
    assert captured_variables(("*",), {name: "x"}) == {name: "x"}


def test_a_variable_that_is_named_is_taken_over_whatever_it_is():
    """The user has asked for it."""
    environ = {"TERM": "xterm", "PWD": "/", "FOO": "bar"}

    assert captured_variables(("TERM", "PWD"), environ) == {"TERM": "xterm", "PWD": "/"}


def test_what_cannot_be_stored_is_left_out():
    """An odd variable around the caller must not keep a job out of the queue."""
    environ = {"BAD": "\udcff", "BIG": "x" * 130_000, "FOO": "bar"}

    assert captured_variables(("*",), environ) == {"FOO": "bar"}
