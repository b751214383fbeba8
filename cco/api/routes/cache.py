# SPDX-License-Identifier: Apache-2.0
"""``/api/cache/…``: what the response cache did, and making it forget."""

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from cco.api import given
from cco.api.answers import tagged, wanted_members
from cco.api.services import Services


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("cache", __name__, url_prefix="/api/cache")

    @routes.get("/stats")
    def stats() -> ResponseReturnValue:
        given.only_parameters("fields")
        document = services.gateway.cache_stats()
        wanted = wanted_members(document)
        return tagged({name: value for name, value in document.items() if name in wanted})

    @routes.post("/clear")
    def clear() -> ResponseReturnValue:
        cleared = services.gateway.clear_cache()
        return jsonify({"cleared": cleared.entries, "freedBytes": cleared.freed_bytes})

    return routes
