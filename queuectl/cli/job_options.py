"""From words and options on the command line to the fields of a job."""

from __future__ import annotations

import os
from datetime import datetime
from functools import partial
from typing import Any, Callable, List, Mapping, Sequence, Tuple, TypeVar

import click

from queuectl.cli import offers, output
from queuectl.cli.command import all_of, knowing_short_options, option, usage_error
from queuectl.cli.parameters import WholeNumber
from queuectl.core.errors import InvalidInput, UniqueKeyHeld
from queuectl.core.settings import DEFAULT_PRIORITY, DEFAULT_QUEUE, effective
from queuectl.core.specs import check_fields, is_json, parse_object
from queuectl.core.states import UNFINISHED_STATES
from queuectl.core.times import format_duration, utcnow
from queuectl.core.values import (
    MAX_INPUT_BYTES,
    check_folder_name,
    check_variable,
    copied_variables,
)

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Split = Tuple[List[str], List[str]]


JOB_SECTIONS = {
    "Where it runs": "--queue --cwd --env --shell --input",
    "When it starts": "--priority --delay --at --after --after-any",
    "Limits": "--timeout --max-retries --retry-delay --backoff",
    "When it ends": "--on-success --on-failure --on-finish",
    "Only once": "--unique --if-dup",
    "Waiting for it": "--wait --output",
    "Many jobs": "--file --lines --null --dry-run",
    "Names": "--id --label --batch",
}
"""The sections in which the help shows the options of a job."""


def job_options(*, new: bool, chooses: bool = False) -> Callable[[_Function], _Function]:
    """Add the options that say how a job runs. Their texts name defaults only for a `new` job.

    A command that `chooses` jobs by --queue and --label does not get these two.
    """
    return all_of(*(() if chooses else _names(new=new)), *_options(new=new))


def _names(*, new: bool) -> Sequence[Callable[[_Function], _Function]]:
    """Return the options that say what a job is chosen by."""
    queue = _described("Put it in this queue", DEFAULT_QUEUE, new=new)
    return (
        option("--queue", metavar="QUEUE", shell_complete=offers.queue, help=queue),
        option("--label", metavar="TEXT", shell_complete=offers.labels,
               help="A name to show in lists."),
    )  # fmt: skip


env_option = option(
    "--env",
    multiple=True,
    metavar="NAME[=VALUE]",
    shell_complete=offers.variables,
    help="Set a variable. NAME alone copies its present value, '*' all (repeatable).",
)


def _described(meaning: str, default: str, *, new: bool) -> str:
    return f"{meaning} (default: {default})." if new else f"{meaning}."


def _options(*, new: bool) -> Sequence[Callable[[_Function], _Function]]:
    described = partial(_described, new=new)
    defaults = effective(())
    limit = format_duration(defaults.job_timeout)
    higher_first = described("Jobs with a higher number start first", str(DEFAULT_PRIORITY))
    fixed = "Wait this long before each retry, in place of the backoff{}."
    base = "Wait BASE, BASE**2, BASE**3 ... seconds before the retries"
    base = described(base, f"{defaults.backoff_base:g}")
    at_most = described("Run it at most N times in all", str(defaults.max_retries))
    kill = described("Kill an attempt that takes longer; 0 = no limit", limit)
    folder = described("Run it in this folder", "the current one")
    after = "Run it only after JOB has completed (repeatable, or A,B{})."
    after_any = "Run it after JOB has ended in any way (repeatable, or A,B{})."
    none = "" if new else "; '' = after none"
    jobs = offers.jobs(*UNFINISHED_STATES)
    later = "Wait at least this long before the first attempt."
    content = "Store FILE, or stdin for -, and let the job read it from its stdin{}."
    content = content.format("" if new else "; '' = nothing")
    shell = described("Run the command with this shell", defaults.shell)
    not_before = "Do not start it before this time."
    no_hook = "" if new else " ('' = none)"
    return (
        option("--priority", type=WholeNumber(), metavar="N", help=higher_first),
        option("--max-retries", type=WholeNumber(), metavar="N", help=at_most),
        option("--retry-delay", metavar="DURATION",
               help=fixed.format("" if new else "; '' = as configured")),
        option("--backoff", metavar="BASE", help=base),
        option("--timeout", metavar="DURATION", help=kill),
        option("--delay", metavar="DURATION", help=later),
        option("--at", metavar="TIME", help=not_before),
        option("--cwd", metavar="DIR", shell_complete=offers.path("dir"), help=folder),
        env_option,
        option("--shell", metavar="PATH", shell_complete=offers.path(), help=shell),
        option("--input", metavar="FILE", shell_complete=offers.path(), help=content),
        option("--after", multiple=True, metavar="JOB", shell_complete=jobs,
               help=after.format(none)),
        option("--after-any", multiple=True, metavar="JOB", shell_complete=jobs,
               help=after_any.format(none)),
        *hook_options(no_hook),
    )  # fmt: skip


