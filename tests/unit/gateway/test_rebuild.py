# SPDX-License-Identifier: Apache-2.0
"""That the message is the one that the provider's SDK makes of the same stream is shown, with
random answers, in tests/integration/test_gateway_reuse.py.
"""

import gzip
import json
import random
from typing import Any

import pytest

from cco.gateway import rebuild as module
from cco.gateway.rebuild import rebuild_message
from tests.capabilities import ROOT

TYPICAL = (ROOT / "tests/data/sse/001.sse").read_bytes()
USAGE = {"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": 7}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-4-8",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": USAGE,
}
START: dict[str, Any] = {"type": "message_start", "message": MESSAGE}
DELTA: dict[str, Any] = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 9, "input_tokens": None},
}
STOP = {"type": "message_stop"}
PING = {"type": "ping"}
CITATION = {"type": "char_location", "cited_text": "x", "document_index": 0}


def stream(*events: dict[str, Any]) -> bytes:
    texts = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
    return "".join(texts).encode()


def block(index: int, start: object, *deltas: object) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text_block(index: int) -> list[dict[str, Any]]:
    delta = {"type": "text_delta", "text": "hi"}
    return block(index, {"type": "text", "text": ""}, delta)


def told(data: bytes, coding: str = "") -> Any:
    rebuilt = rebuild_message(data, content_encoding=coding)
    return None if rebuilt is None else json.loads(rebuilt)


@pytest.mark.parametrize(
    ("start", "deltas", "wanted"),
    [
        ({"type": "text", "text": ""}, [], {"type": "text", "text": ""}),
        (
            {"type": "text", "text": "a", "citations": None},
            [
                {"type": "text_delta", "text": "b"},
                {"type": "citations_delta", "citation": CITATION},
                {"type": "text_delta", "text": "\ud800é\0", "new": 1},
                {"type": "citations_delta", "citation": CITATION},
            ],
            {"type": "text", "text": "ab\ud800é\0", "citations": [CITATION] * 2},
        ),
        (
            {"type": "text", "text": "", "citations": []},
            [{"type": "citations_delta", "citation": CITATION}],
            {"type": "text", "text": "", "citations": [CITATION]},
        ),
        (
            {"type": "thinking", "thinking": "", "signature": ""},
            [
                {"type": "thinking_delta", "thinking": "so "},
                {"type": "thinking_delta", "thinking": "be it"},
                {"type": "signature_delta", "signature": "EqQB"},
            ],
            {"type": "thinking", "thinking": "so be it", "signature": "EqQB"},
        ),
        *(
            (
                {"type": kind, "id": "t", "name": "Bash", "input": {}},
                [
                    {"type": "input_json_delta", "partial_json": ""},
                    {"type": "input_json_delta", "partial_json": '{"a": [1.50, "\\u00e'},
                    {"type": "input_json_delta", "partial_json": '9"]}'},
                ],
                {"type": kind, "id": "t", "name": "Bash", "input": {"a": [1.5, "é"]}},
            )
            for kind in ("tool_use", "server_tool_use", "mcp_tool_use")
        ),
        (
            {"type": "tool_use", "id": "t", "name": "Bash", "input": {}},
            [{"type": "input_json_delta", "partial_json": ""}],
            {"type": "tool_use", "id": "t", "name": "Bash", "input": {}},
        ),
        *(
            (whole, [], whole)
            for whole in (
                {"type": "redacted_thinking", "data": "EmwK"},
                {"type": "container_upload", "file_id": "f"},
                {"type": "web_search_tool_result", "tool_use_id": "t", "content": [{"a": None}]},
                {"type": "something_new_tool_result", "content": {}},
            )
        ),
        (
            {"type": "compaction", "content": None},
            [{"type": "compaction_delta", "content": "short", "encrypted_content": "x"}],
            {"type": "compaction", "content": "short", "encrypted_content": "x"},
        ),
        (
            {"type": "compaction", "content": None},
            [{"type": "compaction_delta", "content": None}],
            {"type": "compaction", "content": None},
        ),
    ],
    ids=str,
)
def test_rebuilds_every_kind_of_block(start: Any, deltas: list[Any], wanted: Any) -> None:
    data = stream(START, *text_block(0), PING, *block(1, start, *deltas), DELTA, STOP)
    message = told(data)
    assert message["content"] == [{"type": "text", "text": "hi"}, wanted]


