"""Listening for browsers: the socket, and the loop that serves until a signal ends it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import time
from typing import TYPE_CHECKING, Any, Callable

from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask
from waitress.wasyncore import file_dispatcher, loop

from queuectl.core.errors import QueueError
from queuectl.host.files import QueueFiles
from queuectl.host.filesystem import unlink_quietly, without_umask
from queuectl.host.signals import SignalStream
from queuectl.host.trust import weak_folder
from queuectl.web.access import HEADERS, MOST_BODY_BYTES
from queuectl.web.options import Address

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_FINISH_SECONDS = 5.0
"""How long running requests may take when the server is told to end."""
_LOOK_SECONDS = 0.2
_ARRIVED_SECONDS = 0.02
_BACKLOG = 64


class _Refusal(ErrorTask):
    """The answer of waitress itself to what is no request, or is too long, with our headers."""

    def execute(self) -> None:
        """Write the answer."""
        self.response_headers = [*self.response_headers, *HEADERS.items()]
        super().execute()


class _Channel(HTTPChannel):
    """A connection."""

    error_task_class = _Refusal


class _Signals(file_dispatcher):
    """Lets the loop of waitress see the signals that arrive."""

    def __init__(self, stream: SignalStream, channels: dict[int, Any]) -> None:
        # It makes a copy of the descriptor, which it closes.
        descriptor: Any = stream.fileno()
        super().__init__(descriptor, map=channels)
        self._stream = stream
        self.arrived: list[int] = []

    def writable(self) -> bool:
        """Return False: nothing is written to it."""
        return False

    def handle_read(self) -> None:
        """Keep the numbers of the signals."""
        self.arrived.extend(self._stream.read())


def bind(address: Address, files: QueueFiles) -> tuple[socket.socket, Address]:
    """Return a socket that listens at an address, and the address with its port.

    Raises QueueError if the address is in use, or cannot be used.
    """
    if address.path:
        return _bind_path(address, files), address
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address.host, address.port))
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise QueueError(
                f"{address.netloc} is in use (--listen {address.host}:0 takes any free port)"
            ) from None
        raise QueueError(f"cannot listen at {address.netloc}: {error.strerror}") from None
    return made, address._replace(port=made.getsockname()[1])


def _bind_path(address: Address, files: QueueFiles) -> socket.socket:
    path = os.path.abspath(address.path)
    weak = weak_folder(os.path.dirname(path))
    if weak is not None:
        raise QueueError(f"others can write {weak.path}, so they could replace the socket {path}")
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        with without_umask():
            # The mode of the socket, before anybody can connect.
            os.umask(0o117 if files.allow_shared else 0o177)
            made.bind(path)
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise QueueError(f"cannot listen at {path}: {error.strerror or error}") from None
    except QueueError:
        made.close()
        raise
    return made


def _remove_stale(path: str) -> None:
    """Remove a socket whose server has gone. Raises QueueError if something else is there."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
        raise QueueError(f"{path} exists and is no socket of yours")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except OSError as error:
            raise QueueError(f"cannot use {path}: {error.strerror}") from None
    raise QueueError(f"{path} is in use")


def serve(
    app: WSGIApplication,
    listening: socket.socket,
    *,
    threads: int,
    behind_proxy: bool,
    ready: Callable[[], object],
) -> int:
    """Answer requests until INT, TERM or HUP arrives; return its number.

    Running requests are finished first. `ready` is called when the first one could be answered.
    """
    channels: dict[int, Any] = {}
    # Everything that a proxy could say is in --url already, but for the address of the browser,
    # which is logged. Without a proxy, no such header is believed.
    proxy: dict[str, Any] = {}
    if behind_proxy:
        proxy = {
            "trusted_proxy": "127.0.0.1",
            "trusted_proxy_count": 1,
            "trusted_proxy_headers": {"x-forwarded-for"},
        }
    signals = SignalStream((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    server: Any = create_server(
        app,
        map=channels,
        sockets=[listening],
        threads=threads,
        ident="",
        clear_untrusted_proxy_headers=True,
        # The app itself answers a body that is too long, by a page; waitress ends one that goes on.
        max_request_body_size=2 * MOST_BODY_BYTES,
        **proxy,
    )
    server.channel_class = _Channel
    arrived = _Signals(signals, channels)
    ready()
    while not arrived.arrived:
        loop(timeout=1.0, use_poll=True, map=channels, count=1)
    _finish(server, channels)
    arrived.close()
    signals.close()
    return arrived.arrived[0]


def _finish(server: Any, channels: dict[int, Any]) -> None:
    """Take no more connections, and let the running requests end."""
    # Requests that have reached this machine already: to be accepted, then to be read.
    for _ in range(3):
        loop(timeout=_ARRIVED_SECONDS, use_poll=True, map=channels, count=1)
    server.accepting = False
    server.del_channel()
    server.socket.close()
    deadline = time.monotonic() + _FINISH_SECONDS
    while time.monotonic() < deadline:
        busy = [one for one in list(server.active_channels.values())
                if one.requests or one.total_outbufs_len]  # fmt: skip
        if not busy:
            break
        loop(timeout=_LOOK_SECONDS, use_poll=True, map=channels, count=1)
    server.task_dispatcher.shutdown(timeout=0.5)


def remove_socket(address: Address) -> None:
    """Remove the socket in the file system, if that is where the server listened."""
    if address.path:
        unlink_quietly(os.path.abspath(address.path))
