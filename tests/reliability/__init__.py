"""Nothing lost, nothing twice: faults at every step, and what came of them read as a history.

Each test has a short form, which belongs to every run of the suite, and a long one:

    QUEUECTL_TEST_LONG=1 python -m pytest -q tests/reliability

The long form sweeps every point where the short one takes a sample, and runs thousands of jobs
instead of a hundred. Some need Linux, strace, a C compiler or root, and are skipped without.
"""

from __future__ import annotations
