# SPDX-License-Identifier: Apache-2.0
"""``GET /health``: how the daemon is."""

from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from cco import __version__
from cco.api.mounts import MountReport
from cco.api.services import Services


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("health", __name__)

    @routes.get("/health")
    def health() -> ResponseReturnValue:
        told = describe(services)
        return jsonify(told), 200 if told["status"] == "ok" else 503

    return routes


def describe(services: Services) -> dict[str, Any]:
    """Return the answer of ``GET /health``; ``degraded`` means that it cannot serve."""
    report = services.mounts.report
    is_mounted = report is not None and report.is_serving
    is_ok = is_mounted and services.health() == "OK"
    return {
        "status": "ok" if is_ok else "degraded",
        "version": __version__,
        "uptimeSeconds": round(services.uptime_s(), 3),
        "vfs": {
            "mounted": is_mounted,
            "path": report.path if report else services.mount_path,
            "status": services.health() if is_mounted else _mount_status(report),
        },
        "ledger": {"status": services.store.health()["status"]},
        "upstreams": [
            {"name": upstream.name, "state": "up"} for upstream in services.settings.upstream
        ],
        "http": {"url": services.http_url},
        "warnings": [
            {"code": warning.code, "message": warning.message, "hint": warning.hint}
            for warning in services.warnings()
        ],
    }


def _mount_status(report: MountReport | None) -> str:
    return report.message if report else "not mounted"
