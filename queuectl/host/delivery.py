"""Sending a webhook: one POST, without redirects, with bounds on time and on what is read."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from typing import Sequence

from queuectl.core.named_tuples import NamedTuple
from queuectl.core.webhooks import Request

_READ_SECONDS = 20.0
"""How long to wait for the connection, and for each part of the answer."""

_READ_BYTES = 2048
"""How much of the body of an answer is read; it is there for people."""


class Answer(NamedTuple):
    """The answer of a server."""

    status: int
    reason: str
    """The words that the server gave with the status; may be empty."""
    headers: Sequence[tuple[str, str]]
    """Names and values, as they came."""
    body: bytes
    """The beginning of the body."""

    @property
    def retry_after(self) -> str | None:
        """The header Retry-After; None if there is none."""
        found = (value for name, value in self.headers if name.lower() == "retry-after")
        return next(found, None)

    @property
    def is_good(self) -> bool:
        """Whether the event was delivered. A redirect is a failure: nobody has seen the event."""
        return 200 <= self.status < 300


class NoAnswer(Exception):
    """The server could not be reached, or did not answer. The message is one line."""


def post(request: Request, *, timeout: float = _READ_SECONDS) -> Answer:
    """Send a request; return the answer, whatever its status is.

    `timeout` bounds the connection and each wait for more of the answer, in seconds. Redirects are
    not followed: they would send the event, and its signature, to where the user never sent it.
    Proxies are taken from the environment. Raises NoAnswer.
    """
    call = urllib.request.Request(  # noqa: S310 (the opener below knows http and https only)
        request.url, data=request.body, headers=dict(request.headers), method="POST"
    )
    try:
        with _opener().open(call, timeout=timeout) as response:
            return _answer(response.status, response)
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error)
    except urllib.error.URLError as error:
        raise NoAnswer(_words(error.reason)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswer(_words(error)) from None


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for http and https only: no redirects, no files, no FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _answer(status: int, response: http.client.HTTPResponse | urllib.error.HTTPError) -> Answer:
    try:
        body = response.read(_READ_BYTES)
    except (OSError, http.client.HTTPException):  # the status is what counts
        body = b""
    reason = getattr(response, "reason", "") or ""
    return Answer(status, str(reason), response.headers.items(), body)


def _words(error: object) -> str:
    """Return what went wrong in one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate cannot be verified: {error.verify_message}"
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, http.client.RemoteDisconnected):
        return "the server closed the connection without an answer"
    return " ".join(str(error).split()) or type(error).__name__
