"""Completion in bash, zsh and fish: the scripts, and what they are told.

click's own scripts take file names away where we offer nothing, cut descriptions for fish at the
first comma, and know nothing of a command inside the command line. These ones speak the same
language, so that a script of click that is still installed works as before, and more:

- `command,N`: the shell is to complete the command of which N words come before the cursor.
- bash sends the line as it is (COMP_LINE), since it splits words at `=`, `@` and `:`.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any, Sequence

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    _resolve_context,
    add_completion_class,
    split_arg_string,
)

if TYPE_CHECKING:
    _Item = CompletionItem[Any]

_BASH = """\
_queuectl_completion() {
    local kind value
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            plain) COMPREPLY+=("$value") ;;
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            command) _queuectl_completion_of_command "$value" ;;
        esac
    done < <(
        COMP_LINE=$COMP_LINE COMP_POINT=$COMP_POINT COMP_WORDBREAKS=$COMP_WORDBREAKS \\
            COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
            _QUEUECTL_COMPLETE=bash_complete "$1" 2>/dev/null
    )
}

# Complete the command that begins at a place in the line, as bash-completion does after sudo.
_queuectl_completion_of_command() {
    local first=0 at=0
    for ((; first < ${#COMP_WORDS[@]}; first++)); do
        while [[ ${COMP_LINE:at:1} == [[:space:]] ]]; do ((at++)); done
        ((at >= $1)) && break
        ((at += ${#COMP_WORDS[first]}))
    done
    if declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$first"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$first"
    elif ((first == COMP_CWORD)) && [[ ${COMP_WORDS[COMP_CWORD]} != */* ]]; then
        mapfile -t COMPREPLY < <(compgen -c -- "${COMP_WORDS[COMP_CWORD]}")
    else
        compopt -o default
    fi
}

complete -o nosort -F _queuectl_completion queuectl 2>/dev/null ||
    complete -F _queuectl_completion queuectl
"""

_ZSH = """\
#compdef queuectl

_queuectl_completion() {
    local -a plain described response
    local kind value meaning ret=1
    response=("${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \\
        _QUEUECTL_COMPLETE=zsh_complete $words[1] 2>/dev/null)}")
    for kind value meaning in "${(@)response}"; do
        [[ $kind != plain && $PREFIX == --*=* ]] && compset -P 1 '*='
        case $kind in
            plain)
                if [[ $meaning == _ ]]; then
                    plain+=("$value")
                else
                    described+=("$value:$meaning")
                fi ;;
            dir) _path_files -/ && ret=0 ;;
            file) _files && ret=0 ;;
            command)
                shift $((CURRENT - value - 1)) words
                CURRENT=$((value + 1))
                _normal && ret=0 ;;
        esac
    done
    (( $#described )) && _describe -V queuectl described -U && ret=0
    (( $#plain )) && compadd -U -V queuectl -a plain && ret=0
    return ret
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _queuectl_completion "$@"
else
    compdef _queuectl_completion queuectl
fi
"""

_FISH = """\
function _queuectl_completion
    set -l current (commandline -ct)
    set -l option (string match -r -- '^--[^=]*=' "$current")
    set -l response (env COMP_WORDS=(commandline -cp | string collect) COMP_CWORD="$current" \\
        _QUEUECTL_COMPLETE=fish_complete queuectl 2>/dev/null)
    for completion in $response
        set -l parts (string split -m 1 , -- $completion)
        set -l value $parts[2]
        switch $parts[1]
            case plain
                echo $value
            case dir
                __fish_complete_directories $value | string replace -r -- '^' "$option"
            case file
                __fish_complete_path $value | string replace -r -- '^' "$option"
            case command
                set -l words (commandline -opc)
                set -l command
                if test $value -gt 0
                    set -l first (math (count $words) - $value + 1)
                    set command (string escape -- $words[$first..])
                end
                complete -C (string join ' ' -- $command "$current")
        end
    end
end

complete --keep-order --no-files --command queuectl --arguments '(_queuectl_completion)'
"""

_LONG = 200
_QUOTES = ("'", '"')
_BREAKING = "@=:"
"""Characters at which bash may split words, so that it replaces only what comes after them."""


class _Completion(ShellComplete):
    """The part that all shells have in common."""

    def get_completions(self, args: list[str], incomplete: str) -> list[_Item]:
        """Return what is offered; after the first word of a job's command, what belongs to it."""
        ctx = _resolve_context(self.cli, self.ctx_args, self.prog_name, args)
        words = ctx.params.get("words") or ()
        if words and words[0] != "-" and not words[0].startswith("{"):
            return [CompletionItem(str(len(words)), type="command")]
        items = super().get_completions(args, incomplete)
        if isinstance(ctx.command, click.Group):
            for item in items:  # click cuts the summaries of commands
                found = ctx.command.get_command(ctx, item.value)
                item.help = item.help if found is None else found.get_short_help_str(_LONG)
        option, equals, _ = incomplete.partition("=")
        if equals and option.startswith("--"):
            for item in items:
                item.value = f"{option}={item.value}" if item.type == "plain" else item.value
        return items


class _Bash(_Completion, BashComplete):
    """Completion in bash."""

    source_template = _BASH
    _line = ""
    _starts: Sequence[int] = ()

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one at the cursor, and the beginning of that one."""
        if "COMP_LINE" not in os.environ:  # a script of click
            return super().get_completion_args()
        # Both count characters, not bytes.
        self._line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
        self._starts = word_starts(self._line)
        begin = self._starts[-1]
        current = split_arg_string(self._line[begin:])
        return split_arg_string(self._line[:begin])[1:], "".join(current)

    def format_completion(self, item: _Item) -> str:
        """Return a line for the script; a value without what bash keeps of the word."""
        if not self._line or item.type not in ("plain", "command"):
            return f"{item.type},{item.value}"
        if item.type == "command":
            return f"command,{self._starts[-1 - int(item.value)]}"
        word = self._line[self._starts[-1] :]
        if word[:1] in _QUOTES:
            return f"plain,{item.value}"
        breaks = os.environ.get("COMP_WORDBREAKS", _BREAKING)
        # What bash replaces begins after = and :, but with @ (rl_special_prefixes in its sources).
        begins = [word.rfind(char) + (char != "@") for char in _BREAKING if char in breaks]
        return f"plain,{shlex.quote(item.value[max([0, *begins]) :])}"


class _Zsh(_Completion, ZshComplete):
    """Completion in zsh."""

    source_template = _ZSH

    def format_completion(self, item: _Item) -> str:
        """Return three lines for the script; `_describe` separates a description by a colon."""
        meaning = _one_line(item)
        value = item.value.replace(":", r"\:") if meaning else item.value
        return f"{item.type}\n{value}\n{meaning or '_'}"


class _Fish(_Completion, FishComplete):
    """Completion in fish."""

    source_template = _FISH

    def format_completion(self, item: _Item) -> str:
        """Return a line for the script, with the description after a tab."""
        meaning = _one_line(item)
        return f"{item.type},{item.value}" + (f"\t{meaning}" if meaning else "")


def _one_line(item: _Item) -> str:
    return " ".join((item.help or "").split())


_CLASSES: dict[str, type[_Completion]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


FILES = {
    "bash": "bash-completion/completions/queuectl",
    "zsh": "zsh/site-functions/_queuectl",
    "fish": "fish/vendor_completions.d/queuectl.fish",
}
"""The path, below `share`, at which each shell looks for the script; the wheel puts it there."""


def script(shell: str) -> str:
    """Return the completion script for a shell."""
    return _CLASSES[shell].source_template


def register() -> None:
    """Let click use these classes instead of its own."""
    for name, found in _CLASSES.items():
        add_completion_class(found, name)


def word_starts(line: str) -> list[int]:
    """Return where the words of a command line begin, as a shell splits it.

    The last one is the word at the end of the line, which may be empty.
    """
    starts: list[int] = []
    quote, is_word, is_escaped = "", False, False
    for at, char in enumerate(line):
        if is_escaped:
            is_escaped = False
        elif not quote and char.isspace():
            is_word = False
        else:
            if not is_word:
                starts.append(at)
                is_word = True
            if char == "\\" and quote != "'":
                is_escaped = True
            elif char == quote:
                quote = ""
            elif not quote and char in _QUOTES:
                quote = char
    return starts if is_word else [*starts, len(line)]
