"""What `queuectl web` was asked for: where it listens, and what it allows."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from queuectl.core.errors import InvalidInput
from queuectl.core.named_tuples import NamedTuple
from queuectl.host.files import QueueFiles

DEFAULT_LISTEN = "127.0.0.1:8377"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_NAME = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """Where the server listens: at a host and a port, or at a socket in the file system."""

    host: str = ""
    """The host, without brackets; empty for a socket in the file system."""
    port: int = 0
    """The port; 0 means any that is free."""
    path: str = ""
    """The path of the socket; empty for a host and a port."""

    @property
    def is_local(self) -> bool:
        """Whether only processes of this machine can connect."""
        return bool(self.path) or self.host in _LOOPBACK or self.host.startswith("127.")

    @property
    def netloc(self) -> str:
        """The host and the port as they are written in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["http"] else f"{host}:{self.port}"


class ExternalUrl(NamedTuple):
    """The URL by which browsers reach the server through a proxy."""

    scheme: str
    """`http` or `https`."""
    netloc: str
    """The host, with the port unless it is the usual one."""
    prefix: str
    """The path in front of ours, without a slash at its end."""


class WebOptions(NamedTuple):
    """The options of one server."""

    files: QueueFiles
    """The queue."""
    address: Address
    """Where it listens; the port is known, even if any free one was asked for."""
    read_only: bool = False
    """Whether nobody can change anything."""
    show_env: bool = False
    """Whether the values of variables can be seen, by those who may change jobs."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names by which browsers may call this server, with or without a port."""
    url: ExternalUrl | None = None
    """The URL of the proxy in front; None without one."""
    public_metrics: bool = False
    """Whether /metrics needs no token."""

    def hosts(self) -> frozenset[str]:
        """Return the values of the header Host that are accepted, in lower case."""
        port = self.address.port
        names = {Address(host, port).netloc for host in _LOOPBACK}
        if self.address.path:
            names = {"localhost"}
        elif not self.address.is_local or self.address.host not in _LOOPBACK:
            names.add(self.address.netloc)
        if self.url is not None:
            names.add(self.url.netloc)
        for name in self.allowed_hosts:
            has_port = re.search(r":[0-9]+$", name) is not None
            names.add(name if has_port or self.address.path else f"{name}:{port}")
            if port == _PORTS["http"]:
                names.add(name)
        return frozenset(name.lower() for name in names)

    def origins(self) -> frozenset[str]:
        """Return the origins of our own pages, as browsers send them in the header Origin."""
        own = {f"http://{host}" for host in self.hosts()}
        if self.url is not None:
            # Behind TLS, a page of the same name without TLS may be anybody's.
            own.discard(f"http://{self.url.netloc}".lower())
            own.add(f"{self.url.scheme}://{self.url.netloc}".lower())
        return frozenset(own)

    @property
    def base(self) -> str:
        """The URL under which the secret path lies, as a link begins: `http://127.0.0.1:8377`."""
        if self.url is not None:
            return f"{self.url.scheme}://{self.url.netloc}{self.url.prefix}"
        return "http://localhost" if self.address.path else f"http://{self.address.netloc}"

    @property
    def prefix(self) -> str:
        """The path in front of the secret path, without a slash at its end."""
        return "" if self.url is None else self.url.prefix

    @property
    def is_https(self) -> bool:
        """Whether browsers reach us through TLS, so that cookies must never travel without it."""
        return self.url is not None and self.url.scheme == "https"


def parse_address(text: str) -> Address:
    """Read what --listen was given. Raises InvalidInput."""
    if text.startswith("unix:"):
        if not text[len("unix:") :]:
            raise InvalidInput("--listen unix: needs the path of a socket")
        return Address(path=text[len("unix:") :])
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/@]+)):([0-9]{1,5})", text)
    if found is None or int(found.group(3)) > 65535:
        raise InvalidInput(
            f"--listen {text} is no address (examples: {DEFAULT_LISTEN}, [::1]:8377, unix:PATH)"
        )
    return Address(found.group(1) or found.group(2), int(found.group(3)))


def parse_url(text: str) -> ExternalUrl:
    """Read what --url was given. Raises InvalidInput."""
    refusal = InvalidInput(f"--url {text} is no URL of a page (example: https://host/jobs)")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise refusal from None
    name = parts.netloc
    if (
        parts.scheme not in _PORTS
        or not _NAME.fullmatch(name)
        or parts.query
        or parts.fragment
        or not re.fullmatch(r"[A-Za-z0-9._~/-]*", parts.path)
    ):
        raise refusal
    if port == _PORTS[parts.scheme]:  # browsers leave it out
        name = name[: name.rindex(":")]
    return ExternalUrl(parts.scheme, name.lower(), parts.path.rstrip("/"))


def check_host(name: str) -> str:
    """Return a name for --allowed-host as it was given. Raises InvalidInput."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"--allowed-host {name} is no name of a host (examples: build-3, localhost:9000)"
        )
    return name
