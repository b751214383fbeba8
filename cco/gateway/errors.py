# SPDX-License-Identifier: Apache-2.0
"""Errors of our own as Claude Code reads them: in the provider's shape, and never a 401.

::

    {"type": "error", "error": {"type", "message"}, "request_id"}     x-cco-error: <code>

What a status makes of the client decides which is chosen: 502 and 504 are tried again for three
minutes, which is right for an upstream that cannot be reached; 400 is shown at once. Where trying
again cannot help (a certificate, a proxy's URL, a budget), ``x-should-retry: false`` says so.
"""

import errno
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cco.errors import (
    BudgetExceeded,
    CcoError,
    Denied,
    NotFound,
    RequestError,
    Unavailable,
    UpstreamError,
    UpstreamTimeout,
)
from cco.gateway.headers import Fields

RETRY_AFTER_S: Final = 1
"""The least that the client waits; its own back-off is longer from the second time on."""

STATUS: Final[Mapping[type[CcoError], int]] = MappingProxyType(
    {
        UpstreamTimeout: 504,
        UpstreamError: 502,
        BudgetExceeded: 402,
        Denied: 403,
        NotFound: 404,
        RequestError: 400,
        Unavailable: 503,
        CcoError: 500,
    }
)
"""Most particular class first."""

_TYPES: Final = {
    400: "invalid_request_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}
"""The provider's types of errors; other statuses are ``api_error``."""

LASTING: Final = frozenset({"budget-spent", "upstream-proxy", "upstream-tls"})
"""Codes of what stays as it is until somebody mends it."""


class AnswerCut(ConnectionResetError):
    """Raised out of an answer's body: the connection to the client must be closed as it is.

    The upstream's answer ended before it was whole, and the status has gone out already. The
    client must see that, so no terminating chunk may be written. As a connection error with
    ``errno`` set it makes Gunicorn's threaded workers close the connection without one, and log
    nothing above DEBUG.
    """

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the upstream's answer was cut")


def status_of(error: CcoError) -> int:
    """Return the status that stands for an error."""
    return next(status for kind, status in STATUS.items() if isinstance(error, kind))


def render_body(error: CcoError, request_id: str, *, status: int | None = None) -> bytes:
    """Return the JSON of an error.

    Args:
        error: what happened.
        request_id: our id of the request.
        status: of the answer; None takes the one that stands for the error.
    """
    return json.dumps(_payload(error, request_id, status)).encode()


def render_event(error: CcoError, request_id: str) -> bytes:
    """Return the last event of a stream that cannot go on.

    The stream may have been cut inside an event. The last name stands, and what is in a ``ping``
    clients do not parse, so half of an event does them no harm; behind a whole event this is an
    event without data, which is none.
    """
    payload = json.dumps(_payload(error, request_id, None))
    return f"\nevent: ping\n\nevent: error\ndata: {payload}\n\n".encode()


def error_headers(
    error: CcoError, request_id: str, *, length: int, status: int | None = None
) -> Fields:
    """Return the header fields of an answer that is an error of ours.

    Args:
        error: what happened.
        request_id: our id of the request.
        length: bytes of the body.
        status: of the answer; None takes the one that stands for the error.
    """
    fields = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(length)),
        ("request-id", request_id),
        ("x-cco-error", error.code),
    ]
    if error.code in LASTING:
        fields.append(("x-should-retry", "false"))
    elif (status or status_of(error)) >= 500:
        fields.append(("retry-after", str(RETRY_AFTER_S)))
    return fields


def _payload(error: CcoError, request_id: str, status: int | None) -> dict[str, object]:
    sentence = f"{error.message}. {error.hint}" if error.hint else error.message
    kind = _TYPES.get(status or status_of(error), "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": f"CCO: {sentence}"},
        "request_id": request_id,
    }
