# SPDX-License-Identifier: Apache-2.0
import gzip
from collections.abc import Iterator
from typing import Any

import pytest

from cco.gateway.cache import Kept
from cco.gateway.copying import MAX_COUNT_BYTES, Copy
from cco.gateway.fold import UsageFold
from cco.gateway.headers import Fields
from cco.gateway.recording import Recording, Room
from tests.forwarding import ANSWER, ANSWER_COST_NANO, STREAM, STREAM_COST_NANO
from tests.unit.gateway.answering import Answering

COUNT = b'{"input_tokens":12}'
JSON: Fields = [("Content-Type", "application/json"), ("request-id", "r"), ("retry-after", "1")]
EVENTS: Fields = [("content-type", "text/event-stream; charset=utf-8")]


class Copying:
    """One answer on its way through a copy."""

    def __init__(self, answering: Answering, *, path: str = "/v1/messages", **more: Any) -> None:
        self.kept: list[Kept] = []
        self.lost: list[Kept] = []
        self.room = Room(100_000)
        self.entry = answering.entry(target=path)
        self.copy = Copy(
            self.entry,
            Recording(self.room, max_bytes=50_000),
            keep=self.kept.append,
            keep_lost=self.lost.append,
            **more,
        )

    def run(
        self,
        body: bytes,
        *,
        status: int = 200,
        headers: Fields = JSON,
        is_whole: bool = True,
        is_lost: bool = False,
        **settle: Any,
    ) -> None:
        named = {name.lower(): value for name, value in headers}
        kind, coding = named.get("content-type", ""), named.get("content-encoding", "")
        entry, copy = self.entry, self.copy
        entry.status = status
        entry.upstream = "up"
        entry.is_stream = kind.startswith("text/event-stream")
        entry.may_have_used = entry.is_metered and status == 200
        if entry.may_have_used or status >= 400:
            entry.fold = UsageFold(kind, coding)
        copy.begin(status, "OK", headers)
        for position in range(0, len(body), 300):
            piece = body[position : position + 300]
            entry.add(piece)
            copy.add(piece)
        entry.settle(**settle)
        copy.over(is_whole=is_whole)
        copy.close(is_lost=is_lost)
        assert self.room.take(100_000), "room was not given back"


@pytest.fixture
def answering() -> Iterator[Answering]:
    made = Answering()
    yield made
    made.close()


def test_keeps_a_message(answering: Answering) -> None:
    copying = Copying(answering)
    copying.run(ANSWER)
    assert copying.lost == []
    assert copying.kept == [
        Kept(
            reason="OK",
            headers=[("Content-Type", "application/json"), ("request-id", "r")],
            body=ANSWER,
            is_stream=False,
            coding="",
            upstream="up",
            cost_nano=ANSWER_COST_NANO,
        )
    ]


def test_keeps_a_stream_as_it_came(answering: Answering) -> None:
    packed = gzip.compress(STREAM)
    copying = Copying(answering)
    copying.run(packed, headers=[*EVENTS, ("content-encoding", "gzip")])
    (kept,) = copying.kept
    assert (kept.body, kept.is_stream, kept.coding) == (packed, True, "gzip")
    assert kept.cost_nano == STREAM_COST_NANO


def test_keeps_what_was_lost_apart(answering: Answering) -> None:
    copying = Copying(answering)
    copying.run(STREAM, headers=EVENTS, is_whole=False, is_lost=True)
    assert copying.kept == []
    assert [kept.body for kept in copying.lost] == [STREAM]


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_keeps_a_count_of_tokens_for_nothing(answering: Answering, coding: str) -> None:
    copying = Copying(answering, path="/v1/messages/count_tokens")
    body = gzip.compress(COUNT) if coding else COUNT
    copying.run(body, headers=[*JSON, ("content-encoding", coding)])
    (kept,) = copying.kept
    assert (kept.body, kept.cost_nano) == (body, 0)


def test_an_unpriced_answer_saves_nothing(answering: Answering) -> None:
    copying = Copying(answering)
    copying.run(ANSWER.replace(b"claude-opus-4-8", b"mystery"))
    # The model that was asked for has a price, so that stands; one of the body's own has none.
    other = Copying(answering)
    other.entry.model = "mystery"
    other.run(ANSWER.replace(b"claude-opus-4-8", b"mystery"))
    assert [each.kept[0].cost_nano for each in (copying, other)] == [ANSWER_COST_NANO, 0]


def stopped(reason: bytes) -> bytes:
    return ANSWER.replace(b'"end_turn"', reason)


