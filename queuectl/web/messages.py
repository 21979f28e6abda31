"""The message that the next page shows after an action: what happened, or why nothing did."""

from __future__ import annotations

from flask import Response, after_this_request, g, request

from queuectl.core.named_tuples import NamedTuple
from queuectl.web import access
from queuectl.web.guard import LIVE, set_cookie

_COOKIE = "queuectl-message"
_SECONDS = 60
_MOST_CHARACTERS = 1500
"""A cookie has at most 4 KiB."""


class Message(NamedTuple):
    """A message for the user."""

    text: str
    is_good: bool


def leave(response: Response, text: str, *, is_good: bool = True) -> None:
    """Let the next page show a message; the cookie is signed, so nobody else can leave one."""
    if g.with_bearer:  # a script, which reads no pages
        return
    signed = access.sign_message(g.keys, [text[:_MOST_CHARACTERS], is_good])
    set_cookie(response, _COOKIE, signed, _SECONDS)


def take() -> Message | None:
    """Return the message for this page; it is shown once. None if there is none."""
    cookie = request.cookies.get(_COOKIE)
    if cookie is None or "keys" not in g or request.headers.get(LIVE):
        return None

    @after_this_request
    def forget(response: Response) -> Response:
        set_cookie(response, _COOKIE, "", 0)
        return response

    content = access.read_message(g.keys, cookie)
    if isinstance(content, list) and len(content) == 2:
        return Message(str(content[0]), bool(content[1]))
    return None
