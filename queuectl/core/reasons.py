"""Why a job failed, in a few words."""

from __future__ import annotations

_SHORT = {
    "exit 126": "exit 126 (cannot run)",
    "exit 127": "exit 127 (not found)",
    "lost with its worker": "lost",
}


def short_reason(reason: str) -> str:
    """Return the reason of a failure as it is shown where there is little room: `timeout 5m`.

    `runner/attempt.py` writes the reasons; others, such as one from a file of another program, stay
    as they are.
    """
    what, separator, more = reason.partition("; ")
    killed = what[len("killed ") :] if what.startswith("killed ") else ""
    if killed.startswith("after ") and killed.endswith(" by its timeout"):
        what = "timeout " + killed[len("after ") : -len(" by its timeout")]
    elif killed.startswith("by signal ") and killed.endswith(")"):
        what = "signal " + killed.rpartition("(")[2][:-1]
    return _SHORT.get(what, what) + separator + more
