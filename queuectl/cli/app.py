"""The command `queuectl` itself: all commands by section, and the exit code of the process."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

import click

from queuectl import __version__
from queuectl.cli import output
from queuectl.cli.command import (
    Called,
    Failure,
    QueueGroup,
    eager_text_option,
    line_of,
    queue_options,
)
from queuectl.core.errors import QueueError

SECTIONS: dict[str, dict[str, str]] = {
    "Put work in": {
        "enqueue": "enqueue:enqueue",
        "run": "run:run",
        "schedule": "schedule:schedule",
    },
    "Run it": {"worker": "worker:worker", "queue": "queue:queue", "hook": "hook:hook"},
    "Look": {
        "status": "status:status",
        "list": "list:list_jobs",
        "show": "show:show",
        "logs": "logs:logs",
        "why": "why:why",
        "stats": "stats:stats",
        "sql": "sql:sql",
        "web": "web:web",
    },
    "Act on jobs": {
        "wait": "wait:wait",
        "cancel": "actions:cancel",
        "pause": "pausing:pause",
        "resume": "pausing:resume",
        "retry": "actions:retry",
        "edit": "actions:edit",
        "dlq": "dlq:dlq",
    },
    "Keep house": {
        "config": "config:config",
        "prune": "prune:prune",
        "export": "transfer:export",
        "import": "transfer:import_",
        "backup": "transfer:backup",
        "restore": "transfer:restore",
        "check": "check:check",
        "doctor": "doctor:doctor",
        "metrics": "metrics:metrics",
        "completion": "completion:completion",
    },
    "Get help": {"help": "help:help_", "version": "help:version"},
}
"""The commands in the sections of the help, each as `module:name` in `cli.commands`."""

_COMMANDS = {name: place for names in SECTIONS.values() for name, place in names.items()}

_COMPLETION_VARIABLE = "_QUEUECTL_COMPLETE"
"""The variable by which a shell asks click for completions."""


class _Root(QueueGroup):
    """The commands. Each is imported only when it is called, so that every command starts fast."""

    def make_context(
        self, info_name: str | None, args: list[str], *rest: Any, **extra: Any
    ) -> click.Context:
        """Parse the options before the command's name; a wrong one before `check` is UNKNOWN."""
        called = next((word for word in args if word in _COMMANDS), None)
        try:
            return super().make_context(info_name, args, *rest, **extra)
        except click.ClickException as error:
            if called != "check":
                raise
            from queuectl.cli.commands.check import UNKNOWN  # only on the way to an error

            raise Failure("queuectl", line_of(error), UNKNOWN) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of the help."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"queuectl.cli.commands.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the commands in sections, one line per command."""
        widest = max(len(name) for name in self.list_commands(ctx))
        for section, names in SECTIONS.items():
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                if command is not None:
                    rows.append((name.ljust(widest), command.get_short_help_str(80)))
            with formatter.section(section):
                formatter.write_dl(rows)


@click.group(
    "queuectl",
    cls=_Root,
    params=[
        eager_text_option(
            "-V",
            "--version",
            text=lambda _ctx: f"queuectl {__version__}",
            help="Show the version and exit.",
        ),
        *queue_options(hidden=False),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def root(**_queue: Any) -> None:
    """Run shell commands from a durable queue on this host.

    \b
    queuectl enqueue 'make report'     store a command as a job
    queuectl worker start --count 2    run the jobs, two at a time
    queuectl status                    see what waits, runs and is done
    """
    context = click.get_current_context()
    context.color = output.wants_color(context.params.get("color"))


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit code.

    Only here does an error become a printed line and an exit code, on every version of click.
    """
    output.prepare_streams()
    if _COMPLETION_VARIABLE in os.environ:
        from queuectl.cli import shells  # only for completion

        shells.register()
    called = Called()
    try:
        code: Any = root.main(
            args=arguments, prog_name="queuectl", standalone_mode=False, obj=called
        )
    except Failure as failure:
        _tell(failure.command, failure.message)
        code = failure.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "queuectl"
        _tell(path, line_of(error))
        code = 2
    except click.ClickException as error:
        _tell("queuectl", line_of(error))
        code = error.exit_code
    except click.Abort:
        code = 1
    except BrokenPipeError:  # from completion, whose words click itself prints
        output.end_by_sigpipe()
    except OSError as error:
        _tell(called.path, str(error))
        code = called.failure_code
    except UnicodeEncodeError as error:  # a name that no job, hook or schedule can have
        _tell(called.path, f"not valid UTF-8: {error.object}")
        code = 2
    except Exception as error:  # noqa: BLE001 (a user gets one line, whatever happens)
        _tell_unexpected(called.path, error)
        code = called.failure_code
    _end(code if isinstance(code, int) else 0)


def _tell(path: str, text: str) -> None:
    """Print an error, unless a shell asks for completions: it would appear in the typed line."""
    if _COMPLETION_VARIABLE not in os.environ:
        output.error(path, text)


def _tell_unexpected(path: str, error: Exception) -> None:
    """Print an error that is a bug; the traceback only if QUEUECTL_TRACEBACK asks for it."""
    if os.environ.get("QUEUECTL_TRACEBACK"):
        import traceback  # only when it is needed

        with suppress(OSError):
            traceback.print_exception(type(error), error, error.__traceback__)
    name = type(error).__name__
    _tell(path, f"unexpected error: {name}: {error} (QUEUECTL_TRACEBACK=1 shows where)")


def _end(code: int) -> NoReturn:
    try:
        with output.writing_to_stdout():
            sys.stdout.flush()
    except QueueError as error:
        if not code:  # else an error has been printed already
            output.error("queuectl", str(error))
            code = 1
    with suppress(OSError):  # a closed terminal takes no messages: that is no failure
        sys.stderr.flush()
    if not 0 <= code <= 255:  # of a job that another program wrote: 256 would become 0, success
        code = 1
    # Everything is closed and flushed. To tear down the interpreter would cost 5 ms for nothing.
    os._exit(code)
