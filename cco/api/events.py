# SPDX-License-Identifier: Apache-2.0
"""Server-sent events of our own: a name and JSON, one after the other as they come."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from flask import Response

from cco.errors import CcoError


class Event(NamedTuple):
    """One event."""

    name: str
    data: Any


class Events:
    """The bytes of events for WSGI; `None` among them only tells the client about the answer.

    Args:
        source: of the events.
        close: called in the end, whether it was read to its end or not.
    """

    def __init__(self, source: Iterator[Event | None], *, close: Callable[[], None]) -> None:
        self._source = source
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        """Return itself."""
        return self

    def __next__(self) -> bytes:
        """Return the next event."""
        event = next(self._source)
        if event is None:
            return b""
        data = json.dumps(event.data, ensure_ascii=False, separators=(",", ":"))
        return f"event: {event.name}\ndata: {data}\n\n".encode()


def stream(source: Iterator[Event | None], *, close: Callable[[], None]) -> Response:
    """Return the answer that sends events as they come."""
    response = Response(Events(source, close=close), mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    return response


def error_of(error: CcoError) -> dict[str, dict[str, str | None]]:
    """Return an error in the shape of all our answers."""
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