def test_the_message_has_what_the_events_tell_last() -> None:
    last: dict[str, Any] = {
        "type": "message_delta",
        "delta": {
            "stop_reason": "tool_use",
            "stop_sequence": None,
            "container": None,
            "future": {"x": 1},
        },
        "usage": {
            "output_tokens": 30,
            "cache_read_input_tokens": None,
            "server_tool_use": {"w": 1},
        },
        "context_management": {"applied_edits": []},
        "other": None,
    }
    start = {**START, "message": {**MESSAGE, "stop_sequence": "x", "container": {"id": "c"}}}
    assert told(stream(PING, start, *text_block(0), DELTA, last, STOP, PING)) == {
        **MESSAGE,
        "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "container": {"id": "c"},
        "future": {"x": 1},
        "context_management": {"applied_edits": []},
        "usage": {**USAGE, "output_tokens": 30, "server_tool_use": {"w": 1}},
    }


def test_members_keep_their_order_and_texts_their_characters() -> None:
    rebuilt = rebuild_message(stream(START, *text_block(0), DELTA, STOP))
    assert rebuilt is not None
    assert list(json.loads(rebuilt)) == list(MESSAGE)
    assert rebuilt.isascii()


def test_reads_what_is_compressed() -> None:
    assert told(gzip.compress(TYPICAL), "gzip") == told(TYPICAL)
    assert told(TYPICAL) is not None
    assert told(TYPICAL, "gzip") is None
    assert told(gzip.compress(TYPICAL)[:-20], "gzip") is None
    assert told(TYPICAL, "compress") is None


def test_a_large_block_is_not_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "x" * 2_000_000
    data = stream(START, *block(0, {"type": "text", "text": text}), DELTA, STOP)
    assert told(data)["content"][0]["text"] == text
    monkeypatch.setattr(module, "MAX_BYTES", len(data) - 1)
    assert told(data) is None


BLOCK = text_block(0)
BAD: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "no start": [*BLOCK, DELTA, STOP],
    "two starts": [START, START, *BLOCK, DELTA, STOP],
    "no stop": [START, *BLOCK, DELTA],
    "two stops": [START, *BLOCK, DELTA, STOP, STOP],
    "something behind the stop": [START, *BLOCK, DELTA, STOP, DELTA],
    "an error": [START, *BLOCK, {"type": "error", "error": {"type": "api_error"}}, DELTA, STOP],
    "an event of no known type": [START, *BLOCK, {"type": "message_mood"}, DELTA, STOP],
    "a type that is no name": [START, *BLOCK, {"type": ["x"]}, DELTA, STOP],
    "content at the start": [{**START, "message": {**MESSAGE, "content": [{}]}}, DELTA, STOP],
    "no content at the start": [{**START, "message": {"usage": {}}}, DELTA, STOP],
    "an empty message": [{**START, "message": {}}, DELTA, STOP],
    "a message that is none": [{**START, "message": []}, DELTA, STOP],
    "usage that is none": [{**START, "message": {**MESSAGE, "usage": 3}}, *BLOCK, DELTA, STOP],
    "a block that does not stop": [START, *BLOCK[:2], DELTA, STOP],
    "a stop without a block": [START, BLOCK[2], DELTA, STOP],
    "a delta without a block": [START, BLOCK[1], DELTA, STOP],
    "a block inside a block": [START, BLOCK[0], *BLOCK, DELTA, STOP],
    "a block of another number": [START, *text_block(1), DELTA, STOP],
    "a block twice": [START, *BLOCK, *BLOCK, DELTA, STOP],
    "a delta of another number": [START, BLOCK[0], {**BLOCK[1], "index": 1}, BLOCK[2], STOP],
    "no number": [START, {**BLOCK[0], "index": None}, *BLOCK[1:], STOP],
    "a block that is none": [START, *block(0, "text"), DELTA, STOP],
    "a block of no kind": [START, *block(0, {"text": ""}), DELTA, STOP],
    "a block of no known kind": [START, *block(0, {"type": "fallback"}), DELTA, STOP],
    "a delta that is none": [START, *block(0, {"type": "text", "text": ""}, "x"), STOP],
    "content in message_delta": [START, *BLOCK, {**DELTA, "delta": {"content": []}}, STOP],
    "another id in message_delta": [START, *BLOCK, {**DELTA, "id": "msg_2"}, STOP],
    "a delta of the message that is none": [START, *BLOCK, {**DELTA, "delta": None}, STOP],
    "usage of message_delta that is none": [START, *BLOCK, {**DELTA, "usage": []}, STOP],
}


