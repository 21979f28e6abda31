"""A web server on loopback that receives webhooks, and behaves as a test tells it to."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable, Iterator, Mapping, NamedTuple


class Received(NamedTuple):
    """One request."""

    path: str
    headers: Mapping[str, str]
    """With names in lower case."""
    body: bytes


Reply = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, body: bytes = b"", **headers: str) -> Reply:
    """Answer with a status, a body and headers (`Retry_After="5"`)."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def hang(handler: BaseHTTPRequestHandler) -> None:
    """Accept the request, and say nothing until the client has gone."""
    handler.rfile.read(1)


def close_in_the_middle(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection within the status line."""
    handler.wfile.write(b"HTTP/1.1 2")


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Send one byte of a header after the other, for ever."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.05)


def flood(handler: BaseHTTPRequestHandler) -> None:
    """Answer 200 with 100 MB."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(100 << 20))
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(bytes(1 << 20))


class Receiver:
    """The server: what it has received, and what it answers."""

    def __init__(self, server: ThreadingHTTPServer, replies: list[Reply]) -> None:
        self.received: list[Received] = []
        self.replies = replies
        self._server = server

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def next_reply(self) -> Reply:
        """The replies in their order; the last one for all further requests."""
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def receiving(*replies: Reply) -> Iterator[Receiver]:
    """Run a server that gives these replies, one after the other (always 200 without any)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with lock:
                receiver.received.append(Received(self.path, headers, body))
                reply = receiver.next_reply()
            self.close_connection = True
            try:
                reply(self)
            except OSError:  # the client has gone
                pass

        def log_message(self, *_: object) -> None:
            pass

    lock = threading.Lock()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        receiver = Receiver(server, list(replies) or [status(200)])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
