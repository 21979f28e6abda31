"""The web application of one queue, as a WSGI app."""

from __future__ import annotations

from flask import Flask

from queuectl.web import errors, frame, guard
from queuectl.web.actions import ACTIONS
from queuectl.web.guard import Serving
from queuectl.web.keys import KeyRing
from queuectl.web.login import login
from queuectl.web.options import WebOptions
from queuectl.web.pages import PAGES
from queuectl.web.static_files import files


def create_app(options: WebOptions, ring: KeyRing) -> Flask:
    """Return the app with all pages and actions; it watches the queue from now on."""
    app = Flask("queuectl.web", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    serving = Serving(options, ring)
    frame.prepare(app)
    errors.install(app)
    guard.install(app, serving)
    for blueprint in (files, login, *PAGES, *ACTIONS):
        app.register_blueprint(blueprint)
    serving.watcher.start()
    return app
