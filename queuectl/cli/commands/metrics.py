"""The command `metrics`: the figures of the queue for Prometheus, a dashboard and alert rules."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Mapping, Sequence

import click

from queuectl.cli import offers, output
from queuectl.cli.command import QueueCommand, open_storage, option, usage_error
from queuectl.core.errors import InvalidInput
from queuectl.core.times import utcnow
from queuectl.host.signals import cleaned_up

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@click.command(
    "metrics",
    cls=QueueCommand,
    sections={
        "Figures": "--textfile --openmetrics --label",
        "Files for other programs": "--grafana --alerts",
    },
)
@option(
    "--textfile",
    metavar="PATH.prom",
    shell_complete=offers.path(),
    help="Replace this file, for the textfile collector of node_exporter.",
)
@option("--openmetrics", is_flag=True, help="Use the OpenMetrics format.")
@option(
    "--label",
    "given",
    multiple=True,
    metavar="NAME=VALUE",
    help="Add a label to all series; can be repeated.",
)
@option("--grafana", is_flag=True, help="Print a dashboard for Grafana, as JSON.")
@option("--alerts", is_flag=True, help="Print alert rules for Prometheus, as YAML.")
def metrics(
    textfile: str | None, openmetrics: bool, given: Sequence[str], grafana: bool, alerts: bool
) -> None:
    """Print the figures of the queue for Prometheus.

    They come from counters that the queue keeps, so that they cost the same with 10 jobs and with
    1,000,000. Needs the package prometheus-client: see queuectl help prometheus.

    \b
    Examples:
      queuectl metrics
      queuectl metrics --textfile /var/lib/node-exporter/queuectl.prom
      queuectl metrics --alerts > /etc/prometheus/rules/queuectl.yml
    """
    from queuectl.metrics.exposition import require_package  # only when it is needed

    labels = _labels(given)
    if grafana or alerts:
        _refuse_others(grafana and alerts, textfile is not None or openmetrics or bool(given))
        _print_file("dashboard.json" if grafana else "alerts.yml")
        return
    require_package()  # before anything is opened
    if textfile is None:
        output.print_bytes(_figures(labels, openmetrics=openmetrics))
    elif openmetrics:
        usage_error("--textfile and --openmetrics cannot be used together")
    else:
        _replace(os.path.expanduser(textfile), labels)


def _labels(given: Sequence[str]) -> dict[str, str]:
    """Return the labels to add to all series."""
    from queuectl.metrics.exposition import OWN_LABELS  # only when it is needed

    labels: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput(f"--label must be NAME=VALUE, not {text!r}")
        if not _LABEL.fullmatch(name) or name.startswith("__"):
            raise InvalidInput(f"--label: {name!r} cannot be the name of a label")
        if name in OWN_LABELS:
            raise InvalidInput(f"--label: some series have a label {name} already")
        if name in labels:
            raise InvalidInput(f"--label: {name} is given twice")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"--label: the value of {name} is not valid UTF-8") from None
        labels[name] = value
    return labels


def _refuse_others(both: bool, others: bool) -> None:
    if both:
        usage_error("--grafana and --alerts cannot be used together")
    if others:
        usage_error("--grafana and --alerts take no other options")


def _print_file(name: str) -> None:
    import queuectl.metrics  # only when it is needed

    folder = Path(queuectl.metrics.__file__).parent
    output.print_bytes((folder / name).read_bytes())


def _figures(labels: Mapping[str, str], *, openmetrics: bool = False) -> bytes:
    from queuectl.metrics import collecting, exposition  # only when it is needed

    figures = collecting.collect(open_storage(), now=utcnow())
    return exposition.to_text(figures, labels, openmetrics=openmetrics)


def _replace(path: str, labels: Mapping[str, str]) -> None:
    from queuectl.metrics import textfile  # only when it is needed

    with cleaned_up(), textfile.replacing(path) as descriptor:
        content = _figures(labels)
        with open(descriptor, "wb", closefd=False) as target:
            target.write(content)
