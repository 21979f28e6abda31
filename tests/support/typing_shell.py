"""An interactive shell on a terminal of its own, into which a test types."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time
from contextlib import suppress
from typing import Mapping

from support.waiting import PATIENCE_SECONDS

_READY = "READY>"
_SHOW_LINE = "\x0f"  # Ctrl+O, which each shell is told to answer with the line as it is
_LINE = re.compile(r"LINE\[(.*?)\]LINE", re.DOTALL)

# Each: print the prompt, complete without paging or menus, and show the line on Ctrl+O.
_SET_UP = {
    "bash": (
        "bind 'set show-all-if-ambiguous on'; bind 'set bell-style none'; "
        "bind 'set enable-bracketed-paste off'; bind 'set page-completions off'; "
        "bind 'set completion-query-items 0'; "
        "bind -x '\"\\C-o\": printf \"LINE[%s]LINE\\n\" \"$READLINE_LINE\"'; PS1='READY''>'"
    ),
    "zsh": (
        "autoload -Uz compinit && compinit -u -D; "
        "unsetopt menu_complete auto_menu always_last_prompt "
        'beep bracketed_paste; LISTMAX=100000; show-line() { print -r -- "LINE[$BUFFER]LINE" }; '
        "zle -N show-line; bindkey '^O' show-line; unset zle_bracketed_paste; PROMPT='READY''>'"
    ),
    "fish": (
        "function fish_prompt; echo -n 'READY''>'; end; function fish_greeting; end; "
        "bind \\co 'echo LINE[(commandline)]LINE'"
    ),
}
_START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}


class TypingShell:
    """One shell; use it as a context."""

    def __init__(self, shell: str, env: Mapping[str, str], folder: str) -> None:
        self._shell = shell
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            _START[shell],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**env, "TERM": "dumb" if shell == "bash" else "xterm", "LC_ALL": "C.UTF-8"},
            cwd=folder,
            start_new_session=True,
            # Without a controlling terminal there is no job control, which fish insists on.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 (no threads)
        )
        os.close(theirs)
        self.run(_SET_UP[shell])

    def __enter__(self) -> TypingShell:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._ours)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        self._process.kill()
        self._process.wait()

    def run(self, command: str) -> str:
        """Run a command; return what is on the screen until the next prompt."""
        os.write(self._ours, f"{command}\r".encode())
        return self._until(_READY)

    def complete(self, typed: str) -> tuple[str, str]:
        """Type a text and press Tab; return the line then, and all that was shown meanwhile."""
        os.write(self._ours, f"{typed}\t{_SHOW_LINE}".encode())
        shown = self._until("]LINE")
        found = _LINE.search(shown)
        assert found is not None, shown
        os.write(self._ours, b"\x05\x15")  # to the end of the line, and delete it
        return found[1], shown

    def _until(self, text: str) -> str:
        read = ""
        end = time.monotonic() + PATIENCE_SECONDS
        while text not in read:
            left = end - time.monotonic()
            assert left > 0, f"no {text!r} in {read!r}"
            read += self._read(left)
        return read

    def _read(self, seconds: float) -> str:
        readable, _, _ = select.select([self._ours], [], [], seconds)
        if not readable:
            return ""
        try:
            return os.read(self._ours, 65536).decode(errors="replace")
        except OSError:
            return ""
