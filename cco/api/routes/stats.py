# SPDX-License-Identifier: Apache-2.0
"""``/api/project/stats``: cost and tokens, from the ledger alone."""

from datetime import datetime
from pathlib import Path

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from cco.api import given
from cco.api.services import Services
from cco.errors import RequestError
from cco.ledger import reports


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("stats", __name__, url_prefix="/api")

    @routes.get("/project/stats")
    def project() -> ResponseReturnValue:
        wanted = request.args.get("project")
        if wanted is None and (session := given.session(services)):
            wanted = session.row.project
        found = reports.project_stats(
            services.store,
            project=str(Path(wanted)) if wanted else None,
            since_ns=_moment("since"),
            until_ns=_moment("until"),
        )
        return jsonify(found)

    return routes


def _moment(name: str) -> int | None:
    """Return a query parameter in RFC 3339 as Unix nanoseconds; without a zone it is local time.

    Raises:
        RequestError: it is no time.
    """
    value = request.args.get(name)
    if value is None:
        return None
    try:
        return int(datetime.fromisoformat(value).timestamp() * 1_000_000) * 1000
    except (ValueError, OverflowError) as exc:
        raise RequestError(
            "bad-time", f"'{name}' is not a time", hint=f"Such as {name}=2026-11-22T10:00:00Z"
        ) from exc
