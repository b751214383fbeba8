# SPDX-License-Identifier: Apache-2.0
"""``/api/activity`` and ``/api/upstreams``: what goes on, and who answers how quickly."""

import time
from pathlib import Path

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from cco.api import given
from cco.api.answers import tagged
from cco.api.services import Services
from cco.ledger import lately

QUIET = {
    "requests": 0,
    "errors": 0,
    "latencyMs": {"p50": None, "p95": None},
    "ttftMs": {"p50": None, "p95": None},
}
"""An upstream that nobody has asked for an hour."""


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("activity", __name__, url_prefix="/api")

    @routes.get("/activity")
    def activity() -> ResponseReturnValue:
        given.only_parameters("project")
        wanted = request.args.get("project")
        return tagged(
            lately.activity(
                services.store,
                now_ns=time.time_ns(),
                project=str(Path(wanted)) if wanted else None,
            )
        )

    @routes.get("/upstreams")
    def upstreams() -> ResponseReturnValue:
        given.only_parameters()
        told = lately.upstreams(services.store, now_ns=time.time_ns())
        return tagged(
            {
                "upstreams": [
                    {**state, **told.get(str(state["name"]), QUIET)}
                    for state in services.gateway.upstream_states()
                ]
            }
        )

    return routes
