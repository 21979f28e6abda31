"""Telling a service manager, such as systemd, how this process is doing: see sd_notify(3)."""

from __future__ import annotations

import socket

_TELL_SECONDS = 1.0


def tell(address: str, assignment: str) -> None:
    """Send an assignment, such as `READY=1`, to the address that NOTIFY_SOCKET gave.

    Nothing happens if nobody listens there.
    """
    path = "\0" + address[1:] if address[:1] == "@" else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            # A manager that hangs must not hold up this process.
            sender.settimeout(_TELL_SECONDS)
            sender.sendto(assignment.encode("ascii"), path)
    except OSError:  # it does not listen; nothing depends on it
        pass
