# SPDX-License-Identifier: Apache-2.0
"""Errors of our own as Claude Code reads them: in the provider's shape, and never a 401.

::

    {"type": "error", "error": {"type", "message"}, "request_id"}     x-cco-error: <code>

What a status makes of the client decides which is chosen: 502 and 504 are tried again for three
minutes, which is right for an upstream that cannot be reached; 400 is shown at once. Where trying
again cannot help (a certificate, a proxy's URL), ``x-should-retry: false`` says so.
"""

import errno
import json
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

_STATUS: Final[tuple[tuple[type[CcoError], int, str], ...]] = (
    (UpstreamTimeout, 504, "timeout_error"),
    (UpstreamError, 502, "api_error"),
    (BudgetExceeded, 402, "billing_error"),
    (Denied, 403, "permission_error"),
    (NotFound, 404, "not_found_error"),
    (RequestError, 400, "invalid_request_error"),
    (Unavailable, 503, "api_error"),
    (CcoError, 500, "api_error"),
)
"""Most particular class first."""

_LASTING: Final = frozenset({"upstream-tls", "upstream-proxy"})
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
    return _kind(error)[0]


def render_body(error: CcoError, request_id: str) -> bytes:
    """Return the JSON of an error."""
    return json.dumps(_payload(error, request_id)).encode()


def render_event(error: CcoError, request_id: str) -> bytes:
    """Return the last event of a stream that cannot go on.

    The stream may have been cut inside an event. The last name stands, and what is in a ``ping``
    clients do not parse, so half of an event does them no harm; behind a whole event this is an
    event without data, which is none.
    """
    payload = json.dumps(_payload(error, request_id))
    return f"\nevent: ping\n\nevent: error\ndata: {payload}\n\n".encode()


def error_headers(error: CcoError, request_id: str, *, length: int) -> Fields:
    """Return the header fields of an answer that is an error of ours."""
    fields = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(length)),
        ("request-id", request_id),
        ("x-cco-error", error.code),
    ]
    if error.code in _LASTING:
        fields.append(("x-should-retry", "false"))
    elif status_of(error) >= 500:
        fields.append(("retry-after", str(RETRY_AFTER_S)))
    return fields


def _kind(error: CcoError) -> tuple[int, str]:
    return next((status, name) for kind, status, name in _STATUS if isinstance(error, kind))


def _payload(error: CcoError, request_id: str) -> dict[str, object]:
    sentence = f"{error.message}. {error.hint}" if error.hint else error.message
    return {
        "type": "error",
        "error": {"type": _kind(error)[1], "message": f"CCO: {sentence}"},
        "request_id": request_id,
    }
