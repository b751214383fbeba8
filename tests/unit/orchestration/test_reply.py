# SPDX-License-Identifier: Apache-2.0
"""Reading what the provider answered: as a stream, as one message, as a refusal."""

import json
from typing import Any

import pytest

from cco.errors import (
    BudgetExceeded,
    CcoError,
    Denied,
    Unavailable,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from cco.ledger.usage import Usage
from cco.orchestration.reply import Reply, refusal
from tests.capabilities import ROOT

STREAM = (ROOT / "tests/data/sse/001.sse").read_bytes()
SSE = "text/event-stream; charset=utf-8"
JSON = "application/json"
MESSAGE: dict[str, Any] = {
    "type": "message",
    "model": "claude-opus-4-8",
    "content": [{"type": "text", "text": "Do it so."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 10, "output_tokens": 4},
}


def event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def read(data: bytes, *, content_type: str = JSON) -> Reply:
    reply = Reply(content_type)
    reply.feed(data)
    reply.finish()
    return reply


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_stream_is_told_as_it_comes(size: int) -> None:
    reply = Reply(SSE)
    pieces = [reply.feed(STREAM[at : at + size]) for at in range(0, len(STREAM), size)]

    assert reply.finish() == ""
    assert "".join(pieces) == reply.text
    assert reply.text == "Grüße 🎈"
    assert (reply.model, reply.stop_reason) == ("claude-opus-4-8", "end_turn")
    assert reply.usage == Usage(input=25, output=15, cache_read=3000)


def test_thinking_is_no_text() -> None:
    reply = Reply(SSE)
    deltas = [{"type": "thinking_delta", "thinking": "hm"}, {"type": "text_delta", "text": "a"}]
    told = [reply.feed(event("content_block_delta", index=0, delta=delta)) for delta in deltas]
    block = {"type": "text", "text": "b"}
    told.append(reply.feed(event("content_block_start", index=1, content_block=block)))

    assert told == ["", "a", "b"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "a"}], "a"),
        ([], ""),
        (None, ""),
        ("text", ""),
        (["text", None], ""),
    ],
)
def test_text_of_a_message(content: object, text: str) -> None:
    reply = Reply(JSON)
    assert reply.feed(json.dumps({**MESSAGE, "content": content}).encode()) == ""
    assert reply.finish() == reply.text == text


def test_message_without_model_and_usage_is_borne() -> None:
    reply = read(json.dumps({**MESSAGE, "usage": None, "model": None}).encode())
    assert (reply.model, reply.usage) == ("", Usage())


@pytest.mark.parametrize("data", [b"", b"not JSON", b"[]", b"\xff", b"[" * 100_000])
def test_message_that_is_none_is_an_error(data: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        read(data)
    assert caught.value.message.startswith("the provider answered 200")


@pytest.mark.parametrize("data", [b"", STREAM[: len(STREAM) // 2]])
def test_stream_without_an_end_is_an_error(data: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        read(data, content_type=SSE)
    assert caught.value.code == "upstream-broken"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ({"type": "overloaded_error", "message": "It is so."}, UpstreamError, "It is so"),
        ({"type": "timeout_error", "message": "CCO: Silent."}, UpstreamTimeout, "Silent"),
        ({}, UpstreamError, "the provider gave up without a reason"),
        (None, UpstreamError, "the provider gave up without a reason"),
    ],
)
def test_error_in_a_stream_is_told(error: object, kind: type[CcoError], message: str) -> None:
    reply = Reply(SSE)
    with pytest.raises(UpstreamError) as caught:
        reply.feed(event("error", error=error))
    assert type(caught.value) is kind
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("status", "code", "kind", "wanted"),
    [
        (400, "", UpstreamError, "upstream-error"),
        (401, "", Denied, "bad-credential"),
        (402, "budget-spent", BudgetExceeded, "budget-spent"),
        (403, "", UpstreamError, "upstream-error"),
        (404, "", UpstreamError, "upstream-error"),
        (413, "", UpstreamError, "upstream-error"),
        (429, "", UpstreamError, "upstream-error"),
        (500, "", UpstreamError, "upstream-error"),
        (502, "", UpstreamRefused, "upstream-refused"),
        (502, "upstream-tls", UpstreamRefused, "upstream-tls"),
        (503, "", UpstreamError, "upstream-error"),
        (503, "daemon-stopping", Unavailable, "daemon-stopping"),
        (504, "", UpstreamTimeout, "upstream-timeout"),
        (529, "", UpstreamError, "upstream-error"),
    ],
)
def test_refusals_are_told_in_their_own_words(
    status: int, code: str, kind: type[CcoError], wanted: str
) -> None:
    body = json.dumps({"type": "error", "error": {"type": "x", "message": "CCO: It is so."}})
    error = refusal(status, body.encode(), code=code)

    assert type(error) is kind
    assert error.code == wanted
    assert error.message.endswith("It is so")  # a sentence of ours has no full stop


@pytest.mark.parametrize("data", [b"", b"<html>", b"[]", b'{"error": "text"}'])
def test_refusal_without_words_is_told_by_its_status(data: bytes) -> None:
    assert "the provider answered 500" in refusal(500, data).message
