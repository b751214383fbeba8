# SPDX-License-Identifier: Apache-2.0
"""Reads what a caller sent; the type is checked where a member is read.

Every getter names the member in its error, so no route indexes a raw dictionary.
"""

import json
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from flask import request

from cco.api.services import Services
from cco.errors import CcoError, Denied, RequestError
from cco.orchestration.sessions import Session

SEE: Final = "See: GET /openapi.json"
"""What to do about a request that does not fit its description."""
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""Largest request body, the provider's own limit rounded up."""
SILENCE_S: Final = 30.0
"""Longest wait for more of a body: its sender is on this machine."""
MAX_PROJECT: Final = 4096
"""Characters of a project's path, as many as the kernel takes bytes."""
MAX_EXACT: Final = 2**53
"""Up to here a float is a certain whole number."""


def _nothing(_size_bytes: int) -> None:
    pass


def body(hold: Callable[[int], None] = _nothing) -> bytes:
    """Return the request's body.

    Args:
        hold: told of each piece before there is another; may refuse it.

    Raises:
        RequestError: it is larger than the limit, malformed, or does not come to its end.
    """
    stream, parts, size = request.environ["wsgi.input"], [], 0
    connection: socket.socket = request.environ["gunicorn.socket"]
    connection.settimeout(SILENCE_S)
    try:
        while data := stream.read(min(1024 * 1024, MAX_BODY_BYTES + 1 - size)):
            parts.append(data)
            size += len(data)
            if size > MAX_BODY_BYTES:
                raise RequestError(
                    "body-too-large", "the request is larger than 64 MB", hint="Send less"
                )
            hold(len(data))
    except TimeoutError as exc:
        raise RequestError(
            "body-late",
            f"nothing more of the request's body came for {SILENCE_S:g} s",
            hint="Send it again",
        ) from exc
    except CcoError:
        raise
    except Exception as exc:  # each version of the server has its own for chunks
        is_from_system = isinstance(exc, OSError) and exc.errno is not None
        if is_from_system or type(exc).__name__ == "NoMoreData":
            raise _cut() from exc
        raise RequestError(
            "body-invalid", "the request's body is not framed as HTTP is", hint="Send it again"
        ) from exc
    finally:
        connection.settimeout(None)
    if size < (request.content_length or 0):
        raise _cut()
    return b"".join(parts)


def _cut() -> RequestError:
    return RequestError(
        "body-cut", "the connection ended before the request's body was whole", hint="Send it again"
    )


def payload(hold: Callable[[int], None] = _nothing) -> dict[str, Any]:
    """Return the request's body, a JSON object.

    Args:
        hold: as for `body`.

    Raises:
        RequestError: it is none.
    """
    try:
        given = json.loads(body(hold) or b"{}")
    except (ValueError, RecursionError) as exc:
        raise RequestError("bad-json", f"the request's body is not JSON ({exc})", hint=SEE) from exc
    if not isinstance(given, dict):
        raise RequestError("bad-json", "the request's body must be a JSON object", hint=SEE)
    return given


def text(given: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """Return a member that must be a text."""
    value = str(_typed(given, name, default, str, "a text"))
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise RequestError(
            "bad-member", f"'{name}' holds half a character", hint="Send text in UTF-8"
        )
    return value


def texts(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return a member that must be a list of lines of text; one that is missing is empty."""
    value = given.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise RequestError("bad-member", f"'{name}' must be a list of texts", hint=SEE)
    return tuple(text({name: one}, name) for one in value)


def number(
    given: Mapping[str, Any],
    name: str,
    default: int | None = None,
    *,
    low: int | None = None,
    high: int | None = None,
) -> int:
    """Return a member that must be a whole number, within bounds if there are any."""
    found = given.get(name, default)
    if isinstance(found, float) and found.is_integer() and abs(found) <= MAX_EXACT:
        found = int(found)  # 8.0 is one too, as JSON and its schemas see it
    value = int(_typed({name: found}, name, default, int, "a whole number"))
    if (low is not None and value < low) or (high is not None and value > high):
        raise RequestError("bad-member", f"'{name}' must be between {low} and {high}", hint=SEE)
    return value


def flag(given: Mapping[str, Any], name: str) -> bool:
    """Return a member that must be true or false; without it it is false."""
    return bool(_typed(given, name, default=False, kind=bool, words="true or false"))


def project(path: str) -> str:
    """Return a project's path as it is stored.

    Raises:
        RequestError: it cannot.
    """
    if not path.startswith("/") or "\0" in path or len(path) > MAX_PROJECT:
        raise RequestError(
            "bad-project", "'project' must be the absolute path of a directory", hint=SEE
        )
    return str(Path(path))


def _typed(given: Mapping[str, Any], name: str, default: Any, kind: type, words: str) -> Any:
    value = given.get(name, default)
    if value is None:
        raise RequestError("missing-member", f"the request has no '{name}'", hint=SEE)
    if type(value) is not kind:
        raise RequestError("bad-member", f"'{name}' must be {words}", hint=SEE)
    return value


def only_parameters(*known: str) -> None:
    """Refuse a query with parameters that are not known: it would be answered as if it had none.

    Raises:
        RequestError: there is one.
    """
    for name in request.args:
        if name not in known:
            raise RequestError(
                "unknown-parameter",
                f"there is no parameter '{name[:64]}'",
                hint=f"Known: {', '.join(sorted(known))}",
            )


def whole_parameter(name: str, default: int, *, low: int, high: int) -> int:
    """Return a parameter of the query that is a whole number within bounds.

    Raises:
        RequestError: it is none.
    """
    value = request.args.get(name)
    if value is None:
        return default
    if not re.fullmatch("[0-9]{1,19}", value) or not low <= int(value) <= high:
        raise RequestError(
            "bad-parameter", f"'{name}' must be a whole number between {low} and {high}", hint=SEE
        )
    return int(value)


def directives() -> set[str]:
    """Return the members of ``Cache-Control``, in lower case."""
    told = request.headers.get("Cache-Control", "")
    return {member.strip().lower() for member in told.split(",")}


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
