"""Jobs that run until the test lets them go on with `queue.let_go()`."""

from __future__ import annotations

UNTIL_GO = "until [ -e go ]; do sleep 0.02; done"
"""Runs until the file `go` is in the work folder."""

HELD = "echo $$ > running; " + UNTIL_GO
"""The same, once it has written its process id into the file `running`."""
