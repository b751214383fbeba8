# SPDX-License-Identifier: Apache-2.0
"""``GET /metrics``: figures for Prometheus."""

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from cco.api.services import Services


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def scrape() -> ResponseReturnValue:
        from cco.api import metrics  # loads its library, which most daemons never need

        return Response(metrics.render(services), content_type=metrics.CONTENT_TYPE)

    return routes
