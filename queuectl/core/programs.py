"""Which program a shell command runs."""

from __future__ import annotations

import re

from queuectl.core.hooks import DELIVER

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_WORD = re.compile(r"(?:[^\s'\"\\;&|()<>]|\\.|'[^']*'|\"(?:[^\"\\]|\\.)*\")+", re.DOTALL)
_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh"))
_BEFORE = frozenset(
    (
        "env", "nice", "ionice", "nohup", "sudo", "doas", "time", "exec", "command", "setsid",
        "stdbuf", "chronic", "caffeinate", "timeout", "flock", "taskset",
    )
)  # fmt: skip
"""Programs that run another one, which their arguments name."""
_WITH_ARGUMENT = frozenset(("timeout", "flock", "taskset"))
"""Those of them that take an argument of their own before that."""
_OPTIONS_WITH_VALUE = {
    "nice": "-n", "ionice": "-c -n", "sudo": "-u -g", "doas": "-u", "env": "-u -C",
    "timeout": "-k -s", "stdbuf": "-i -o -e",
}  # fmt: skip
_DEEPEST = 5


def program_of(command: str) -> str:
    """Return the name of the program that a command runs first, without its folder.

    Variables, and programs that only run another one, such as `env`, `nice` and `sh -c`, are passed
    over. A command without a program returns itself. The command of a webhook's job, which calls
    queuectl, is `webhook`.
    """
    if command == DELIVER:
        return "webhook"
    return _found(command, 0) or command.strip()


def _found(command: str, depth: int) -> str | None:
    words = [_plain(word) for word in _WORD.findall(command)]
    at = 0
    while at < len(words):
        word = words[at]
        name = word.rpartition("/")[2]
        at += 1
        if _ASSIGNMENT.match(word) or not name:
            continue
        if name in _SHELLS:
            script = _script(words[at:])
            inner = _found(script, depth + 1) if script and depth < _DEEPEST else None
            return inner or name
        if name not in _BEFORE or at == len(words):
            return name
        at = _after_options(words, at, _OPTIONS_WITH_VALUE.get(name, "").split())
        if name in _WITH_ARGUMENT:
            at += 1
        if at >= len(words):
            return name
    return None


def _script(arguments: list[str]) -> str | None:
    """Return what a shell runs with `-c`."""
    for at, word in enumerate(arguments):
        if word.startswith("-") and not word.startswith("--") and "c" in word:
            return arguments[at + 1] if at + 1 < len(arguments) else None
        if not word.startswith("-"):
            return None
    return None


def _after_options(words: list[str], at: int, with_value: list[str]) -> int:
    while at < len(words) and words[at].startswith("-") and words[at] != "-":
        if words[at] == "--":
            return at + 1
        at += 2 if words[at] in with_value else 1
    return at


def _plain(word: str) -> str:
    """Return a word as the shell passes it on."""
    if not re.search(r"['\"\\]", word):
        return word
    return re.sub(
        r"'([^']*)'|\"((?:[^\"\\]|\\.)*)\"|\\(.)",
        lambda found: found[1] or re.sub(r"\\([\"\\$`])", r"\1", found[2] or "") or found[3] or "",
        word,
        flags=re.DOTALL,
    )
