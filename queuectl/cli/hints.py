"""Words that people know from other tools, and their names here: commands and options.

Only loaded on the way to an error.
"""

from __future__ import annotations

import re
from typing import Mapping

import click

from queuectl.core.settings import KEYS
from queuectl.core.states import JobState

FOREIGN_COMMANDS: Mapping[str, Mapping[str, str]] = {
    "queuectl": {
        **dict.fromkeys(("add", "submit", "push", "put", "create", "new", "batch"), "enqueue"),
        **dict.fromkeys(("exec", "execute"), "run"),
        **dict.fromkeys(
            ("cron", "crontab", "every", "recur", "recurring", "repeat", "schedules", "timer"),
            "schedule",
        ),
        "start": "worker start",
        "stop": "worker stop",
        "shutdown": "worker stop",
        **dict.fromkeys(("parallel", "scale"), "worker scale"),
        "drain": "worker start --drain",
        "workers": "worker list",
        **dict.fromkeys(("hold", "suspend"), "pause"),
        **dict.fromkeys(("unpause", "release", "continue"), "resume"),
        "limit": "queue limit",
        **dict.fromkeys(("queues", "group", "groups"), "queue list"),
        **dict.fromkeys(("ps", "ls", "jobs", "history", "atq", "queued"), "list"),
        **dict.fromkeys(("running", "processing"), "list --state processing"),
        "pending": "list --state pending",
        "failed": "list --state failed,dead",
        "dead": "dlq list",
        **dict.fromkeys(("follow", "tail"), "logs --follow"),
        **dict.fromkeys(("log", "output", "cat"), "logs"),
        **dict.fromkeys(("info", "inspect", "describe", "view", "details"), "show"),
        "explain": "why",
        **dict.fromkeys(("statistics", "stat", "figures", "usage"), "stats"),
        **dict.fromkeys(("query", "select", "sqlite", "sqlite3", "db"), "sql"),
        **dict.fromkeys(("ui", "dashboard", "serve", "server", "http", "browser", "gui"), "web"),
        **dict.fromkeys(("top", "htop", "watch", "monitor", "progress"), "status --watch"),
        **dict.fromkeys(("find", "search", "grep"), "list --find"),
        **dict.fromkeys(("kill", "abort", "atrm"), "cancel"),
        "reset": "cancel --all",
        **dict.fromkeys(("rm", "remove", "delete", "clean", "cleanup", "clear"), "prune"),
        "vacuum": "prune --vacuum",
        "purge": "dlq purge",
        **dict.fromkeys(("restart", "requeue", "rerun"), "retry"),
        "stash": "edit --delay",
        **dict.fromkeys(
            ("switch", "swap", "priority", "prioritize", "urgent", "bump"), "edit --priority"
        ),
        **dict.fromkeys(("update", "change", "modify"), "edit"),
        **dict.fromkeys(("settings", "options"), "config list"),
        "set": "config set",
        "get": "config get",
        "health": "doctor",
        **dict.fromkeys(("prometheus", "exporter", "grafana", "alerts"), "metrics"),
        **dict.fromkeys(("hooks", "webhooks"), "hook list"),
        **dict.fromkeys(("notify", "alert", "webhook", "callback", "on"), "hook add"),
        "dump": "export",
        "load": "import",
        **dict.fromkeys(("completions", "complete"), "completion"),
    },
    "worker": {
        **dict.fromkeys(("run", "add", "up"), "start"),
        **dict.fromkeys(("kill", "down", "shutdown"), "stop"),
        **dict.fromkeys(("ps", "ls", "status", "show"), "list"),
        "restart": "stop && queuectl worker start",
    },
    "queue": {
        **dict.fromkeys(("ls", "show", "status"), "list"),
        **dict.fromkeys(("stop", "hold"), "pause"),
        **dict.fromkeys(("start", "unpause", "release"), "resume"),
        **dict.fromkeys(("set", "parallel", "scale"), "limit"),
    },
    "hook": {
        **dict.fromkeys(("ls", "status"), "list"),
        **dict.fromkeys(("create", "new", "set", "edit", "update"), "add"),
        **dict.fromkeys(("rm", "delete", "clear"), "remove"),
        **dict.fromkeys(("stop", "hold", "disable"), "pause"),
        **dict.fromkeys(("start", "enable", "unpause"), "resume"),
    },
    "schedule": {
        **dict.fromkeys(("create", "new"), "add"),
        **dict.fromkeys(("ls", "status"), "list"),
        **dict.fromkeys(("info", "explain", "history"), "show"),
        **dict.fromkeys(("trigger", "now", "start"), "run"),
        **dict.fromkeys(("stop", "hold", "disable"), "pause"),
        **dict.fromkeys(("unpause", "enable", "continue"), "resume"),
        **dict.fromkeys(("rm", "delete", "clear"), "remove"),
    },
    "dlq": {
        **dict.fromkeys(("ls", "show", "status"), "list"),
        **dict.fromkeys(("restart", "requeue", "rerun"), "retry"),
        **dict.fromkeys(("rm", "remove", "delete", "clean", "clear", "prune"), "purge"),
    },
    "config": {
        **dict.fromkeys(("ls", "show"), "list"),
        **dict.fromkeys(("rm", "remove", "delete", "reset"), "unset"),
    },
}
"""By the name of a group: a word that is none of its commands, and our command for it."""

