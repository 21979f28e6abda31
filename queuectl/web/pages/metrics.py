"""The figures of the queue for Prometheus: the same as `queuectl metrics` prints."""

from __future__ import annotations

from flask import Blueprint, Response, abort, request

from queuectl.core.errors import NoQueue
from queuectl.core.times import utcnow
from queuectl.metrics import collecting, exposition
from queuectl.web.guard import storage

metrics_page = Blueprint("metrics", __name__)


@metrics_page.get("/metrics")
def metrics() -> Response:
    """Answer in the format that the request prefers. Without a queue, the target is down."""
    try:
        figures = collecting.collect(storage(), now=utcnow())
    except NoQueue as error:
        abort(503, str(error))
    body, content_type = exposition.answer(figures, request.headers.get("Accept", ""))
    return Response(body, content_type=content_type)
