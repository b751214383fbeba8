# SPDX-License-Identifier: Apache-2.0
"""Events of our own, as a listener reads them."""

import json
from collections.abc import Iterator

from cco.api.events import Event, Events, error_of, stream
from cco.errors import RequestError
from cco.gateway.sse import Decoder


def test_events_are_those_that_a_listener_gets() -> None:
    given = [Event("delta", {"text": "a\nb\r\n\u2028ü"}), None, Event("result", [1, None])]
    data = list(Events(iter(given), close=lambda: None))

    assert data[1] == b""  # only tells the client about the answer
    heard = Decoder().feed(b"".join(data))
    assert [(one.name, json.loads(one.data)) for one in heard] == [
        (one.name, one.data) for one in given if one
    ]


def test_close_is_passed_on_however_far_it_was_read() -> None:
    closed: list[bool] = []

    def endless() -> Iterator[Event]:
        while True:
            yield Event("delta", {})

    response = stream(endless(), close=lambda: closed.append(True))
    assert next(iter(response.response)) == b"event: delta\ndata: {}\n\n"
    response.close()

    assert closed == [True]
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers["Cache-Control"] == "no-store"


def test_error_has_the_shape_of_all_errors() -> None:
    error = RequestError("empty-task", "the task is empty", hint="Say")
    told = {"code": "empty-task", "message": "the task is empty", "hint": "Say"}
    assert error_of(error) == {"error": told}
