"""Who may do what: tokens, sessions, and whether a request comes from our own pages.

Nothing here knows Flask. `guard.py` asks these questions about each request.
"""

from __future__ import annotations

import hmac
from enum import Enum
from typing import Collection, Mapping

from itsdangerous import BadSignature, URLSafeTimedSerializer

from queuectl.web.keys import Keys

SESSION_SECONDS = 30 * 86400
"""How long a browser stays logged in."""
MOST_BODY_BYTES = 1 << 20
"""The longest body that a request may have."""

_BEARER = "Bearer "

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers would send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
"""The headers of every answer. A view may send another value, as static files and downloads do."""


class Role(str, Enum):
    """What the bearer of a token may do."""

    VIEW = "view"
    """Look at everything, except values of variables."""
    FULL = "full"
    """Also change jobs and queues."""


def role_of(keys: Keys, token: str) -> Role | None:
    """Return what a token allows; None if it is wrong."""
    given = token.strip().lower().encode("utf-8", "replace")
    is_full = hmac.compare_digest(given, keys.full.encode())
    is_view = hmac.compare_digest(given, keys.view.encode())
    return Role.FULL if is_full else Role.VIEW if is_view else None


def role_of_header(keys: Keys, authorization: str | None) -> Role | None:
    """Return what the header Authorization allows; None without a valid token in it."""
    if authorization is None or not authorization.startswith(_BEARER):
        return None
    return role_of(keys, authorization[len(_BEARER) :])


def new_session(keys: Keys, role: Role) -> str:
    """Return the value of a cookie that stands for a login; it holds no token."""
    return str(_signer(keys, "session").dumps(role.value))


def role_of_session(keys: Keys, cookie: str | None) -> Role | None:
    """Return what a cookie allows; None if it is absent, too old, or not signed with our key."""
    if not cookie:
        return None
    try:
        return Role(_signer(keys, "session").loads(cookie, max_age=SESSION_SECONDS))
    except (BadSignature, ValueError):
        return None


def sign_message(keys: Keys, message: object) -> str:
    """Return a cookie that carries a message for the next page."""
    return str(_signer(keys, "message").dumps(message))


def read_message(keys: Keys, cookie: str) -> object:
    """Return a message that `sign_message` signed in the last minute; None if it is not one."""
    try:
        return _signer(keys, "message").loads(cookie, max_age=60)
    except BadSignature:
        return None


def is_from_our_pages(
    site: str | None, origin: str | None, origins: Collection[str], *, with_bearer: bool
) -> bool:
    """Whether a request that changes something was made by one of our pages, or by a script.

    `site` is the header Sec-Fetch-Site. Another port of the same host is the same site and gets our
    SameSite cookies, so only the same origin counts. Browsers leave the header out on plain HTTP
    with another host name than localhost; then `origin` is compared with our own origins, never
    with the header Host, which is the attacker's name after DNS rebinding. A script sends neither;
    it must have sent the token itself, as no browser does for another site.
    """
    if site is not None:
        return site == "same-origin"
    if origin is not None:
        return origin.lower() in origins
    return with_bearer


def _signer(keys: Keys, purpose: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(keys.signing, salt=f"queuectl {purpose}")
