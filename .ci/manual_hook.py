"""Put manual pages and completion scripts into the wheel, made at build time.

The pages are made from the commands and the topics.
"""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualHook(BuildHookInterface):
    """Adds the pages queuectl(1), queuectl-COMMAND(1) and queuectl-TOPIC(7) to share/man.

    Adds the completion scripts where bash, zsh and fish look for them.
    """

    def initialize(self, version: str, build_data: dict) -> None:
        """Make the files before the wheel is packed."""
        sys.path.insert(0, self.root)
        from queuectl.cli.manual import pages
        from queuectl.cli.shells import FILES, script

        texts = {f"man/{name}": text for name, text in pages(date=_build_date()).items()}
        texts.update((path, script(shell)) for shell, path in FILES.items())
        self._folder = tempfile.TemporaryDirectory()
        for name, text in texts.items():
            path = Path(self._folder.name) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            build_data["shared_data"][str(path)] = f"share/{name}"

    def finalize(self, version: str, build_data: dict, artifact_path: str) -> None:
        """Remove what was made."""
        self._folder.cleanup()


def _build_date() -> str:
    """Return today, or the day that SOURCE_DATE_EPOCH names for a build that can be repeated."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    day = datetime.fromtimestamp(int(epoch), timezone.utc) if epoch else datetime.now(timezone.utc)
    return day.strftime("%Y-%m-%d")
