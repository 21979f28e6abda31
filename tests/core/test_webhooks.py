"""What is sent to a URL about an event, and how it is signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime, timedelta, timezone

import pytest

from queuectl.core import webhooks
from queuectl.core.errors import InvalidInput

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=timezone.utc)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # the example of the specification


def _payload(kind: str, **data: object) -> bytes:
    return json.dumps({"type": f"job.{kind}", "timestamp": "2026", "data": data}).encode()


def _request(payload: bytes, form: str = "standard", url: str = "https://example.org/x", **more):
    target = webhooks.Target(url, form, **more)
    return webhooks.request(target, payload, event_id="evt_1", now=NOW, version="1.2")


def test_the_example_of_the_specification_has_the_signature_that_it_shows():
    """Standard Webhooks 1.0 publishes this secret, message and signature."""
    signature = webhooks.signature(
        [SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_standard_webhook_is_the_payload_with_three_headers():
    """A receiver can check it with nothing but the headers, the body and the secret."""
    payload = _payload("dead", id="j1")
    sent = _request(payload, secrets=(SECRET,))
    key = base64.b64decode(SECRET[len("whsec_") :])
    signed = b"evt_1." + str(int(NOW.timestamp())).encode() + b"." + payload
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert sent == webhooks.Request(
        "https://example.org/x",
        {
            "User-Agent": "queuectl/1.2",
            "Content-Type": "application/json",
            "webhook-id": "evt_1",
            "webhook-timestamp": str(int(NOW.timestamp())),
            "webhook-signature": "v1," + expected,
        },
        payload,
    )


def test_two_secrets_give_two_signatures():
    """While a secret is replaced, receivers with the old and with the new one both accept."""
    other = webhooks.new_secret(bytes(range(32)))
    both = webhooks.signature([other, SECRET], "evt_1", 1, b"x")
    alone = [webhooks.signature([one], "evt_1", 1, b"x") for one in (other, SECRET)]
    assert both.split(" ") == alone


def test_without_a_secret_nothing_is_signed():
    assert not [name for name in _request(_payload("dead")).headers if "webhook" in name]


def test_a_new_secret_is_accepted_as_one_that_is_given():
    secret = webhooks.new_secret(bytes(32))
    assert webhooks.check_secret(f" {secret}\n") == secret


@pytest.mark.parametrize(
    ("secret", "error"),
    [
        ("whsec_" + base64.b64encode(bytes(23)).decode(), "the secret has 23 bytes; it must have"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "the secret has 65 bytes; it must have"),
        ("whsec_not base64!", "the secret is not base64 behind whsec_"),
        ("", "the secret has 0 bytes"),
    ],
)
def test_a_bad_secret_is_refused_without_being_shown(secret: str, error: str):
    with pytest.raises(InvalidInput, match=error) as raised:
        webhooks.check_secret(secret)
    assert not secret or secret not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "data", "url"),
    [
        ("completed", {"exit_code": 0}, "https://hc.example/uuid"),
        ("recovered", {"exit_code": 0}, "https://hc.example/uuid"),
        ("dead", {"exit_code": 12}, "https://hc.example/uuid/12"),
        ("dead", {"exit_code": None, "signal": 9}, "https://hc.example/uuid/fail"),
        ("missed", {}, "https://hc.example/uuid/fail"),
        ("failed", {"exit_code": 1}, "https://hc.example/uuid/log"),
        ("cancelled", {}, "https://hc.example/uuid/log"),
    ],
)
def test_a_ping_has_the_address_for_what_happened(kind: str, data: dict[str, object], url: str):
    sent = _request(_payload(kind, **data), "healthchecks", "https://hc.example/uuid")
    assert sent.url == url


def test_a_ping_keeps_its_query_and_takes_the_end_of_the_output_along():
    payload = _payload("dead", exit_code=3, output="a" * 10_000 + "the end")
    sent = _request(payload, "healthchecks", "https://hc.example/uuid/?create=1")
    assert sent.url == "https://hc.example/uuid/3?create=1"
    assert (len(sent.body), sent.body[-7:]) == (10_000, b"the end")


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        (
            _payload("dead", label="night", command="backup", last_error="exit 12"),
            "night died: exit 12",
        ),
        (_payload("completed", label=None, command="make\n  all"), "make all completed"),
        (
            _payload("failed", command="make", last_error="exit 2"),
            "make failed and will be tried again: exit 2",
        ),
        (_payload("cancelled", command="make"), "make was cancelled"),
        (_payload("recovered", label="night", command="x"), "night completed again"),
        (_payload("drained", queue="mail"), "all jobs of the queue mail are finished"),
        (
            _payload("missed", schedule="night"),
            "the schedule night left out a planned time",
        ),
        (
            _payload("dead", count=3, events={"job.dead": 2, "job.cancelled": 1}),
            "3 events: 2 dead, 1 cancelled",
        ),
        (_payload("{odd}", command="make"), "make: {odd}"),
        (_payload("dead", command="\x1b[31mred", last_error="exit 1"), "\\x1b[31mred died: exit 1"),
    ],
)
def test_the_line_for_people_says_what_happened(payload: bytes, line: str):
    assert _request(payload, "text").body.decode().startswith(line)


def test_a_text_has_its_line_as_the_body_and_a_title():
    """This is what ntfy shows."""
    sent = _request(_payload("dead", command="make", last_error="exit 2", host="b\u00fcro"), "text")
    assert sent == webhooks.Request(
        "https://example.org/x",
        {
            "User-Agent": "queuectl/1.2",
            "Content-Type": "text/plain; charset=utf-8",
            "Title": "queuectl on b?ro",
        },
        b"make died: exit 2",
    )


def test_a_message_for_slack_is_escaped():
    """A command must not mention everybody in the channel, nor make a link."""
    sent = _request(_payload("dead", command="<!channel> & <x>", last_error="exit 1"), "slack")
    assert json.loads(sent.body) == {
        "text": "&lt;!channel&gt; &amp; &lt;x&gt; died: exit 1",
    }


def test_headers_of_the_user_are_sent_along():
    sent = _request(_payload("dead"), "text", headers={"Title": "mine", "Authorization": "x"})
    assert (sent.headers["Title"], sent.headers["Authorization"]) == ("mine", "x")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://example.org:8443/a?b=c",
        "http://127.0.0.1:8000/x",
        "http://[::1]/x",
        "http://localhost/x",
    ],
)
def test_a_url_that_others_cannot_read_is_accepted(url: str):
    assert webhooks.check_url(url) == url


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://example.org/x", "must begin with https://, since others can read plain http"),
        ("http://127.0.0.1.example.org/", "must begin with https://, since"),
        ("ftp://example.org/", "must begin with https:// or http://"),
        ("file:///etc/passwd", "must begin with https:// or http://"),
        ("https:///x", "and name a host"),
        ("https://me:secret@example.org/", "must not contain a user name or a password"),
        ("https://example.org/#x", "must not contain a fragment"),
        ("https://example.org/a b", "printable ASCII"),
        ("https://example.org/\r\nX: y", "printable ASCII"),
        ("https://example.org:port/", "this is no URL"),
        ("", "printable ASCII"),
    ],
)
def test_other_urls_are_refused(url: str, error: str):
    with pytest.raises(InvalidInput, match=error):
        webhooks.check_url(url)


def test_plain_http_is_accepted_if_the_user_says_so():
    assert webhooks.check_url("http://intranet/x", allow_http=True) == "http://intranet/x"


def test_a_masked_url_shows_no_path():
    """The path of such a URL is often all that one needs to know to send messages there."""
    urls = ["https://hooks.example/T0/B0/secret", "https://a.example/", "http://[::1]:80?x=1"]
    assert [webhooks.masked_url(url) for url in urls] == [
        "https://hooks.example/…",
        "https://a.example",
        "http://[::1]:80/…",
    ]
    assert webhooks.masked_url("http://[secret") == "…"  # another program wrote it


def test_a_header_is_split_at_its_first_colon():
    assert webhooks.check_header("Authorization: Bearer a:b") == ("Authorization", "Bearer a:b")


@pytest.mark.parametrize(
    "text", ["no colon", "a b: c", ": x", "X: a\r\nY: b", "X: \u00e9", "Webhook-Id: 1", "Host: x"]
)
def test_other_headers_are_refused(text: str):
    with pytest.raises(InvalidInput):
        webhooks.check_header(text)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("Sat, 28 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 28 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(value: str | None, seconds: float | None):
    assert webhooks.retry_after(value, now=NOW) == seconds


def test_the_timestamp_is_that_of_this_try_and_the_id_stays():
    """A receiver refuses old timestamps, and recognises a repeated event by its id."""
    target = webhooks.Target("https://example.org/", "standard", (SECRET,))
    first, second = (
        webhooks.request(
            target, _payload("dead"), event_id="evt_1", now=NOW + timedelta(hours=h), version="1"
        )
        for h in (0, 1)
    )
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "evt_1"
    assert (
        int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 3600
    )
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
