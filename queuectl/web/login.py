"""Logging in with a token, where the link is not at hand, and logging out."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Response, abort, g, redirect, request

from queuectl.web import access
from queuectl.web.guard import home, serving, set_cookie, start_session

login = Blueprint("login", __name__)


@login.post("/login")
def log_in() -> Response:
    """Start a session if the token is right."""
    role = access.role_of(g.keys, request.form.get("token", ""))
    if role is None:
        abort(401)
    return start_session(role, home())


@login.post("/logout")
def log_out() -> Response:
    """Forget the session of this browser."""
    response = cast(Response, redirect(home(), 303))
    set_cookie(response, serving().cookie, "", 0)
    return response
