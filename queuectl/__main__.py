"""Run the command line as `python -m queuectl`."""

from __future__ import annotations

from queuectl.cli import main

main()
