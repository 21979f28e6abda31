"""Put the manual page into the wheel, made from the commands at build time."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualHook(BuildHookInterface):
    """Adds share/man/man1/queuectl.1."""

    def initialize(self, version: str, build_data: dict) -> None:
        """Make the page before the wheel is packed."""
        sys.path.insert(0, self.root)
        from queuectl.cli.manual import page

        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "queuectl.1"
        path.write_text(page(), encoding="utf-8")
        build_data["shared_data"][str(path)] = "share/man/man1/queuectl.1"

    def finalize(self, version: str, build_data: dict, artifact_path: str) -> None:
        """Remove what was made."""
        self._folder.cleanup()