@pytest.mark.parametrize("events", BAD.values(), ids=BAD)
def test_what_is_not_clear_gives_no_message(events: list[dict[str, Any]]) -> None:
    assert told(stream(*events)) is None


@pytest.mark.parametrize(
    ("start", "delta"),
    [
        ({"type": "text", "text": ""}, {"type": "text_delta"}),
        ({"type": "text", "text": ""}, {"type": "text_delta", "text": 1}),
        ({"type": "text", "text": ""}, {"type": "mood_delta", "text": "x"}),
        ({"type": "text", "text": ""}, {"text": "x"}),
        ({"type": "text", "text": ""}, {"type": "thinking_delta", "thinking": "x"}),
        ({"type": "text", "text": ""}, {"type": "input_json_delta", "partial_json": "{}"}),
        ({"type": "text", "text": ""}, {"type": "citations_delta", "citation": None}),
        (
            {"type": "text", "text": "", "citations": "x"},
            {"type": "citations_delta", "citation": CITATION},
        ),
        ({"type": "text"}, {"type": "text_delta", "text": "x"}),
        ({"type": "thinking", "thinking": ""}, {"type": "signature_delta", "signature": None}),
        ({"type": "tool_use", "input": {}}, {"type": "text_delta", "text": "x"}),
        ({"type": "tool_use", "input": {}}, {"type": "input_json_delta", "partial_json": "{"}),
        ({"type": "tool_use", "input": {}}, {"type": "input_json_delta", "partial_json": "[]"}),
        (
            {"type": "tool_use", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"a":Infinity}'},
        ),
        (
            {"type": "tool_use", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"a":1e999}'},
        ),
        (
            {"type": "tool_use", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"a":' + "[" * 100_000},
        ),
        (
            {"type": "tool_use", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"a":' + "9" * 5000 + "}"},
        ),
        ({"type": "x_tool_result", "content": []}, {"type": "text_delta", "text": "x"}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_delta_that_does_not_fit_gives_no_message(start: Any, delta: Any) -> None:
    assert told(stream(START, *block(0, start, delta), DELTA, STOP)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"data: {\n\n",
        b"data: []\n\n",
        b"event: message_start\ndata: \xff\xfe\n\n",
        b"data: " + b'{"a":' * 50_000 + b"\n\n",
    ],
    ids=lambda data: data[:20].decode("latin-1"),
)
def test_what_is_no_stream_gives_no_message(data: bytes) -> None:
    assert told(data) is None


def test_random_damage_never_raises() -> None:
    data = stream(
        START,
        *text_block(0),
        *block(
            1,
            {"type": "tool_use", "id": "t", "name": "Bash", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"a": 1}'},
        ),
        DELTA,
        STOP,
    )
    events = data.split(b"\n\n")
    for seed in range(2000):
        rng = random.Random(seed)
        damaged = list(events)
        for _ in range(rng.randrange(1, 4)):
            position = rng.randrange(len(damaged))
            if rng.random() < 0.3:
                rng.shuffle(damaged)
            elif rng.random() < 0.3:
                del damaged[position]
                damaged = damaged or [b""]
            else:
                piece = bytearray(damaged[position] or b"x")
                piece[rng.randrange(len(piece))] = rng.randrange(256)
                damaged[position] = bytes(piece)
        rebuilt = rebuild_message(b"\n\n".join(damaged))
        assert rebuilt is None or isinstance(json.loads(rebuilt)["content"], list)
