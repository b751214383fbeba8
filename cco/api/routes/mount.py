# SPDX-License-Identifier: Apache-2.0
"""``/api/vfs/…``: what the mount asks and says; on the Unix socket only."""

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from cco.api import given
from cco.api.services import Services
from cco.errors import Denied, RequestError
from cco.orchestration.sessions import Session


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("mount", __name__, url_prefix="/api/vfs")
    routes.before_request(given.require_local_socket)

    @routes.post("/watch")
    def watch() -> ResponseReturnValue:
        told = given.payload()
        lines = services.mounts.watch(
            request.environ["gunicorn.socket"],
            pid=given.number(told, "pid"),
            path=given.text(told, "path"),
        )
        return Response(lines, mimetype="application/x-ndjson")

    @routes.post("/report")
    def report() -> ResponseReturnValue:
        told = given.payload()
        figures = {
            name: told[name]
            for name in ("pssBytes", "rssBytes", "cpuPercent")
            if isinstance(told.get(name), int | float)
        }
        services.mounts.note(
            given.number(told, "pid"),
            is_serving=given.text(told, "status") == "ok",
            message=given.text(told, "message", ""),
            figures=figures,
        )
        return "", 204

    @routes.get("/settings")
    def settings() -> ResponseReturnValue:
        return jsonify({"mount": services.settings.vfs.mount})

    @routes.get("/file")
    def file() -> ResponseReturnValue:
        path = request.args.get("path")
        if path is None:
            raise RequestError("missing-member", "the request has no 'path'", hint=given.SEE)
        session = given.session(services)
        found = services.published.read(path, session)
        if found.is_private:
            _require_reader(services, session)
        answer = Response(found.data, mimetype="application/octet-stream")
        answer.headers["x-cco-digest"] = found.digest
        return answer

    return routes


def _require_reader(services: Services, session: Session | None) -> None:
    """Refuse a process that may not read the unsealed files.

    The mount names the caller's uid and the token it found in the caller's environment.

    Raises:
        Denied: another uid, or no process of a live session.
    """
    uid = request.headers.get("x-cco-caller-uid", str(services.uid))
    is_owner = uid == str(services.uid)
    if not is_owner or (services.settings.vfs.access == "session" and session is None):
        raise Denied(
            "not-in-session",
            "only processes that cco started may read the unsealed files",
            hint='Run it from a session, or set [vfs] access = "owner"',
        )
