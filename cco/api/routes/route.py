# SPDX-License-Identifier: Apache-2.0
"""``POST /api/route``: which agents a task is for."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from cco.api import given
from cco.api.services import Services


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("route", __name__, url_prefix="/api")

    @routes.post("/route")
    def route() -> ResponseReturnValue:
        choices = services.team(given.session(services)).router.route(
            given.text(given.payload(), "task")
        )
        return jsonify(
            {
                "agents": [
                    {
                        "name": one.agent.name,
                        "slug": one.agent.slug,
                        "score": one.score,
                        "reason": one.reason,
                    }
                    for one in choices
                ]
            }
        )

    return routes
