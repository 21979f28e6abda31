"""Webhooks: what is sent to a URL about an event, and how it is signed.

Signatures follow Standard Webhooks 1.0 (standardwebhooks.com): HMAC-SHA256 over
`ID.TIMESTAMP.BODY`, with a secret that is base64 behind `whsec_`.
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import hashlib
import hmac
import ipaddress
import json
import re
from datetime import datetime, timezone
from typing import Any, Mapping, Sequence
from urllib.parse import urlsplit

from queuectl.core.cells import cut
from queuectl.core.errors import InvalidInput
from queuectl.core.escaping import escape
from queuectl.core.named_tuples import NamedTuple

FORMATS = ("standard", "healthchecks", "slack", "text")
SECRET_PREFIX = "whsec_"

_SECRET_BYTES = 32
_MIN_SECRET_BYTES, _MAX_SECRET_BYTES = 24, 64
"""The bounds of the specification, 192 and 512 bits."""

_MAX_LINE = 300
"""How long the line for people may be, in characters."""

_PING_BYTES = 10_000
"""How many bytes of the output a ping of healthchecks.io sends; the service keeps no more."""

_OWN_HEADERS = frozenset(
    "webhook-id webhook-timestamp webhook-signature content-length content-type connection host "
    "transfer-encoding".split()
)


class Request(NamedTuple):
    """A request to POST."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class Target(NamedTuple):
    """The receiver of a webhook, and the form of its messages."""

    url: str
    format: str
    """One of FORMATS."""
    secrets: tuple[str, ...] = ()
    """The secrets that sign: the present one, and for a while the one before it; may be empty."""
    headers: Mapping[str, str] = {}
    """Further headers, as the user gave them."""


def new_secret(random: bytes) -> str:
    """Return a secret made of 32 random bytes."""
    if len(random) != _SECRET_BYTES:
        raise ValueError(f"a secret is made of {_SECRET_BYTES} random bytes")
    return SECRET_PREFIX + base64.b64encode(random).decode()


def check_secret(text: str) -> str:
    """Check a secret that a user or a file gives; return it without the space around it.

    Raises InvalidInput, which does not show the secret.
    """
    secret = text.strip()
    key = _key(secret)
    if not _MIN_SECRET_BYTES <= len(key) <= _MAX_SECRET_BYTES:
        raise InvalidInput(
            f"the secret has {len(key)} bytes; it must have {_MIN_SECRET_BYTES} to"
            f" {_MAX_SECRET_BYTES}"
        )
    return secret


def _key(secret: str) -> bytes:
    encoded = secret[len(SECRET_PREFIX) :] if secret.startswith(SECRET_PREFIX) else secret
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(f"the secret is not base64 behind {SECRET_PREFIX}") from None


