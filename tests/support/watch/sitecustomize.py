"""Imported by every Python that has this folder on its PYTHONPATH: it is watched from its start."""

from __future__ import annotations

import os

import file_watch

if "TEST_WATCH" in os.environ:
    file_watch.install(os.environ["TEST_WATCH"])
