# SPDX-License-Identifier: Apache-2.0
"""Answers to what never became a request, in the shape that its sender reads.

Nothing of the sender's comes back or is logged: a header line that is no header may hold a key.
"""

import re
import secrets
from http import HTTPStatus
from typing import Final

from cco.api import errors
from cco.errors import CcoError, RequestError, Unavailable

PATH: Final = re.compile(rb"[A-Z]+ (/[!-~]*)")
"""The path of a request line, or its beginning."""

ERRORS: Final[dict[int, CcoError]] = {
    400: RequestError(
        "head-invalid", "the request's head is not as HTTP has it", hint="Send it as HTTP/1.1"
    ),
    408: RequestError(
        "head-late", "the request's head did not come to its end", hint="Send it again"
    ),
    414: RequestError(
        "target-too-large", "the request's first line is longer than 8 KB", hint="Send less"
    ),
    417: RequestError(
        "bad-expectation", "CCO knows no 'Expect' but 100-continue", hint="Leave it out"
    ),
    431: RequestError(
        "head-too-large",
        "the request has more than 1000 header lines, or one longer than 64 KB",
        hint="Send fewer headers",
    ),
    500: Unavailable("internal", "CCO failed on this request", hint="See: cco daemon logs"),
}


def refusal(status: int, head: bytes) -> bytes:
    """Return the whole answer, after which the connection ends.

    Args:
        status: one of `ERRORS`.
        head: what has come of the request, as far as it matters.
    """
    found = PATH.match(head)
    path = found[1].decode("ascii") if found else "/"
    data, fields = errors.render(
        ERRORS[status], status=status, path=path, request_id=f"cco_{secrets.token_hex(12)}"
    )
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in fields]
    return "\r\n".join([*lines, "", ""]).encode() + data