def signature(secrets: Sequence[str], event_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: one signature per secret, separated by spaces."""
    signed = f"{event_id}.{timestamp}.".encode() + body
    digests = (hmac.new(_key(secret), signed, hashlib.sha256).digest() for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def check_url(url: str, *, allow_http: bool = False) -> str:
    """Check the URL of a webhook; return it.

    Raises InvalidInput if it is no URL, or if it would send the event over the network in clear.
    """
    if not re.fullmatch(r"[!-~]+", url):
        raise InvalidInput("the URL must consist of printable ASCII characters without spaces")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"this is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidInput("the URL must begin with https:// or http://, and name a host")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("the URL must not contain a user name or a password: send a header")
    if parts.fragment or url.endswith("#"):
        raise InvalidInput("the URL must not contain a fragment (#)")
    if parts.scheme == "http" and not allow_http and not _is_loopback(host):
        raise InvalidInput("the URL must begin with https://, since others can read plain http")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def masked_url(url: str) -> str:
    """Return the URL without its path, which often is a secret.

    That of another program may be none: of such a one nothing is shown.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    hidden = "/…" if (parts.path.strip("/") or parts.query) else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{hidden}"


def check_header(text: str) -> tuple[str, str]:
    """Check a header that a user gives as `Name: value`; return the name and the value."""
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        raise InvalidInput("a header is written as 'Name: value'")
    if not re.fullmatch(r"[ -~]*", value):
        raise InvalidInput(f"the header {name} must consist of printable ASCII characters")
    if name.lower() in _OWN_HEADERS:
        raise InvalidInput(f"the header {name} is set by queuectl")
    return name, value


def request(
    target: Target,
    payload: bytes,
    *,
    event_id: str,
    now: datetime,
    version: str,
) -> Request:
    """Return what to send about an event.

    `payload` is the JSON of the event. The id stays the same when the delivery is tried again; the
    timestamp is that of this try.
    """
    event = json.loads(payload)
    headers = {"User-Agent": f"queuectl/{version}", **target.headers}
    if target.format == "healthchecks":
        headers["Content-Type"] = "text/plain; charset=utf-8"
        printed = str((event.get("data") or {}).get("output") or "")
        return Request(_ping_url(target.url, event), headers, printed.encode()[-_PING_BYTES:])
    if target.format == "slack":
        body = json.dumps({"text": _slack_text(line(event))}).encode()
        headers["Content-Type"] = "application/json"
    elif target.format == "text":
        body = line(event).encode()
        headers["Content-Type"] = "text/plain; charset=utf-8"
        headers.setdefault("Title", title(event))
    else:
        body = payload
        headers["Content-Type"] = "application/json"
    if target.secrets:
        seconds = int(now.timestamp())
        headers["webhook-id"] = event_id
        headers["webhook-timestamp"] = str(seconds)
        headers["webhook-signature"] = signature(target.secrets, event_id, seconds, body)
    return Request(target.url, headers, body)


def _ping_url(url: str, event: Mapping[str, Any]) -> str:
    """Return the URL of healthchecks.io that stands for what happened.

    The bare URL means success, `/12` the exit code 12, `/fail` a failure without a code, and `/log`
    an event that says nothing about success (healthchecks.io/docs/http_api).
    """
    kind, data = _kind(event), event.get("data") or {}
    if kind in ("completed", "recovered"):
        suffix = ""
    elif kind == "dead":
        code = data.get("exit_code")
        suffix = f"/{code}" if isinstance(code, int) and 0 < code <= 255 else "/fail"
    elif kind == "missed":
        suffix = "/fail"
    else:
        suffix = "/log"
    path, mark, query = url.partition("?")
    return path.rstrip("/") + suffix + mark + query


def _kind(event: Mapping[str, Any]) -> str:
    return _last_word(event.get("type", ""))


def _last_word(name: object) -> str:
    """Return `dead` for `job.dead`."""
    return str(name).rpartition(".")[2]


def title(event: Mapping[str, Any]) -> str:
    """Return a title for people, in printable ASCII as a header needs it."""
    host = (event.get("data") or {}).get("host")
    text = f"queuectl on {host}" if host else "queuectl"
    return re.sub(r"[^ -~]", "?", text)[:_MAX_LINE]


_SENTENCES = {
    "completed": "{job} completed",
    "dead": "{job} died: {reason}",
    "cancelled": "{job} was cancelled",
    "failed": "{job} failed and will be tried again: {reason}",
    "recovered": "{job} completed again",
    "drained": "all jobs of the queue {queue} are finished",
    "missed": "the schedule {schedule} left out a planned time",
    "test": "this is a test of the hook {hook}",
}


def line(event: Mapping[str, Any]) -> str:
    """Return one line for people that says what happened."""
    data = event.get("data") or {}
    kind = _kind(event)
    count = data.get("count")
    if isinstance(count, int) and count > 1:  # a digest
        kinds = (data.get("events") or {}).items()
        parts = ", ".join(f"{number} {_last_word(name)}" for name, number in kinds)
        return _one_line(f"{count} events: {parts}" if parts else f"{count} events: {kind}")
    sentence = _SENTENCES.get(kind, "{job}: {kind}")
    return _one_line(
        sentence.format(
            job=data.get("label") or data.get("command") or data.get("id") or "a job",
            reason=data.get("last_error") or "it failed",
            queue=data.get("queue"),
            schedule=data.get("schedule"),
            hook=data.get("hook"),
            kind=kind,
        )
    )


def _one_line(text: str) -> str:
    return cut(escape(" ".join(text.split())), _MAX_LINE)


def _slack_text(text: str) -> str:
    """Escape the characters that have a meaning in a message (docs.slack.dev, formatting)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def retry_after(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds to wait that the header Retry-After asks for; None if it cannot be read.

    It holds a number of seconds or a date (RFC 9110, 10.2.3).
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - now).total_seconds())
