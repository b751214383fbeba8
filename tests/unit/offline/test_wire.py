# SPDX-License-Identifier: Apache-2.0
"""Replies: streams and documents, and every way in which they break."""

import json
from typing import Any

import pytest

from cco.offline.answer import NOTICE, Answer
from cco.offline.count import Usage
from cco.offline.messages import Ask, parse_request
from cco.offline.script import Cut, Script
from cco.offline.wire import FOREVER, Reply, error, reply

COUNTED = Usage(input=10, cache_read=20, cache_write_5m=30, cache_write_1h=40)
START = COUNTED + Usage(output=1)
FULL = COUNTED + Usage(output=7)


def make_reply(
    script: Script | None = None,
    *,
    stream: bool = True,
    blocks: tuple[dict[str, Any], ...] = ({"type": "text", "text": f"{NOTICE} {'x' * 60}"},),
) -> Reply:
    answer = Answer(blocks=blocks, stop_reason="end_turn", output_tokens=7)
    return reply(make_ask(stream=stream), script or Script(), answer, COUNTED, request_id="req_1")


def make_ask(*, stream: bool) -> Ask:
    body = {"model": "m", "max_tokens": 9, "stream": stream, "messages": [{"role": "user"}]}
    return parse_request(json.dumps(body).encode())


def the_body(planned: Reply) -> bytes:
    return b"".join(step.data for step in planned.steps)


def the_events(planned: Reply) -> list[dict[str, Any]]:
    """Decode a stream, sure that each event's name is repeated in its data."""
    events = []
    for frame in the_body(planned).decode().removesuffix("\n\n").split("\n\n"):
        name, data = frame.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def names(planned: Reply) -> list[str]:
    """Return the names of a stream's events, runs of the same name as one."""
    found = [event["type"] for event in the_events(planned)]
    return [name for n, name in enumerate(found) if n == 0 or found[n - 1] != name]


WHOLE = [
    "message_start",
    "ping",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
]


def test_a_stream_has_every_event_in_order() -> None:
    planned = make_reply()

    assert names(planned) == WHOLE
    assert (planned.status, planned.length, planned.cut) == (200, None, False)
    assert planned.usage == FULL


def test_a_stream_reports_usage_at_start_and_end() -> None:
    events = the_events(make_reply())

    assert events[0]["message"]["usage"] == START.document()
    assert events[0]["message"]["id"] == "msg_1"
    assert events[-2] == {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 70,
            "cache_read_input_tokens": 20,
            "output_tokens": 7,
        },
    }


def test_the_deltas_of_a_stream_add_up_to_the_document() -> None:
    given = {"prompt": "y" * 100, "n": [1, {"a": None}], "ü": "ü"}
    blocks = (
        {"type": "text", "text": "z" * 100},
        {"type": "tool_use", "id": "t", "name": "Agent", "input": given},
        {"type": "web_search_tool_result", "tool_use_id": "t", "content": []},
    )
    streamed: list[dict[str, Any]] = []
    pieces: list[str] = []
    for event in the_events(make_reply(blocks=blocks)):
        if event["type"] == "content_block_start":
            streamed.append(event["content_block"])
            pieces = []
        elif event["type"] == "content_block_delta":
            assert event["index"] == len(streamed) - 1
            pieces.append(event["delta"].get("text") or event["delta"]["partial_json"])
        elif event["type"] == "content_block_stop" and "text" in streamed[-1]:
            streamed[-1]["text"] = "".join(pieces)
        elif event["type"] == "content_block_stop" and "input" in streamed[-1]:
            streamed[-1]["input"] = json.loads("".join(pieces))

    document = json.loads(the_body(make_reply(stream=False, blocks=blocks)))

    assert document["content"] == streamed == list(blocks)


def test_a_long_text_has_a_bounded_number_of_deltas() -> None:
    planned = make_reply(blocks=({"type": "text", "text": "x" * 1_000_003},))

    assert len(planned.steps) < 250


