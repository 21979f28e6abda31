"""The command `queuectl web`: what it prints, what it refuses, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from support.queue import Queue
from support.waiting import PATIENCE_SECONDS, wait_until
from support.web import Server


def test_it_prints_two_links(queue: Queue) -> None:
    """The same ones as `--link`; the second one only looks."""
    queue.enqueue("true")
    server = Server(queue)
    assert server.process.stdout is not None
    second = server.process.stdout.readline().strip()

    listed = queue.ok("web", "--link", "--listen", server.netloc).splitlines()

    assert listed == [server.link, second]
    assert server.link.startswith(f"http://{server.netloc}/q/")


def test_a_read_only_server_has_one_link(queue: Queue) -> None:
    queue.enqueue("true")
    links = queue.ok("web", "--link").splitlines()

    assert queue.ok("web", "--link", "--read-only").splitlines() == links[1:]


def test_the_link_behind_a_proxy(queue: Queue) -> None:
    queue.enqueue("true")

    links = queue.ok("web", "--link", "--url", "https://Host.Example:443/jobs/").splitlines()

    assert [link.partition("/q/")[0] for link in links] == ["https://host.example/jobs"] * 2


def test_a_new_key(queue: Queue) -> None:
    queue.enqueue("true")
    before = queue.ok("web", "--link")
    new = queue.ok("web", "--link", "--new-key")

    assert set(before.split()) & set(new.split()) == set()
    assert queue.ok("web", "--link") == new


def test_there_are_no_links_without_a_queue(queue: Queue) -> None:
    """Nothing is created for them either."""
    assert "no queue at" in queue.fails(1, "web", "--link")
    assert sorted(path.name for path in queue.folder.iterdir()) == ["home", "work"]


def test_a_port_that_is_in_use(queue: Queue) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        assert queue.fails(1, "web", "--listen", address) == (
            f"queuectl web: {address} is in use (--listen 127.0.0.1:0 takes any free port)"
        )


def test_a_socket_in_a_folder_of_others(queue: Queue, tmp_path: Path) -> None:
    """Others could put their own socket in its place."""
    queue.enqueue("true")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)

    assert "others can write" in queue.fails(1, "web", "--listen", f"unix:{shared}/web.sock")


def test_a_file_is_no_socket(queue: Queue) -> None:
    queue.enqueue("true")
    (queue.home / "web.sock").write_text("mine")

    message = queue.fails(1, "web", "--listen", f"unix:{queue.home}/web.sock")

    assert message.endswith("exists and is no socket of yours")
    assert (queue.home / "web.sock").read_text() == "mine"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_by_the_signal(queue: Queue, number: signal.Signals) -> None:
    """So a shell loop around it ends as well; nothing is printed."""
    queue.enqueue("true")
    server = Server(queue)

    server.process.send_signal(number)

    assert server.process.wait(PATIENCE_SECONDS) == -number
    assert server.process.communicate()[1] == ""


def test_a_quiet_server_prints_nothing(queue: Queue) -> None:
    """With a service manager, which is told when the first request can be answered."""
    queue.enqueue("true")
    address = str(queue.home / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(PATIENCE_SECONDS)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = queue.spawn(
            "web", "-q", "--listen", f"127.0.0.1:{port}", env={"NOTIFY_SOCKET": address}
        )
        assert manager.recv(100) == b"READY=1"
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"GET /healthz HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.0 200")
    process.terminate()
    assert process.communicate(timeout=PATIENCE_SECONDS) == ("", "")


def test_a_running_request_is_finished(queue: Queue) -> None:
    """A server that is told to end answers first what it has begun with."""
    queue.enqueue("true", "--id", "j1")
    server = Server(queue)
    host, _, port = server.netloc.partition(":")
    with socket.create_connection((host, int(port))) as client:
        head = f"GET {server.root}/jobs HTTP/1.0\r\nHost: {server.netloc}\r\n"
        client.sendall(f"{head}Authorization: Bearer {server.token}\r\n\r\n".encode())
        server.process.terminate()
        answer = b"".join(iter(lambda: client.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.0 200")
    assert answer.rstrip().endswith(b"</html>")
    assert server.process.wait(PATIENCE_SECONDS) == -signal.SIGTERM


def test_the_key_is_made_once(queue: Queue) -> None:
    """Two servers that start at the same time give out the same links."""
    queue.enqueue("true")
    servers = [queue.spawn("web", "--listen", "127.0.0.1:0") for _ in range(4)]
    links = [process.stdout.readline() for process in servers if process.stdout]
    key = queue.database.with_name("queue.db.d") / "web.key"

    wait_until(key.exists)
    assert len({link.partition("/q/")[2] for link in links}) == 1
    assert os.stat(key).st_mode & 0o777 == 0o600
    assert [path.name for path in key.parent.iterdir() if "unfinished" in path.name] == []
