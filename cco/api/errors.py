# SPDX-License-Identifier: Apache-2.0
"""Errors become HTTP answers here, and only here.

On ``/api/`` and wherever else CCO speaks for itself: ``{"error": {"code", "message", "hint"}}``.
On ``/v1/``, where Claude Code listens, the provider's shape, as `gateway.errors` writes it. Which
status an error has is the gateway's table too, but for the codes below.
"""

import json
import logging

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from cco.api.events import error_of
from cco.errors import CcoError, RequestError, Unavailable
from cco.gateway import errors as gateway_errors
from cco.gateway.headers import Fields

log = logging.getLogger(__name__)

STATUS = gateway_errors.STATUS
STATUS_OF_CODE: dict[str, int] = {
    "agents-busy": 429,
    "body-late": 408,
    "body-too-large": 413,
    "foreign-host": 421,
    "knowledge-off": 409,
}
"""Codes that ask for another status than their class."""


def status_of(error: CcoError) -> int:
    """Return the HTTP status that stands for an error."""
    return STATUS_OF_CODE.get(error.code) or gateway_errors.status_of(error)


def is_gateway_path(path: str) -> bool:
    """Say whether Claude Code's API client, not a tool of ours, reads the answer."""
    return path.startswith(("/v1/", "/s/"))


def render(error: CcoError, *, status: int, path: str, request_id: str) -> tuple[bytes, Fields]:
    """Return body and header fields for an error, as the caller of `path` understands them."""
    if is_gateway_path(path):
        data = gateway_errors.render_body(error, request_id, status=status)
        return data, gateway_errors.error_headers(
            error, request_id, length=len(data), status=status
        )
    data = json.dumps(error_of(error)).encode()
    return data, [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(data))),
        ("x-cco-error", error.code),
    ]


def answer(error: CcoError, *, status: int, path: str, request_id: str) -> Response:
    """Return the response for an error."""
    data, fields = render(error, status=status, path=path, request_id=request_id)
    response = Response(data, status=status, headers=fields)
    has_body = bool(request.content_length) or "Transfer-Encoding" in request.headers
    if has_body or (request.method not in ("GET", "HEAD") and status in (403, 421)):
        response.headers["Connection"] = "close"  # the body may not have been read
    return response


def install(app: Flask) -> None:
    """Make `app` answer every error in our shapes."""

    @app.errorhandler(CcoError)
    def refused(error: CcoError) -> Response:
        status = status_of(error)
        if status >= 500:
            log.warning(
                "%s %s: %s", request.method, request.path, error.message, extra={"CODE": error.code}
            )
        return answer(error, status=status, path=request.path, request_id=_request_id())

    @app.errorhandler(HTTPException)
    def unroutable(error: HTTPException) -> Response:
        status = error.code or 500
        if error.response is not None:
            return Response(status=status)
        known = {404: "unknown-route", 405: "wrong-method", 413: "body-too-large"}
        told = RequestError(
            known.get(status, "bad-request"),
            f"{request.method} {request.path} is not served ({error.name})",
            hint="Look at the path and the method",
        )
        response = answer(told, status=status, path=request.path, request_id=_request_id())
        if isinstance(error, MethodNotAllowed):
            response.allow.update(error.valid_methods or ())
        return response

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.path, exc_info=error)
        told = Unavailable("internal", "CCO failed on this request", hint="See: cco daemon logs")
        return answer(told, status=500, path=request.path, request_id=_request_id())


def _request_id() -> str:
    return str(request.environ.get("cco.request_id", ""))
