"""What every request has to pass before a page or an action sees it, and the headers of answers."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from typing import TYPE_CHECKING, Callable, TypeVar, cast
from urllib.parse import quote, urlencode

from flask import Flask, Response, abort, current_app, g, redirect, request, url_for
from werkzeug.exceptions import HTTPException

from queuectl.core.errors import QueueError
from queuectl.web import access
from queuectl.web.access import HEADERS, MOST_BODY_BYTES, SESSION_SECONDS, Role
from queuectl.web.keys import KeyRing, Keys
from queuectl.web.options import WebOptions
from queuectl.web.storages import Storages, WebStorage
from queuectl.web.tasks import Tasks
from queuectl.web.watcher import Watcher

if TYPE_CHECKING:
    from typing import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_Value = TypeVar("_Value")

_MOST_AT_ONCE = 2
"""So many pages are made at the same time. More would not be faster, since only one thread at a
time runs Python, but each takes memory of its own: 8 at a time take 79 MB, 2 take 58 MB."""

_OUTSIDE = "queuectl.outside"
_WITHOUT_KEY = "queuectl.without_key"
_HEALTH = "/healthz"
_METRICS = "/metrics"
_WITHOUT_TOKEN = {"static_files.static_file", "login.log_in", "login.log_out"}
LIVE = "X-Queuectl-Live"
"""The header by which a page asks for itself again."""


class Misdirected(HTTPException):
    """The request was meant for another host: the header Host names none of ours."""

    code = 421


class Serving:
    """What all requests of one server have in common."""

    def __init__(self, options: WebOptions, ring: KeyRing) -> None:
        self.options = options
        self.ring = ring
        self.storages = Storages(options.files, read_only=options.read_only)
        self.watcher = Watcher(self.storages)
        self.kept: dict[object, object] = {}
        """What pages of one generation of the queue share; whoever keeps more clears it first."""
        self._lately: dict[str, tuple[float, object]] = {}
        self.tasks = Tasks(self.storages, self.watcher.tell)
        self.hosts = options.hosts()
        self.origins = options.origins()

    def lately(self, key: str, seconds: float, read: Callable[[], _Value]) -> _Value:
        """Return what was read lately, or read it now: for figures of a long time, which are large.

        A busy queue changes with each look, and an open page asks every two seconds.
        """
        known = self._lately.get(key)
        if known is not None and time.monotonic() - known[0] < seconds:
            return cast(_Value, known[1])
        value = read()
        self._lately[key] = time.monotonic(), value
        return value

    @property
    def cookie(self) -> str:
        """The name of the cookie of a session."""
        return "__Secure-queuectl" if self.options.is_https else "queuectl"


def serving() -> Serving:
    """Return what all requests of this server have in common."""
    return cast(Serving, current_app.extensions["queuectl"])


def storage() -> WebStorage:
    """Return the storage for this request."""
    return cast(WebStorage, g.storage)


def may_change() -> bool:
    """Whether the user of this request may change jobs."""
    return g.get("role") is Role.FULL


def may_see_env() -> bool:
    """Whether the user of this request may see the values of variables."""
    return serving().options.show_env and may_change()


def keys() -> Keys:
    """Return the keys, as they were when this request came."""
    return cast(Keys, g.keys)


def set_cookie(response: Response, name: str, value: str, seconds: int) -> None:
    """Set a cookie that only our pages can send, and that no script can read."""
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path=f"{request.script_root}/",
        secure=serving().options.is_https,
        httponly=True,
        samesite="Strict",
    )


class SecretPath:
    """Lets only requests below the secret path reach the pages; it is cut off there.

    A cookie with this path is not sent to servers at other ports of the same host.
    """

    def __init__(self, app: WSGIApplication, of: Serving) -> None:
        self._app = app
        self._serving = of
        self._reading = threading.BoundedSemaphore(_MOST_AT_ONCE)

    def __call__(self, asked: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        path = asked.get("PATH_INFO", "")
        prefix = self._serving.options.prefix
        # A proxy may leave its prefix in the path, or cut it off.
        inner = path[len(prefix) :] if prefix and path.startswith(f"{prefix}/") else path
        root, _, rest = inner[1:].partition("/")
        secret, _, rest = rest.partition("/")
        try:
            own = self._serving.ring.current().path
        except QueueError as error:
            own, asked[_WITHOUT_KEY] = "", error
        is_inside = root == "q" and hmac.compare_digest(secret.encode("utf-8", "replace"),
                                                        own.encode())  # fmt: skip
        if is_inside and inner.count("/") >= 3:
            asked["SCRIPT_NAME"] = f"{prefix}/q/{own}"
            asked["PATH_INFO"] = f"/{rest}"
        elif inner != _HEALTH and not (inner == _METRICS and self._serving.options.public_metrics):
            asked[_OUTSIDE] = True
        else:
            asked["PATH_INFO"] = inner
            asked["SCRIPT_NAME"] = ""
        if asked.get("REQUEST_METHOD") == "POST":  # it may wait for its turn to write
            return self._app(asked, start)
        with self._reading:
            return self._app(asked, start)


def install(app: Flask, of: Serving) -> None:
    """Put all checks in front of an app, and all headers on its answers."""
    app.extensions["queuectl"] = of
    app.config["MAX_CONTENT_LENGTH"] = MOST_BODY_BYTES
    app.before_request(_check)
    app.after_request(_add_headers)
    app.wsgi_app = SecretPath(app.wsgi_app, of)  # type: ignore[assignment,method-assign]


def _check() -> Response | None:
    """Refuse a request, answer it, or let it through with its role and its storage in `g`."""
    _refuse_misplaced()
    if request.script_root == "":
        return _without_secret_path()
    of = serving()
    g.keys = of.ring.current()
    _authenticate()
    if request.method == "POST":
        _refuse_foreign()
    if request.endpoint in _WITHOUT_TOKEN:
        return None
    token = request.args.get("token")
    if token is not None:
        return _log_in_by_link(token)
    if g.role is None:
        abort(401)
    if request.method == "POST" and not may_change():
        abort(403, "This link allows looking only.")
    # Before the queue is read: what changes later makes this page an old one.
    g.generation = of.watcher.generation()
    g.storage = of.storages.current()
    if request.method == "POST" and not of.options.files.exists():
        # What is written then is forgotten: it would look as if it had been done.
        abort(409, "There is no queue yet.")
    return _unchanged()


def _refuse_misplaced() -> None:
    """Refuse what is no request for one of our pages, whoever asks."""
    if request.headers.get("Host", "").lower() not in serving().hosts:
        raise Misdirected
    if request.method not in ("GET", "HEAD", "POST"):
        abort(405)
    if _WITHOUT_KEY in request.environ:
        raise cast(QueueError, request.environ[_WITHOUT_KEY])
    if request.environ.get(_OUTSIDE):
        abort(404)
    if (request.content_length or 0) > MOST_BODY_BYTES:
        abort(413)


def _without_secret_path() -> Response | None:
    """Answer those without a token whether the queue can be read, or let /metrics answer them."""
    g.storage = serving().storages.current()
    if request.path == _METRICS:
        return None
    g.storage.version()
    return Response(status=200)


def _authenticate() -> None:
    role = access.role_of_header(g.keys, request.headers.get("Authorization"))
    g.with_bearer = role is not None
    if role is None:
        role = access.role_of_session(g.keys, request.cookies.get(serving().cookie))
    g.role = Role.VIEW if role is not None and serving().options.read_only else role


def _refuse_foreign() -> None:
    headers = request.headers
    if not access.is_from_our_pages(
        headers.get("Sec-Fetch-Site"),
        headers.get("Origin"),
        serving().origins,
        with_bearer=g.with_bearer,
    ):
        abort(403, "This request did not come from this page.")


def _log_in_by_link(token: str) -> Response:
    """Exchange the token of a link for a session, and show the page without it in the address."""
    if request.method != "GET":
        abort(401)
    role = access.role_of(g.keys, token)
    if role is None:
        abort(401)
    rest = [(key, value) for key, value in request.args.items(multi=True) if key != "token"]
    target = f"{request.script_root}{quote(request.path)}"
    if rest:
        target += f"?{urlencode(rest)}"
    return start_session(role, target)


def start_session(role: Role, target: str) -> Response:
    """Return an answer that logs a browser in and leads it to a page."""
    response = cast(Response, redirect(target, 303))
    set_cookie(response, serving().cookie, access.new_session(g.keys, role), SESSION_SECONDS)
    return response


def home() -> str:
    """Return the URL of the first page."""
    return url_for("overview.overview")


def _tag() -> str:
    """Return the ETag of a page: the generation of the queue, and what else the page depends on."""
    seen = f"{request.full_path}\n{g.role.value}"
    return f'W/"{g.generation}-{hashlib.sha256(seen.encode()).hexdigest()[:16]}"'


def _unchanged() -> Response | None:
    """Answer a page that asks for itself again, if nothing has changed."""
    asks_again = request.method == "GET" and request.headers.get(LIVE)
    if asks_again and request.headers.get("If-None-Match") == _tag():
        return Response(status=304)
    return None


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if "generation" in g and request.method == "GET" and response.status_code in (200, 304):
        response.headers["ETag"] = _tag()
    return response
