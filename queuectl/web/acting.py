"""How an action ends: one line in the log, a message, and the page it came from."""

from __future__ import annotations

import logging
from typing import Sequence, cast

from flask import Response, g, redirect, request

from queuectl.core.counts import and_more
from queuectl.core.escaping import escape
from queuectl.core.values import check_reason
from queuectl.host.processes import user_name
from queuectl.web import messages
from queuectl.web.guard import home

_log = logging.getLogger(__name__)

_MOST_LOGGED = 20
"""The largest number of names in one line of the log, of jobs or hooks that an action changed."""


def by() -> str:
    """Return who acts, as pauses and cancels keep it: the user of this server, through the page."""
    return f"{user_name()} (web)"


def reason() -> str | None:
    """Return the reason that the form gives; None if it is empty. Raises InvalidInput."""
    return check_reason(request.form.get("reason", "").strip() or None, "the reason")


def done(action: str, names: Sequence[str], message: str, *, to: str | None = None) -> Response:
    """End an action that changed something.

    `names` are the ids of jobs, or other names, that were changed. The user comes back to the page
    of the form, or `to` another one if that page is gone.
    """
    return _end(action, names, message, to or where_from(), is_good=True)


def refused(message: str, code: int = 409) -> Response:
    """End an action that changed nothing, because the queue did not allow it.

    In a browser, the page of the form says why. A script gets this status, and the message.
    """
    action = (request.endpoint or "").rpartition(".")[2]
    if is_script():
        _log_action(action, [], message)
        return Response(f"{escape(message)}\n", code, content_type="text/plain; charset=utf-8")
    return _end(action, [], message, where_from(), is_good=False)


def is_script() -> bool:
    """Whether a script calls, with the token in a header: it reads no pages."""
    return bool(g.get("with_bearer"))


def where_from() -> str:
    """Return the URL of the page on which the form was, which it names in its field `back`.

    It always leads to this server and below the secret path, whatever the field holds.
    """
    back = request.form.get("back", "")
    # The secret path comes before it, so that it names no other host.
    return request.script_root + back if back[:1] == "/" and back.isprintable() else home()


def _end(action: str, names: Sequence[str], text: str, target: str, *, is_good: bool) -> Response:
    _log_action(action, names, text)
    response = cast(Response, redirect(target, 303))
    messages.leave(response, text, is_good=is_good)
    return response


def _log_action(action: str, names: Sequence[str], text: str) -> None:
    shown = ", ".join(names[:_MOST_LOGGED]) + and_more(len(names) - _MOST_LOGGED)
    _log.info(
        "%s %s %s%s: %s", g.role.value, request.remote_addr or "-", action,
        escape(f" {shown}" if shown else ""), escape(text),
    )  # fmt: skip
