# SPDX-License-Identifier: Apache-2.0
"""Errors become HTTP answers here, and only here.

On ``/api/`` and wherever else CCO speaks for itself: ``{"error": {"code", "message", "hint"}}``.
On ``/v1/``, where Claude Code listens, the provider's shape and the header ``x-cco-error``:
``{"type": "error", "error": {"type", "message"}, "request_id"}``; never 401, which would make the
client burn its refresh token.
"""

import json
import logging

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from cco.errors import (
    BudgetExceeded,
    CcoError,
    ConfigError,
    Denied,
    LaunchError,
    NotFound,
    RequestError,
    SealError,
    StoreError,
    Unavailable,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)

log = logging.getLogger(__name__)

STATUS: dict[type[CcoError], int] = {
    NotFound: 404,
    RequestError: 400,
    Denied: 403,
    BudgetExceeded: 402,
    UpstreamTimeout: 504,
    UpstreamRefused: 502,
    UpstreamError: 502,
    Unavailable: 503,
    ConfigError: 500,
    StoreError: 500,
    SealError: 500,
    LaunchError: 500,
}
"""Most particular class first; a code may ask for another status below."""

STATUS_OF_CODE: dict[str, int] = {
    "agents-busy": 429,
    "body-too-large": 413,
    "foreign-host": 421,
    "knowledge-off": 409,
}

TYPES: dict[int, str] = {
    400: "invalid_request_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}
"""The provider's error types; other statuses are ``api_error``."""


def status_of(error: CcoError) -> int:
    """Return the HTTP status that stands for an error."""
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    return next(status for kind, status in STATUS.items() if isinstance(error, kind))


def is_gateway_path(path: str) -> bool:
    """Say whether Claude Code's API client, not a tool of ours, reads the answer."""
    return path.startswith(("/v1/", "/s/"))


def answer(error: CcoError, *, status: int, path: str, request_id: str) -> Response:
    """Return the response for an error, in the shape that the caller of `path` understands."""
    if is_gateway_path(path):
        sentence = f"{error.message}. {error.hint}" if error.hint else error.message
        payload: dict[str, object] = {
            "type": "error",
            "error": {"type": TYPES.get(status, "api_error"), "message": f"CCO: {sentence}"},
            "request_id": request_id,
        }
    else:
        payload = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
    response = Response(json.dumps(payload), status=status, mimetype="application/json")
    response.headers["x-cco-error"] = error.code
    if request.method not in ("GET", "HEAD") and status in (403, 421):
        response.headers["Connection"] = "close"  # the body was not read
    return response


def install(app: Flask) -> None:
    """Make `app` answer every error in our shapes."""

    @app.errorhandler(CcoError)
    def refused(error: CcoError) -> Response:
        status = status_of(error)
        if status >= 500:
            log.warning("%s %s: %s", request.method, request.path, error.message)
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
            hint="See GET /openapi.json",
        )
        return answer(told, status=status, path=request.path, request_id=_request_id())

    @app.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.path, exc_info=error)
        told = Unavailable("internal", "CCO failed on this request", hint="See: cco daemon logs")
        return answer(told, status=500, path=request.path, request_id=_request_id())


def _request_id() -> str:
    return str(request.environ.get("cco.request_id", ""))
