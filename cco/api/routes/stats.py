# SPDX-License-Identifier: Apache-2.0
"""``/api/project/stats`` and ``/api/machine/stats``: cost and tokens, from the ledger alone."""

from datetime import UTC, datetime
from pathlib import Path

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from cco.api import given
from cco.api.answers import tagged, wanted_members
from cco.api.machine import Figures
from cco.api.services import Services
from cco.errors import RequestError
from cco.ledger import reports

MACHINE_MEMBERS = ("cpuPercent", "memory", "daemon", "vfs", "sessions", "projects", "totals")


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("stats", __name__, url_prefix="/api")
    figures = Figures()

    @routes.get("/project/stats")
    def project() -> ResponseReturnValue:
        wanted = request.args.get("project")
        if wanted is None and (session := given.session(services)):
            wanted = session.row.project
        return tagged(
            reports.project_stats(
                services.store,
                project=str(Path(wanted)) if wanted else None,
                since_ns=_moment("since"),
                until_ns=_moment("until"),
                members=wanted_members(reports.MEMBERS),
            )
        )

    @routes.get("/machine/stats")
    def machine() -> ResponseReturnValue:
        members = wanted_members(MACHINE_MEMBERS)
        document = {
            **figures.read(services.mounts.report),
            "sessions": len(services.sessions.live()),
        }
        if not {"projects", "totals"}.isdisjoint(members):
            document |= reports.machine_totals(
                services.store, since_ns=_moment("since"), until_ns=_moment("until")
            )
        return tagged({name: value for name, value in document.items() if name in members})

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
        # An unescaped + of the zone arrives as a space.
        moment = datetime.fromisoformat(value.replace(" ", "+")).astimezone(UTC)
        since_ns = int(moment.timestamp() * 1_000_000) * 1000
        if abs(since_ns) >= 2**63:  # more than the ledger can compare with
            raise ValueError(value)
        return since_ns
    except (ValueError, OverflowError, OSError) as exc:
        raise RequestError(
            "bad-time", f"'{name}' is not a time", hint=f"Such as {name}=2026-11-22T10:00:00Z"
        ) from exc