def hook_options(note: str = "") -> Sequence[Callable[[_Function], _Function]]:
    """Return the options that name commands to run when a job ends."""
    when = {"success": "it completes", "failure": "it is dead", "finish": "it ends in any way"}
    return [
        option(f"--on-{end}", metavar="COMMAND", shell_complete=offers.command,
               help=f"Run this command when {meaning}{note}.")
        for end, meaning in when.items()
    ]  # fmt: skip


own_hook_options = all_of(*hook_options())


_OPTION_OF = {
    "id": "--id",
    "queue": "--queue",
    "priority": "--priority",
    "max_retries": "--max-retries",
    "retry_delay": "--retry-delay",
    "backoff": "--backoff",
    "timeout": "--timeout",
    "delay": "--delay",
    "run_at": "--at",
    "cwd": "--cwd",
    "env": "--env",
    "shell": "--shell",
    "input": "--input",
    "unique_key": "--unique",
    "after": "--after",
    "after_any": "--after-any",
    "label": "--label",
    "on_success": "--on-success",
    "on_failure": "--on-failure",
    "on_finish": "--on-finish",
}
"""The option for each field of the JSON form."""


def check_options(fields: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    """Check what `option_fields` returned; return fields of JobSpec. Errors name the options."""
    checked = check_fields({**fields, "env": None}, now=now, names=_OPTION_OF)
    if fields["env"]:  # checked already: '*' may copy names that nobody may give
        checked["env"] = fields["env"]
    return checked


_CLEARED: Mapping[str, tuple[object, object]] = {
    "after": (("",), ()),
    "after_any": (("",), ()),
    "retry_delay": ("", None),
    "backoff": ("", None),
    "input": ("", None),
    "on_success": ("", None),
    "on_failure": ("", None),
    "on_finish": ("", None),
}
"""The value of an option that takes something away from a job, and what the job has then."""


def changed_fields(
    options: Mapping[str, Any], env: Sequence[str], command: str | None
) -> dict[str, Any]:
    """Return the changes that options make to an existing job, as fields of JobSpec."""
    cleared = {name: none for name, (given, none) in _CLEARED.items() if options[name] == given}
    fields = option_fields({**options, **dict.fromkeys(cleared)}, env)
    return {**check_options({**fields, "command": command}, now=utcnow()), **cleared}


def option_fields(options: Mapping[str, Any], env: Sequence[str]) -> dict[str, object]:
    """Return the values of job options as fields of the JSON form, None where one is absent.

    `options` are those of `job_options` without `env`, and any others that set a field.
    """
    fields: dict[str, object] = {"run_at": options["at"]}
    for name in ("id", "queue", "priority", "max_retries", "cwd", "shell", "label", "unique_key",
                 "if_dup", "on_success", "on_failure", "on_finish"):  # fmt: skip
        fields[name] = options.get(name)
    for name in ("timeout", "delay", "retry_delay"):
        # JSON has a number where an option has digits.
        text: str | None = options.get(name)
        bare = text is not None and text.isascii() and text.strip().isdigit()
        fields[name] = float(text) if text is not None and bare else text
    if options.get("input") is not None:
        fields["input"] = _content_of(options["input"])
    fields["backoff"] = _number(options.get("backoff"))
    fields["env"] = variables_given(env)
    for name in ("after", "after_any"):
        listed = options.get(name) or ()
        fields[name] = [job for item in listed for job in item.split(",")] or None
    return fields


def _content_of(path: str) -> bytes:
    """Return what a file holds, or stdin for `-`; InvalidInput if it cannot be read."""
    from queuectl.cli.jsonlines import open_lines  # only when it is needed

    try:
        with open_lines(None if path == "-" else path) as source:
            return source.read(MAX_INPUT_BYTES + 1)
    except InvalidInput as error:
        raise InvalidInput(f"--input: {error}") from None
    except OSError as error:  # a folder
        raise InvalidInput(f"--input: cannot read {path}: {error.strerror}") from None


def _number(text: str | None) -> object:
    """Return the number that an option gives; the text itself if it is none."""
    try:
        return text and float(text)
    except ValueError:
        return text


def variables_given(given: Sequence[str]) -> dict[str, str]:
    """Return the variables that `--env` sets; the last option wins."""
    variables: dict[str, str] = {}
    for item in given:
        if item == "*":
            variables.update(copied_variables(os.environ))
            continue
        name, equals, value = item.partition("=")
        if not equals:
            if name not in os.environ:
                raise InvalidInput(f"--env {name}: {name} is not set here")
            value = os.environ[name]
        check_variable(name, value, "--env")
        variables[name] = value
    return variables


def split_words(command: click.Command, ctx: click.Context, args: list[str]) -> _Split:
    """Split arguments before the first word that is no option and no value of one.

    The options end with `--` if that was given.
    """
    ctx.allow_interspersed_args = False
    if args and (args[0] == "-" or not args[0].startswith("-")):
        return [], args  # no option to parse, as usual: that takes 0.5 ms
    options: list[click.Parameter] = [
        param for param in command.get_params(ctx) if isinstance(param, click.Option)
    ]
    # A parser that has no argument to fill returns the words, on every version of click.
    parser = click.Command(None, params=options, add_help_option=False).make_parser(ctx)
    words = knowing_short_options(parser).parse_args(list(args))[1]
    return args[: len(args) - len(words)], words


def fields_of_words(words: Sequence[str], *, literal: bool) -> dict[str, object]:
    """Return the fields that the words make: those of a JSON object, or a command.

    `literal`: `--` came before the words. Then only a single valid JSON object counts as one.
    """
    if not words:
        usage_error("no command given (example: queuectl enqueue 'make report')")
    first = words[0]
    if not literal:
        _refuse_split_value(first)
    if first.startswith("{") and (len(words) == 1 or not literal):
        try:
            fields = parse_object(first)
        except ValueError as error:
            if not literal:
                raise InvalidInput(
                    f"not a JSON object: {error} (put -- before it if it is a command)"
                ) from None
        else:
            if len(words) > 1:
                usage_error(f"only options may follow a JSON object, not {words[1]}")
            return fields
    if len(words) == 1 and not literal and is_json(first):
        usage_error(
            "a JSON list is no job: give one object per line (jq -c '.[]' | queuectl enqueue -; "
            "put -- before it if it is a command)"
        )
    return {"command": command_text(words, literal=literal)}


def command_text(words: Sequence[str], *, literal: bool) -> str:
    """Return the command that words make: a single word as it is, several quoted for the shell.

    `FOO=bar cmd` works. Unless `literal`, words that look like a quoted command before options are
    refused.
    """
    first = words[0]
    if len(words) == 1 or not first.strip():  # a blank one is refused later: an unset $VARIABLE
        return first
    from queuectl.core.shell_words import join, leading_assignments  # only when it is needed

    assignments = leading_assignments(words)
    if not literal:
        refuse_late_options(words[assignments : assignments + 1] or words)
    return join(words, assignments=assignments)


def _refuse_split_value(first: str) -> None:
    """End the command if its first word is part of an option's value: `--delay 2 hours make`."""
    params = click.get_current_context().params
    for name in ("at", "delay", "timeout", "retry_delay"):
        if params.get(name):
            from queuectl.core.time_words import continues  # only when it is needed

            if continues(first):
                rest = "+ 1 hour" if first == "+" else first
                option = _OPTION_OF.get(name, f"--{name}")
                usage_error(
                    f"put the value of {option} in quotes: {option} '{params[name]} {rest}' (or "
                    "put -- before the command)"
                )


def refuse_late_options(command: Sequence[str]) -> None:
    """End the command if the first of several words is no program, but a quoted command."""
    program = command[0]
    _refuse_split_value(program)
    if program.startswith("-") or any(char.isspace() for char in program):
        usage_error(
            "options go before the command (or quote the whole command as one word, or put -- "
            "before it)"
        )


def current_folder() -> str:
    """Return the path of the current folder, as the shell's PWD names it if that is correct.

    InvalidInput if it is gone, or if its path cannot be stored.
    """
    try:
        return check_folder_name(_current_folder(), "cwd")
    except InvalidInput as error:
        raise InvalidInput(f"{error} (use --cwd)") from None


def _current_folder() -> str:
    try:
        named = os.environ.get("PWD", "")
        # Behind a symbolic link, `..` does not lead where normpath assumes.
        plain = os.path.isabs(named) and ".." not in named.split("/")
        if plain and os.path.samefile(named, "."):
            return os.path.normpath(named)
    except OSError:
        pass
    try:
        return os.getcwd()
    except OSError:
        raise InvalidInput("the current folder no longer exists") from None


def warn_unsatisfiable(job_id: str, needed: Sequence[str]) -> None:
    """Print a warning if a job waits for jobs that will not complete by themselves."""
    if needed:
        output.message(
            f"{job_id} waits for {', '.join(needed)}, which will not complete "
            "unless retried (queuectl retry)"
        )


def held_key_hint(error: UniqueKeyHeld) -> str:
    """Return what to do about a unique key that is held, to be added to the message."""
    if error.until_it_ends is None:
        return ""
    from queuectl.core.naming import quoted  # only when it is needed

    return f" (enqueue again after its end: queuectl wait {quoted(error.holder)})"