def test_a_document_holds_the_whole_message() -> None:
    planned = make_reply(stream=False)

    message = json.loads(the_body(planned))
    assert message["usage"] == FULL.document()
    assert message["stop_reason"] == "end_turn"
    assert planned.length == len(the_body(planned))
    assert planned.usage == FULL


def test_the_headers_are_those_of_the_api_but_for_the_organisation() -> None:
    for stream in (True, False):
        headers = dict(make_reply(stream=stream).headers)

        assert headers["request-id"] == "req_1"
        assert headers["anthropic-ratelimit-unified-status"] == "allowed"
        assert "anthropic-organization-id" not in headers


def test_pings_and_pauses_stand_where_they_were_asked_for() -> None:
    planned = make_reply(Script(silent_s=5.0, slow_s=0.25, pings=3))

    kinds = [event["type"] for event in the_events(planned)]
    pauses = dict(zip(kinds, (step.pause_s for step in planned.steps), strict=True))
    assert kinds.count("ping") == 3
    assert pauses["message_start"] == 5.0
    assert pauses["ping"] == pauses["content_block_delta"] == 0.25
    assert pauses["content_block_start"] == pauses["message_stop"] == 0.0


@pytest.mark.parametrize(
    ("script", "seen"),
    [
        (Script(cut=Cut.MESSAGE_START), WHOLE[:1]),
        (Script(cut=Cut.CONTENT), WHOLE[:4]),
    ],
)
def test_a_cut_stream_ends_early_and_reports_the_start(script: Script, seen: list[str]) -> None:
    planned = make_reply(script)

    assert names(planned) == seen
    assert planned.cut
    assert planned.usage == START
    # A client that falls back to a request without a stream gets the whole answer.
    assert make_reply(script, stream=False) == make_reply(stream=False)


@pytest.mark.parametrize(("stream", "usage"), [(True, START), (False, Usage())])
def test_a_cut_length_is_declared_whole_and_sent_half(stream: bool, usage: Usage) -> None:
    planned = make_reply(Script(cut=Cut.LENGTH), stream=stream)

    assert planned.cut
    assert planned.length == len(the_body(make_reply(stream=stream)))
    assert len(the_body(planned)) == planned.length // 2
    assert planned.usage == usage


def test_a_stall_never_ends() -> None:
    streamed, single = (make_reply(Script(stall=True), stream=stream) for stream in (True, False))

    assert names(streamed) == WHOLE[:1]
    assert [step.pause_s for step in streamed.steps] == [0.0, FOREVER]
    assert streamed.usage == START
    assert [step.pause_s for step in single.steps] == [FOREVER]
    assert single.usage == Usage()


def test_an_error_in_a_stream_is_an_event() -> None:
    planned = make_reply(Script(error="overloaded_error"))

    assert names(planned) == [*WHOLE[:4], "error"]
    assert the_events(planned)[-1]["error"] == {"type": "overloaded_error", "message": NOTICE}
    assert not planned.cut


@pytest.mark.parametrize("stream", [True, False])
def test_html_is_not_json(stream: bool) -> None:
    planned = make_reply(Script(html=True, silent_s=1.0), stream=stream)

    assert planned.status == 200
    assert dict(planned.headers)["content-type"].startswith("text/html")
    assert NOTICE.encode() in the_body(planned)
    assert planned.usage == Usage()
    assert planned.steps[0].pause_s == 1.0


def test_a_status_comes_with_its_headers_and_type() -> None:
    planned = make_reply(Script(status=429, retry_after=2, should_retry=False))

    headers = dict(planned.headers)
    body = json.loads(the_body(planned))
    assert planned.status == 429
    assert (headers["retry-after"], headers["x-should-retry"]) == ("2", "false")
    assert body["type"] == "error"
    assert body["error"]["type"] == "rate_limit_error"
    assert body["request_id"] == headers["request-id"] == "req_1"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (402, "billing_error"),
        (422, "invalid_request_error"),
        (503, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_every_status_has_an_error_type(status: int, kind: str) -> None:
    planned = error(status, "m", request_id="r")

    assert json.loads(the_body(planned))["error"] == {"type": kind, "message": "m"}
