# SPDX-License-Identifier: Apache-2.0
"""Reads what a caller sent; the type is checked where a member is read.

Every getter names the member in its error, so no route indexes a raw dictionary.
"""

import json
import socket
from collections.abc import Mapping
from typing import Any, Final

from flask import request

from cco.api.services import Services
from cco.errors import Denied, RequestError
from cco.orchestration.sessions import Session

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Largest request body, the provider's own limit rounded up."""


def body() -> bytes:
    """Return the request's body.

    Raises:
        RequestError: it is larger than the limit.
    """
    stream, parts, size = request.environ["wsgi.input"], [], 0
    while data := stream.read(min(1024 * 1024, MAX_BODY_BYTES + 1 - size)):
        parts.append(data)
        size += len(data)
        if size > MAX_BODY_BYTES:
            raise RequestError("body-too-large", "the request is larger than 64 MB")
    return b"".join(parts)


def payload() -> dict[str, Any]:
    """Return the request's body, a JSON object.

    Raises:
        RequestError: it is none.
    """
    try:
        given = json.loads(body() or b"{}")
    except (ValueError, RecursionError) as exc:
        raise RequestError("bad-json", f"the request's body is not JSON ({exc})") from exc
    if not isinstance(given, dict):
        raise RequestError("bad-json", "the request's body must be a JSON object")
    return given


def text(given: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """Return a member that must be a text."""
    value = str(_typed(given, name, default, str, "a text"))
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise RequestError("bad-member", f"'{name}' holds half a character")
    return value


def number(given: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """Return a member that must be a whole number."""
    return int(_typed(given, name, default, int, "a whole number"))


def _typed(given: Mapping[str, Any], name: str, default: Any, kind: type, words: str) -> Any:
    value = given.get(name, default)
    if value is None:
        raise RequestError("missing-member", f"the request has no '{name}'")
    if type(value) is not kind:
        raise RequestError("bad-member", f"'{name}' must be {words}")
    return value


def is_local_socket() -> bool:
    """Say whether the caller came through the Unix socket."""
    connection: socket.socket = request.environ["gunicorn.socket"]
    return connection.family == socket.AF_UNIX


def require_local_socket() -> None:
    """Refuse callers on TCP.

    Raises:
        Denied: the caller came through the HTTP port.
    """
    if not is_local_socket():
        raise Denied(
            "unix-socket-only",
            f"{request.path} is served on the Unix socket only",
            hint="Use the cco command",
        )


def session(services: Services) -> Session | None:
    """Return the session that the caller names with its token, None if it names none."""
    return services.sessions.by_token(request.headers.get("x-cco-session", ""))
