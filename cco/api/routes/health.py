# SPDX-License-Identifier: Apache-2.0
"""``GET /health``: how the daemon is."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue

from cco import __version__
from cco.api import given, warned
from cco.api.answers import tagged, wanted_members
from cco.api.mounts import MountReport
from cco.api.services import Services
from cco.gateway.breaker import State
from cco.gateway.circuits import NO_CREDENTIAL
from cco.ledger.reports import rfc3339


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("health", __name__)

    @routes.get("/health")
    def health() -> ResponseReturnValue:
        given.only_parameters("fields")
        told = describe(services)
        wanted = wanted_members(told)
        answer = tagged({name: value for name, value in told.items() if name in wanted})
        if told["status"] != "ok" and answer.status_code != 304:
            answer.status_code = 503
        return answer

    return routes


def describe(services: Services) -> dict[str, Any]:
    """Return the answer of ``GET /health``; ``degraded`` means that it cannot serve.

    For ``upstreams`` see `cco.gateway.circuits.Circuits.states`.
    """
    report = services.mounts.report
    is_mounted = report is not None and report.is_serving
    upstreams = services.gateway.upstream_states()
    is_ok = is_mounted and services.health() == "OK" and not are_out(upstreams)
    return {
        "status": "ok" if is_ok else "degraded",
        "version": __version__,
        "uptimeSeconds": round(services.uptime_s(), 3),
        "startedAt": rfc3339(services.started_ns),
        "vfs": {
            "mounted": is_mounted,
            "path": report.path if report else services.mount_path,
            "status": services.health() if is_mounted else _why_not_mounted(services, report),
        },
        "ledger": {"status": services.store.health()["status"]},
        "upstreams": upstreams,
        "http": {"url": services.http_url},
        "warnings": [
            {"code": warning.code, "message": warning.message, "hint": warning.hint}
            for warning in warned.of_daemon(services)
        ],
    }


def are_out(upstreams: Sequence[Mapping[str, object]]) -> bool:
    """Say whether every upstream is out; one that merely has no key yet is worth a warning."""
    states = {upstream["state"] for upstream in upstreams}
    return State.OPEN in states and states <= {State.OPEN, NO_CREDENTIAL}


def _why_not_mounted(services: Services, report: MountReport | None) -> str:
    if services.mounts.trouble:
        return f"not mounted: {services.mounts.trouble}"
    return report.message if report else "not mounted"
