# SPDX-License-Identifier: Apache-2.0
"""``POST /api/hooks/<event>``: Claude Code's hook input in, its hook output out."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from cco.api import given
from cco.api.services import Services


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("hooks", __name__, url_prefix="/api/hooks")

    @routes.post("/<event>")
    def handle(event: str) -> ResponseReturnValue:
        output = services.hooks.handle(event, given.payload(), session=given.session(services))
        # An empty answer is the only one that Claude Code takes for "no decision" at every event.
        return ("", 204) if output is None else jsonify(output)

    return routes
