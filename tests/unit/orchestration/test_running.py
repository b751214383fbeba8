# SPDX-License-Identifier: Apache-2.0
"""A run ends once, however it ends, and lets go of what it held."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from cco.errors import CcoError, UpstreamError, UpstreamTimeout
from cco.gateway.call import Answer
from cco.gateway.errors import AnswerCut
from cco.gateway.transport import AbandonedError
from cco.orchestration.running import Run
from tests.forwarding import STREAM
from tests.mounting import wait_until

LATE = UpstreamTimeout("invoke-timeout", "too late")


class Pieces:
    """A body of pieces; an error among them is raised."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = iter(pieces)
        self.is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = next(self._pieces)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self) -> None:
        self.is_closed = True


def begin(
    body: Pieces, *, late: CcoError | None = None, client_fd: int | None = None, cache: str = "miss"
) -> Run:
    headers = [("Content-Type", "text/event-stream"), ("x-cco-cache", cache)]
    held = ExitStack()
    held.callback(body.close)

    def tell(run: Run) -> dict[str, Any]:
        return {"response": run.reply.text, "cached": run.is_cached}

    return Run(
        Answer(200, "OK", headers, body),
        tell=tell,
        held=held,
        late=lambda: late,
        client_fd=client_fd,
    )


def test_result_is_there_when_the_pieces_are_over() -> None:
    body = Pieces(b"", STREAM[:600], STREAM[600:])
    run = begin(body)
    assert next(run) == ""
    assert run.result == {}
    assert "".join(run) == "Grüße 🎈"
    assert run.result == {"response": "Grüße 🎈", "cached": False}
    assert list(run) == []

    assert not body.is_closed
    run.close()
    run.close()
    assert body.is_closed


def test_caller_that_stops_reading_holds_nothing_for_ever() -> None:
    body = Pieces(STREAM[:600], AnswerCut())
    run = begin(body, late=LATE)
    run.close_after(0.01)
    wait_until(lambda: body.is_closed, "it is closed")
    run.close()
    with pytest.raises(UpstreamTimeout):
        list(run)


@pytest.mark.parametrize(
    ("cache", "is_cached"),
    [("hit", True), ("coalesced", True), ("miss", False), ("bypass", False), ("", False)],
)
def test_whether_another_one_paid(cache: str, is_cached: bool) -> None:
    assert begin(Pieces(), cache=cache).is_cached == is_cached


@pytest.mark.parametrize(
    "body",
    [
        Pieces(AnswerCut()),
        Pieces(STREAM[:600]),
        Pieces(b'event: error\ndata: {"error": {}}\n\n'),
    ],
)
def test_what_breaks_off_after_its_time_was_too_late(body: Pieces) -> None:
    with pytest.raises(UpstreamTimeout) as caught:
        list(begin(body, late=LATE))
    assert caught.value is LATE


def test_answer_that_is_whole_is_never_too_late() -> None:
    run = begin(Pieces(STREAM), late=None)
    assert "".join(run) == "Grüße 🎈"


def test_cut_by_the_provider_is_its_error() -> None:
    near, far = socket.socketpair()
    with near, far, pytest.raises(UpstreamError) as caught:
        list(begin(Pieces(AnswerCut()), client_fd=near.fileno()))
    assert caught.value.code == "upstream-broken"


def test_cut_by_the_caller_is_nobodys_error() -> None:
    near, far = socket.socketpair()
    far.close()
    with near, pytest.raises(AbandonedError):
        list(begin(Pieces(AnswerCut()), client_fd=near.fileno()))
