# SPDX-License-Identifier: Apache-2.0
"""Puts the routes together into one Flask application."""

import logging
import secrets
from typing import Any

from flask import Flask, request
from werkzeug.datastructures import Headers
from werkzeug.routing import Map

from cco import log as logs
from cco.api import errors
from cco.api.routes import (
    activity,
    agents,
    cache,
    evaluation,
    gateway,
    health,
    hooks,
    invoke,
    knowledge,
    limits,
    metrics,
    mount,
    openapi,
    route,
    sessions,
    stats,
    statusline,
)
from cco.api.services import Services

log = logging.getLogger(__name__)


class _Map(Map):
    """Redirects nobody to a path without double slashes: clients expect an answer."""

    def __init__(self, **given: Any) -> None:
        # Werkzeug 2.2 (Debian 12) does not look at the attribute later on.
        super().__init__(merge_slashes=False, **given)


class _Flask(Flask):
    url_map_class: type[Map] = _Map


def create_app(services: Services) -> Flask:
    """Return the application that serves `services`.

    Requests are admitted by the guard before anything else, body included, is looked at.
    """
    app = _Flask("cco", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # members keep their documented order
    errors.install(app)

    @app.before_request
    def admit() -> None:
        made = f"cco_{secrets.token_hex(12)}"
        request.environ["cco.request_id"] = made
        logs.begin(made)
        headers: Headers = request.headers
        services.guard.check(
            request.environ["gunicorn.socket"],
            host=headers.get("Host", ""),
            has_origin="Origin" in headers,
        )

    teams = (agents, route, invoke, evaluation, knowledge)
    reports = (stats, activity, limits, statusline, cache, metrics, openapi)
    for module in (health, sessions, mount, hooks, *teams, *reports, gateway):
        app.register_blueprint(module.blueprint(services))
    return app
