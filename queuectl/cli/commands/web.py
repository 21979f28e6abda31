"""The command `web`: serve the page of a queue."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Sequence

import click

from queuectl.cli import output
from queuectl.cli.command import (
    QueueCommand,
    open_storage,
    option,
    queue_files,
    quiet_option,
    usage_error,
)
from queuectl.cli.parameters import WholeNumber
from queuectl.core.errors import NoQueue, QueueError
from queuectl.core.extras import needed
from queuectl.host import heap
from queuectl.host.log import log
from queuectl.host.signals import die_by

if TYPE_CHECKING:
    from queuectl.web.keys import Keys
    from queuectl.web.options import WebOptions

_SECTIONS = {
    "Where it is reached": "--listen --url --allowed-host --allow-remote --behind-proxy",
    "What it allows": "--read-only --show-env --public-metrics",
    "Links": "--open --link --new-key",
}
"""The sections of the options."""

_SAFE_WAITRESS = (3, 0, 1)
"""A client that leaves early can keep earlier ones busy for ever (GHSA-3f84-rpwh-47g6)."""


@click.command("web", cls=QueueCommand, sections=_SECTIONS)
@option(
    "--listen",
    metavar="ADDRESS",
    default="127.0.0.1:8377",
    help="Listen at HOST:PORT, or at unix:PATH (default: 127.0.0.1:8377). Port 0: any free one.",
)
@option(
    "--url",
    metavar="URL",
    help="The URL of the page behind a proxy, such as https://host/jobs.",
)
@option(
    "--allowed-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A further name by which browsers may call this server, as NAME or NAME:PORT.",
)
@option(
    "--allow-remote",
    is_flag=True,
    help="Listen where other machines can connect. The token then travels unencrypted.",
)
@option(
    "--behind-proxy",
    is_flag=True,
    help="With --url: log the address of the browser that the proxy names.",
)
@option("--read-only", is_flag=True, help="Let nobody change anything.")
@option(
    "--show-env",
    is_flag=True,
    help="Show values of variables on request, with the full link only.",
)
@option("--public-metrics", is_flag=True, help="Serve /metrics without a token.")
@option("--open", "opens", is_flag=True, help="Open the page in a browser.")
@option("--link", is_flag=True, help="Print the links of this queue, and exit.")
@option("--new-key", is_flag=True, help="Make new links; all earlier links and sessions end.")
@option(
    "--threads",
    type=WholeNumber(1, 64),
    default=4,
    metavar="N",
    help="How many requests are answered at once (default: 4).",
)
@quiet_option
def web(
    listen: str,
    url: str | None,
    hosts: Sequence[str],
    allow_remote: bool,
    behind_proxy: bool,
    read_only: bool,
    show_env: bool,
    public_metrics: bool,
    opens: bool,
    link: bool,
    new_key: bool,
    threads: int,
    quiet: bool,
) -> None:
    """Serve a web page of the queue.

    Prints two links. With the first one people can change jobs, and so run commands as you; with
    the second one they can only look. Ctrl+C stops the server, and nothing else.

    \b
    Examples:
      queuectl web
      queuectl web --open
      queuectl web --listen 127.0.0.1:0 --read-only
    """
    with needed("web"):
        from queuectl.web.app import create_app  # an extra; 0.2 s
        from queuectl.web.keys import KeyRing
        from queuectl.web.listen import bind, remove_socket, serve
        from queuectl.web.options import WebOptions, check_host, parse_address, parse_url

    if behind_proxy and url is None:
        usage_error("--behind-proxy requires --url")
    options = WebOptions(
        files=queue_files(),
        address=parse_address(listen),
        read_only=read_only,
        show_env=show_env,
        allowed_hosts=tuple(check_host(name) for name in hosts),
        url=None if url is None else parse_url(url),
        public_metrics=public_metrics,
    )
    if not options.address.is_local:
        _refuse_remote(allow_remote)
    exists = _bring_up_to_date()
    ring = KeyRing(options.files, renew=new_key)
    if link:
        if not exists:
            raise NoQueue(options.files.database)
        _print_links(options, ring.current())
        return
    listening, address = bind(options.address, options.files)
    options = options._replace(address=address)
    service = os.environ.pop("NOTIFY_SOCKET", "")  # not for the browser that we may start
    _log_to_stderr(quiet=quiet)

    def ready() -> None:
        if not quiet:
            _print_links(options, ring.current())
            _tell(options, exists=exists)
        if service:
            from queuectl.host import service_manager  # only for systemd and the like

            service_manager.tell(service, "READY=1")
        if opens:
            _open_browser(_links(options, ring.current())[0])

    heap.share_among_threads()
    try:
        app = create_app(options, ring)
        ended_by = serve(app, listening, threads=threads, behind_proxy=behind_proxy, ready=ready)
        app.extensions["queuectl"].watcher.stop()
    finally:
        remove_socket(address)
    die_by(ended_by)


def _refuse_remote(allowed: bool) -> None:
    """Refuse an address that other machines can reach, unless that was asked for and is safe."""
    if not allowed:
        usage_error(
            "other machines could connect, and the token would travel unencrypted"
            " (use ssh -L, --listen unix:PATH, or a proxy with TLS; else --allow-remote)"
        )
    from importlib.metadata import version  # only when it is needed

    installed = version("waitress")
    if tuple(int(part) for part in installed.split(".")[:3]) < _SAFE_WAITRESS:
        raise QueueError(
            f"waitress {installed} cannot safely be reached by other machines"
            " (it needs 3.0.1, and that Python 3.9)"
        )


def _bring_up_to_date() -> bool:
    """Upgrade the queue, as other commands do; return whether it exists."""
    if not queue_files().exists():
        return False
    open_storage().close()
    return True


def _links(options: WebOptions, keys: Keys) -> list[str]:
    """Return the links, the one with most rights first."""
    start = f"{options.base}/q/{keys.path}/?token="
    tokens = [keys.view] if options.read_only else [keys.full, keys.view]
    return [start + token for token in tokens]


def _print_links(options: WebOptions, keys: Keys) -> None:
    for link in _links(options, keys):
        output.print_line(link)
    sys.stdout.flush()


def _tell(options: WebOptions, *, exists: bool) -> None:
    """Say on a terminal what the links allow, and everywhere when they do not work as usual."""
    if not exists:
        output.message(
            f"no queue at {options.files.database} yet; these links hold until this server ends"
        )
    if options.address.path:
        output.hint(f"listening at {options.address.path}; the links are for a proxy in front")
    if not options.read_only:
        output.hint("the first link can change jobs, and so run commands; the second only looks")
    output.hint("Ctrl+C stops the server")


def _open_browser(link: str) -> None:
    import webbrowser  # only when it is needed

    if not webbrowser.open(link):
        output.message("no browser could be opened")


def _log_to_stderr(*, quiet: bool) -> None:
    """Let the server log each action and each failure on a line of its own."""
    import logging  # only when it is needed

    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(message)s",
        stream=sys.stderr,
    )
    # It would say how many requests wait for a thread, whenever a browser opens several pages.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    ours = logging.getLogger("queuectl")
    ours.setLevel(logging.WARNING if quiet else logging.INFO)
    log.send_to(ours.log)
