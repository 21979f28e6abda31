"""The secret of a queue's web page, and what is made of it: tokens, the path, signed cookies."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import stat

from queuectl.core.errors import QueueUnusable
from queuectl.core.named_tuples import NamedTuple
from queuectl.host import places
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import open_to_read
from queuectl.host.new_files import new_file

_BYTES = 32
_PATH_CHARACTERS = 12


class Keys(NamedTuple):
    """What one secret stands for. Another secret makes all of it invalid."""

    full: str
    """The token of those who may change jobs, and so run commands."""
    view: str
    """The token of those who may only look."""
    path: str
    """The name of the secret path: no other server on this machine sees cookies of this path."""
    signing: bytes
    """The key with which cookies are signed."""


class KeyRing:
    """The keys of a queue, read again when the file with the secret was replaced.

    So `queuectl web --new-key` ends the sessions of a server that is running, too.
    """

    def __init__(self, files: QueueFiles, *, renew: bool = False) -> None:
        """Read the secret, or make one; with `renew`, make another one.

        While the queue does not exist, neither does the folder of the secret: then it is kept in
        memory only, as long as this process lives. Raises QueueUnusable.
        """
        self._path = files.web_key
        self._seen: tuple[int, int, int] | None = None
        if not files.exists():
            self._keys = _keys_of(os.urandom(_BYTES))
            return
        places.refuse_shared(files)
        if renew or not os.path.lexists(self._path):
            places.prepare(files)
            _write(self._path, replace=renew)
        self._keys = self._read()

    def current(self) -> Keys:
        """Return the keys as they are now. Raises QueueUnusable."""
        # A queue that came into being later may get a secret of its own by another process. Ours
        # stays valid, because people have been given links.
        if self._seen is not None and _identity(self._path) != self._seen:
            self._keys = self._read()
        return self._keys

    def _read(self) -> Keys:
        try:
            descriptor = open_to_read(self._path)
        except OSError as error:
            raise QueueUnusable(f"cannot read {self._path}: {error.strerror}") from None
        try:
            status = os.fstat(descriptor)
            secret = os.read(descriptor, _BYTES + 1)
        finally:
            os.close(descriptor)
        renewal = "queuectl web --new-key makes another"
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise QueueUnusable(f"others can read or change {self._path} ({renewal})")
        if len(secret) != _BYTES:
            raise QueueUnusable(f"{self._path} is damaged ({renewal})")
        self._seen = (status.st_dev, status.st_ino, status.st_mtime_ns)
        return _keys_of(secret)


def _write(path: str, *, replace: bool) -> None:
    """Store a new secret, complete or not at all; only its owner can read it."""
    try:
        with new_file(path, replace=replace) as made:
            os.write(made.descriptor, os.urandom(_BYTES))
    except QueueUnusable:
        if replace or not os.path.lexists(path):
            raise
        # Another process was faster; its secret counts.


def _identity(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _keys_of(secret: bytes) -> Keys:
    path = _derived(secret, "path")[:_PATH_CHARACTERS]
    signing = hmac.new(secret, b"cookies", hashlib.sha256).digest()
    return Keys(_derived(secret, "full"), _derived(secret, "view"), path, signing)


def _derived(secret: bytes, purpose: str) -> str:
    digest = hmac.new(secret, purpose.encode("ascii"), hashlib.sha256).digest()
    return base64.b32encode(digest).decode("ascii").rstrip("=").lower()
