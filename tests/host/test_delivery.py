"""Sending a webhook to servers that behave well, badly, or not at all."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from queuectl.core.webhooks import Request
from queuectl.host import delivery
from support.receiver import close_in_the_middle, flood, hang, receiving, status
from support.waiting import PATIENCE_SECONDS


def _post(url: str, timeout: float = PATIENCE_SECONDS) -> delivery.Answer:
    return delivery.post(Request(url, {"X-One": "1"}, b"the event"), timeout=timeout)


@pytest.mark.parametrize("code", [200, 204])
def test_2xx_means_delivered(code: int):
    with receiving(status(code)) as receiver:
        answer = _post(receiver.url + "/path?query=1")
    assert (answer.status, answer.is_good) == (code, True)
    (received,) = receiver.received
    assert (received.path, received.body) == ("/path?query=1", b"the event")
    assert received.headers["x-one"] == "1"


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(code: int):
    """Another address would get the event and its signature."""
    with receiving() as other, receiving(status(code, Location=other.url)) as receiver:
        answer = _post(receiver.url)
    assert (answer.status, answer.is_good) == (code, False)
    assert other.received == []


@pytest.mark.parametrize("code", [400, 404, 410, 500, 503])
def test_other_answers_are_returned_with_the_beginning_of_their_body(code: int):
    with receiving(status(code, b"why " * 1000)) as receiver:
        answer = _post(receiver.url)
    assert (answer.status, answer.is_good, answer.body) == (code, False, (b"why " * 1000)[:2048])


def test_the_wish_for_a_later_try_is_returned():
    with receiving(status(429, Retry_After="7")) as receiver:
        assert _post(receiver.url).retry_after == "7"


def test_only_the_beginning_of_100_mb_is_read():
    with receiving(flood) as receiver:
        answer = _post(receiver.url)
    assert (answer.status, len(answer.body)) == (200, 2048)


def test_a_server_that_says_nothing_is_given_up():
    with receiving(hang) as receiver, pytest.raises(delivery.NoAnswer, match="no answer in time"):
        _post(receiver.url, timeout=0.2)


def test_a_server_that_closes_the_connection_has_not_answered():
    with receiving(close_in_the_middle) as receiver, pytest.raises(delivery.NoAnswer) as raised:
        _post(receiver.url)
    assert "\n" not in str(raised.value)


def test_a_server_that_closes_at_once_has_not_answered():
    with receiving(lambda handler: None) as receiver:
        with pytest.raises(delivery.NoAnswer, match="closed the connection without an answer"):
            _post(receiver.url)


def test_a_port_where_nobody_listens():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(delivery.NoAnswer, match="Connection refused"):
            _post(f"http://127.0.0.1:{port}/")


def test_a_name_that_does_not_exist():
    with pytest.raises(delivery.NoAnswer) as raised:
        _post("http://does-not-exist.invalid/")
    assert str(raised.value)


def test_a_server_without_tls_behind_https():
    with receiving() as receiver, pytest.raises(delivery.NoAnswer):
        _post(receiver.url.replace("http:", "https:"))


def test_a_certificate_that_nobody_vouches_for_is_refused(self_signed: Path):
    """Otherwise anybody between the two hosts could read the event."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(self_signed))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True):
                    pass
            except OSError:  # the client refuses the certificate
                pass

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(delivery.NoAnswer, match="certificate cannot be verified"):
            _post(f"https://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()


def test_files_and_other_protocols_cannot_be_reached(tmp_path: Path):
    """`hook add` refuses such URLs, but another program may have written one into the queue."""
    (tmp_path / "file").write_text("secret")
    for url in (f"file://{tmp_path}/file", "ftp://127.0.0.1/", "data:,x"):
        with pytest.raises(delivery.NoAnswer, match="unknown url type"):
            _post(url)


@pytest.fixture
def self_signed(tmp_path: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that it signs itself."""
    import subprocess

    path = tmp_path / "both.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path),
         "-out", str(tmp_path / "cert.pem")],
        capture_output=True,
        check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")
    path.write_text(path.read_text() + (tmp_path / "cert.pem").read_text())
    return path
