"""Python imports this at its start if this folder is on PYTHONPATH, and then is watched."""

from __future__ import annotations

import os

import file_watch

if "TEST_WATCH" in os.environ:
    file_watch.install(os.environ["TEST_WATCH"])