EXPLANATIONS: Mapping[str, Mapping[str, str]] = {
    "queuectl": {
        "send": "a job gets no input while it runs",
        "at": "use: queuectl enqueue --at TIME for one job, queuectl schedule add for many",
    },
    "schedule": {
        **dict.fromkeys(
            ("edit", "update", "change", "set"), "use: queuectl schedule add --replace NAME"
        ),
    },
    "worker": dict.fromkeys(
        ("log", "logs"), "workers of --detach log to workers.log in the folder queue.db.d"
    ),
    "queue": {
        **dict.fromkeys(
            ("add", "create", "new"), "its first job makes a queue: queuectl enqueue --queue NAME"
        ),
        **dict.fromkeys(("rm", "remove", "delete"), "a queue without jobs is forgotten by itself"),
        **dict.fromkeys(("rename", "move"), "queuectl edit --queue NAME JOB puts a job elsewhere"),
    },
    "config": {
        key: f"use: queuectl config get {key}, or queuectl config set {key} VALUE" for key in KEYS
    },
}
"""By the name of a group: a word for something that no command of ours does, and what to know."""

_FOREIGN_OPTIONS: Mapping[str, str] = {
    **dict.fromkeys(("--timezone", "--time-zone", "--zone"), "--tz"),
    **dict.fromkeys(("--event", "--events"), "--on"),
    **dict.fromkeys(("--on-fail", "--on-error", "--on-death", "--on-dead"), "--on-failure"),
    **dict.fromkeys(("--on-end", "--on-exit", "--notify"), "--on-finish"),
    **dict.fromkeys(("--jobs", "--parallel", "--workers", "--concurrency", "-j", "-P"), "--count"),
    **dict.fromkeys(("--retries", "--retry", "--attempts", "--tries"), "--max-retries"),
    **dict.fromkeys(("--dir", "--directory", "--chdir", "--workdir", "-C"), "--cwd"),
    **dict.fromkeys(("--group", "-g"), "--queue"),
    **dict.fromkeys(("--depends", "--depends-on", "--dependency", "--needs"), "--after"),
    **dict.fromkeys(("--name", "--title", "--tag"), "--label"),
    **dict.fromkeys(("--time", "--when", "--start-at"), "--at"),
    **dict.fromkeys(("--lines", "--last"), "--tail"),
    **dict.fromkeys(("--force", "--no-confirm"), "--yes"),
    **dict.fromkeys(("--background", "--daemon", "--daemonize", "-d"), "--detach"),
    **dict.fromkeys(("--status", "-s"), "--state"),
    **dict.fromkeys(("--silent", "--no-output"), "--quiet"),
    **dict.fromkeys(("--number", "--limit"), "-n"),
    **dict.fromkeys(("-k", "--keep"), "--keep-order"),
    **dict.fromkeys(("--port", "--host", "--bind", "--address", "-p"), "--listen"),
    "--older": "--older-than",
    "--burst": "--drain",
}
_OPTIONS_ELSEWHERE: Mapping[str, Mapping[str, str]] = {
    "queuectl enqueue": {
        **dict.fromkeys(("--cron", "--every", "--repeat", "--schedule"), "queuectl schedule add"),
        **dict.fromkeys(("--webhook", "--url", "--hook"), "queuectl hook add"),
    },
    "queuectl run": {
        **dict.fromkeys(("-P", "-c", "--count", "--parallel", "--workers"), "--jobs"),
        **dict.fromkeys(("-a", "--arg-file"), ":::: FILE, after the command"),
        "--joblog": "queuectl list --json",
    },
    "queuectl queue pause": {"--all": "queuectl queue pause"},
    "queuectl queue resume": {"--all": "queuectl queue resume"},
    "queuectl worker stop": {"--all": "queuectl worker stop"},
}
"""By the path of a command: options that it does not have, and what to write instead."""
_ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "queuectl worker start": {"[0-9]+": "did you mean --count {}?"},
    "queuectl list": {
        "@[0-9a-z]+": "use: queuectl show {}",
        "|".join(state.value for state in JobState): "did you mean --state {}?",
    },
    "queuectl web": {"[0-9]+": "did you mean --listen 127.0.0.1:{}?"},
}
"""By the path of a command: patterns of an argument that it does not take, and what to write."""
_SIMILAR = 0.7
"""How similar an option must be. (By click's 0.6, `--label` is similar to `--help`.)"""


def of_extra_argument(error: click.UsageError, text: str) -> str:
    """Return what to write instead of the argument that a message of click names, if known."""
    word = text.rpartition("(")[2].rstrip(")")
    path = error.ctx.command_path if error.ctx is not None else ""
    for pattern, hint in _ARGUMENTS.get(path, {}).items():
        if re.fullmatch(pattern, word):
            return f" ({hint.format(word)})"
    return ""


def of_option(error: click.NoSuchOption) -> str:
    """Return ` (did you mean --…?)`, or where the options are listed, or our command for it."""
    if error.ctx is None:
        return ""
    wanted = error.option_name.partition("=")[0]
    elsewhere = _OPTIONS_ELSEWHERE.get(error.ctx.command_path, {}).get(wanted)
    if elsewhere is not None:
        return f" (use: {elsewhere})"
    known = [
        name
        for param in error.ctx.command.get_params(error.ctx)
        for name in param.opts
        if isinstance(param, click.Option)
    ]
    near = _FOREIGN_OPTIONS.get(wanted)
    if near not in known:
        from difflib import get_close_matches  # costs 10 ms

        long = [name for name in known if name.startswith("--")] if wanted[:2] == "--" else []
        matches = get_close_matches(wanted.replace("_", "-"), long, n=1, cutoff=_SIMILAR)
        near = matches[0] if matches else None
    return f" (did you mean {near}?)" if near else f" ({error.ctx.command_path} --help lists them)"
