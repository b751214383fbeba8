# SPDX-License-Identifier: Apache-2.0
"""``/api/project/stats``, ``/api/machine/stats`` and ``/api/requests``, from the ledger alone."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from cco.api import given
from cco.api.answers import tagged, wanted_members
from cco.api.machine import Figures
from cco.api.services import Services
from cco.errors import RequestError
from cco.gateway.limits import PlanLimits
from cco.ledger import reports
from cco.ledger.rollups import HOUR_NS

MACHINE_MEMBERS = (
    *("cpuPercent", "memory", "daemon", "vfs"),
    *("sessions", "planLimits", "projects", "totals"),
)

MAX_RECENT = 1000
MAX_ID = 2**63 - 1

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_NS = (2**63 - 1) // HOUR_NS * HOUR_NS
"""The last whole hour that the ledger can count to."""


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("stats", __name__, url_prefix="/api")
    figures = Figures()

    @routes.get("/project/stats")
    def project() -> ResponseReturnValue:
        given.only_parameters("project", "since", "until", "fields", "after", "limit")
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
                recorded_after=given.whole_parameter("after", 0, low=0, high=MAX_ID),
                limit=given.whole_parameter("limit", reports.RECENT_ROWS, low=1, high=MAX_RECENT),
            )
        )

    @routes.get("/requests")
    def requests() -> ResponseReturnValue:
        given.only_parameters("project", "since", "until", "after", "limit")
        wanted = request.args.get("project")
        return jsonify(
            reports.requests_page(
                services.store,
                project=str(Path(wanted)) if wanted else None,
                since_ns=_moment("since"),
                until_ns=_moment("until"),
                after=given.whole_parameter("after", 0, low=0, high=MAX_ID),
                limit=given.whole_parameter("limit", MAX_RECENT, low=1, high=MAX_RECENT),
            )
        )

    @routes.get("/machine/stats")
    def machine() -> ResponseReturnValue:
        given.only_parameters("since", "until", "fields")
        members = wanted_members(MACHINE_MEMBERS)
        since_ns, until_ns = _moment("since"), _moment("until")
        document = {
            **figures.read(services.mounts.report),
            "sessions": len(services.sessions.live()),
            "planLimits": _plan_limits(services.limits),
        }
        if not {"projects", "totals"}.isdisjoint(members):
            document |= reports.machine_totals(services.store, since_ns=since_ns, until_ns=until_ns)
        return tagged({name: value for name, value in document.items() if name in members})

    return routes


def _plan_limits(limits: PlanLimits) -> list[dict[str, Any]]:
    """Return what the provider last told of each credential's limits; empty while it told none."""
    now_ns = limits.now_ns()
    return [
        {
            "credential": each.credential,
            "upstream": each.upstream,
            "values": each.values,
            "toldAt": reports.rfc3339(each.told_ns),
            "ageSeconds": round(each.age_s(now_ns), 3),
        }
        for each in limits.told()
    ]


def _moment(name: str) -> int | None:
    """Return a query parameter in RFC 3339 as Unix nanoseconds; without a zone it is local time.

    What is further away than the ledger can count is as far as it can count.

    Raises:
        RequestError: it is no time.
    """
    value = request.args.get(name)
    if value is None:
        return None
    try:
        # An unescaped + of the zone arrives as a space.
        moment = datetime.fromisoformat(value.replace(" ", "+"))
    except ValueError as exc:
        raise RequestError(
            "bad-time", f"'{name}' is not a time", hint=f"Such as {name}=2026-11-22T10:00:00Z"
        ) from exc
    try:
        moment_ns = (moment.astimezone(UTC) - EPOCH) // timedelta(microseconds=1) * 1000
    except (ValueError, OverflowError, OSError):  # before the first year, or after the last
        moment_ns = MAX_NS if moment.year > EPOCH.year else -MAX_NS
    return max(-MAX_NS, min(moment_ns, MAX_NS))