MESSAGES: dict[str, dict[str, Any]] = {
    "another status": {"body": ANSWER, "status": 201},
    "an error": {"body": b'{"type":"error","error":{"type":"api_error"}}', "status": 500},
    "an error that is no error": {"body": b'{"type":"error","error":{"type":"api_error"}}'},
    "a page": {"body": b"<html>", "headers": [("Content-Type", "text/html")]},
    "a page that says it is none": {"body": b"<html>"},
    "no type": {"body": ANSWER, "headers": []},
    "cut JSON": {"body": ANSWER[:-1]},
    "nothing": {"body": b""},
    "no usage": {"body": b'{"type":"message","stop_reason":"end_turn"}'},
    "max_tokens": {"body": stopped(b'"max_tokens"')},
    "stop_sequence": {"body": stopped(b'"stop_sequence"')},
    "refusal": {"body": stopped(b'"refusal"')},
    "pause_turn": {"body": stopped(b'"pause_turn"')},
    "no reason": {"body": stopped(b"null")},
    "a coding that is not known": {"body": ANSWER, "headers": [*JSON, ("Content-Encoding", "x")]},
    "another coding": {"body": ANSWER, "headers": [*JSON, ("Content-Encoding", "gzip")]},
    "not whole": {"body": ANSWER, "is_whole": False, "is_lost": False},
    "a cut": {"body": ANSWER, "partial": True},
    "an error of ours": {"body": ANSWER, "error": "upstream-broken"},
    "too much": {"body": ANSWER.replace(b'"content"', b'"x":"%s","content"' % (b"x" * 50_000))},
    "a stream without its end": {"body": STREAM[:-40], "headers": EVENTS},
    "a stream without its beginning": {"body": STREAM[300:], "headers": EVENTS},
    "an error behind the end of a stream": {
        "body": STREAM + b'event: error\ndata: {"type":"error","error":{"type":"api_error"}}\n\n',
        "headers": EVENTS,
    },
    "a stream that stopped early": {
        "body": STREAM.replace(b'"end_turn"', b'"max_tokens"'),
        "headers": EVENTS,
    },
}


@pytest.mark.parametrize("case", MESSAGES.values(), ids=MESSAGES)
def test_what_is_not_good_is_kept_for_nobody(answering: Answering, case: dict[str, Any]) -> None:
    copying = Copying(answering)
    copying.run(**{"is_lost": True, **case})
    assert copying.kept == copying.lost == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"12",
        b"<html>",
        b'{"input_tokens":-1}',
        b'{"input_tokens":true}',
        b'{"input_tokens":1.5}',
        b'{"input_tokens":"12"}',
        b'{"type":"error","error":{"type":"api_error"}}',
        b'{"input_tokens":12}' + b" " * MAX_COUNT_BYTES,
        b"[" * 10_000,
    ],
    ids=lambda body: body[:20].decode(),
)
def test_what_is_no_count_is_kept_for_nobody(answering: Answering, body: bytes) -> None:
    copying = Copying(answering, path="/v1/messages/count_tokens")
    copying.run(body)
    assert copying.kept == []


@pytest.mark.parametrize(
    ("coding", "body"),
    [("gzip", COUNT), ("x", COUNT), ("gzip", gzip.compress(COUNT + b" " * MAX_COUNT_BYTES))],
    ids=["other", "unknown", "large"],
)
def test_a_count_that_cannot_be_read_is_kept_for_nobody(
    answering: Answering, coding: str, body: bytes
) -> None:
    copying = Copying(answering, path="/v1/messages/count_tokens")
    copying.run(body, headers=[*JSON, ("Content-Encoding", coding)])
    assert copying.kept == []


def test_stops_copying_as_soon_as_it_is_for_nothing(answering: Answering) -> None:
    copying = Copying(answering)
    copying.copy.begin(500, "", JSON)
    assert not copying.copy.wants_more
    copying.copy.add(b"x" * 100)
    assert copying.copy.recording.size == 0

    copying = Copying(answering)
    copying.copy.begin(200, "OK", JSON)
    copying.copy.add(b"x")
    copying.copy.add(b"x" * 50_000)
    assert not copying.copy.wants_more
    assert len(copying.copy.recording._data) == 0
    assert copying.room.take(100_000)


def test_what_nobody_wants_is_not_kept(answering: Answering) -> None:
    copy = Copy(answering.entry(), Recording(Room(1000), max_bytes=1000))
    copy.begin(200, "OK", JSON)
    copy.over(is_whole=True)
    copy.close(is_lost=True)
