"""What is answered when something is wrong: a page that says what, and what to do."""

from __future__ import annotations

import logging
from contextlib import suppress

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from queuectl.core.errors import (
    InvalidInput,
    JobDeleted,
    NoSuchHook,
    NoSuchJob,
    QueueBusy,
    QueueError,
    QueueLost,
    QueueReplaced,
    QueueUnusable,
    QueueUpgraded,
    ReadTimeOut,
    UnreadableRow,
)
from queuectl.storage.schedules import NoSuchSchedule
from queuectl.web import acting, frame

_log = logging.getLogger(__name__)

_TITLES = {
    401: "Log in",
    403: "Not allowed",
    404: "There is no such page",
    405: "This address cannot be called in this way",
    413: "The request is too long",
    421: "Misdirected request (for another name or port: queuectl web --allowed-host NAME:PORT)",
    500: "Something went wrong in queuectl",
    503: "The queue cannot be used at the moment",
}
_AGAIN_SECONDS = 5


def install(app: Flask) -> None:
    """Let an app answer all errors in this way."""
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(QueueError, _of_queue)
    app.register_error_handler(Exception, _unexpected)


def _of_http(error: HTTPException) -> Response:
    code = error.code or 500
    text = {
        400: "The form that was sent cannot be read: load the page again.",
        401: "Open the link that queuectl web printed, or paste its token here.",
        404: "It may have been deleted since.",
    }.get(code, error.description or "")
    return _page(code, text)


def _of_queue(error: QueueError) -> Response:
    """Answer an error of the storage: a refused action leads back to its page with a message."""
    if isinstance(error, UnreadableRow):
        return _page(500, _sentence(str(error)), "Another program wrote what cannot be read")
    if isinstance(error, (QueueLost, QueueUnusable)):
        return _page(503, _sentence(_about_lost(error)))
    code = 409
    if isinstance(error, (NoSuchJob, JobDeleted, NoSuchHook, NoSuchSchedule)):
        code = 404
    elif isinstance(error, (QueueBusy, ReadTimeOut)):
        code = 503
    elif isinstance(error, InvalidInput):
        code = 400
    if request.method == "POST":
        return acting.refused(str(error), code)
    return _page(code, _sentence(str(error)))


def _about_lost(error: QueueError) -> str:
    if isinstance(error, QueueUpgraded):
        return "the queue was upgraded: start queuectl web again"
    if isinstance(error, QueueReplaced):
        return f"{error}: start queuectl web again"
    return str(error)


def _unexpected(error: Exception) -> Response:
    _log.exception("unexpected error at %s %s", request.method, request.path)
    return _page(500, f"{type(error).__name__}. The log of queuectl web says more.")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _page(code: int, text: str, title: str | None = None) -> Response:
    title = title or _TITLES.get(code, "The request was refused")
    if request.script_root == "" or code == 421:
        # Nobody has proved to know the secret path, so nothing of a page may tell it.
        body = "" if request.path == "/healthz" and code == 503 else f"{title}\n"
        response = Response(body, code, content_type="text/plain; charset=utf-8")
    elif request.method == "POST" and acting.is_script():
        response = Response(f"{text or title}\n", code, content_type="text/plain; charset=utf-8")
    else:
        page = _rendered(code, title, text)
        response = Response(page, code, content_type="text/html; charset=utf-8")
    if code == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="queuectl"'
    elif code == 405:
        response.headers["Allow"] = "GET, HEAD, POST"
    elif code == 503:
        response.headers["Retry-After"] = str(_AGAIN_SECONDS)
    return response


def _rendered(code: int, title: str, text: str) -> str:
    """Return a page for an error; it shows nothing of the queue if that cannot be read."""
    if code == 401:
        return frame.render_bare("login.html", title=title, text=text)
    if "storage" in g and code != 503:
        with suppress(QueueError):
            return frame.render(
                "error.html",
                title=title,
                nav="",
                text=text,
                layout="base.html",
                live=request.method != "POST",  # the address of an action is no page
            )
    return frame.render_bare("error.html", title=title, text=text, layout="bare.html")
