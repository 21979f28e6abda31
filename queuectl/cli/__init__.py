"""The command line."""

from __future__ import annotations

import _signal as signal  # the usual module makes enums of it, which takes 0.4 ms
import gc
import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from queuectl import POOL_VARIABLE


def main() -> None:
    """Run the command line, or the pool of workers that `worker start` becomes; never returns."""
    # Let Ctrl+C end the command by SIGINT itself, so that a shell loop around it ends, too. A
    # command can be killed safely at any step. Do this before the slow imports. If SIGINT was
    # ignored when we were started, it stays ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        from queuectl.host.program import run_in_utf_8  # only when it is needed

        run_in_utf_8()
    # Imported modules stay in memory. To search them for garbage again and again would cost 3 ms.
    gc.disable()
    if os.environ.get(POOL_VARIABLE, "").startswith(f"{os.getpid()} "):
        from queuectl.worker.main import run  # without importing the command line
    else:
        # click imports it at once, and uses it when it prints a help. It takes 4 of the 40 ms of
        # `enqueue` to load.
        sys.modules.setdefault("inspect", _Unloaded("inspect"))
        from queuectl.cli.app import run  # only when it is needed
    gc.freeze()
    gc.enable()
    run()


class _Unloaded(ModuleType):
    """Stands for a module that is loaded when it is first used."""

    def __getattr__(self, name: str) -> Any:
        """Return a member of the module; import it if nobody has yet."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)
