# SPDX-License-Identifier: Apache-2.0
"""Puts the routes together into one Flask application."""

import logging
import secrets

from flask import Flask, request
from werkzeug.datastructures import Headers

from cco.api import errors
from cco.api.access import Guard
from cco.api.routes import agents, gateway, health, hooks, invoke, mount, sessions, stats
from cco.api.services import Services
from cco.log import request_id

log = logging.getLogger(__name__)


def create_app(services: Services) -> Flask:
    """Return the application that serves `services`.

    Requests are admitted by `Guard` before anything else, body included, is looked at.
    """
    app = Flask("cco", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # members keep their documented order
    app.url_map.merge_slashes = False  # a redirect would be no answer that clients expect
    guard = Guard(uid=services.uid)
    errors.install(app)

    @app.before_request
    def admit() -> None:
        made = f"cco_{secrets.token_hex(12)}"
        request.environ["cco.request_id"] = made
        request_id.set(made)
        headers: Headers = request.headers
        guard.check(
            request.environ["gunicorn.socket"],
            host=headers.get("Host", ""),
            has_origin="Origin" in headers,
        )

    for module in (health, sessions, agents, mount, hooks, invoke, stats, gateway):
        app.register_blueprint(module.blueprint(services))
    return app
