"""The optional packages: which extra brings which, and the error that tells how to install it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator

from queuectl.core.errors import QueueError

PACKAGES = {
    "cron": "cronsim",
    "metrics": "prometheus-client",
    "web": "flask, waitress and prometheus-client",
}
"""Each extra of pyproject.toml, with the packages for which it is there."""


class MissingPackage(QueueError):
    """A package of an extra is not installed.

    `subject` is what needs it, with the verb, and `without` says what works without it.
    """

    def __init__(self, subject: str, extra: str, without: str = "") -> None:
        names = PACKAGES[extra]
        packages = "packages" if " and " in names else "package"
        # From a checkout, since on the public index the name queuectl belongs to another project.
        command = f"in a checkout of queuectl: pip install '.[{extra}]'"
        hint = f"{command}; {without}" if without else command
        super().__init__(f"{subject} the {packages} {names} ({hint})")
        self.extra = extra


@contextmanager
def needed(extra: str, subject: str = "this command needs", without: str = "") -> Iterator[None]:
    """Import packages of an extra in this block; raises `MissingPackage` if one is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("queuectl"):  # a bug of ours
            raise
        raise MissingPackage(subject, extra, without) from error
