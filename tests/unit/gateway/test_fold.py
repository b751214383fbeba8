# SPDX-License-Identifier: Apache-2.0
import gzip
import json
import random
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import brotli
import pytest
import zstandard

from cco.gateway import fold
from cco.gateway.fold import UsageFold, is_event_stream
from cco.ledger.usage import Usage
from tests.capabilities import ROOT

CASES = sorted((ROOT / "tests/data/sse").glob("*.sse"))
EVENTS = "text/event-stream; charset=utf-8"
JSON = "application/json"
ANSWER = {
    "type": "message",
    "model": "claude-opus-4-8",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 12, "output_tokens": 3},
}
TYPICAL = (ROOT / "tests/data/sse/001.sse").read_bytes()


def folded(*pieces: bytes, content_type: str = EVENTS, coding: str = "") -> UsageFold:
    made = UsageFold(content_type, coding)
    for piece in pieces:
        made.feed(piece)
    made.finish()
    return made


def told(made: UsageFold) -> dict[str, Any]:
    return {
        "usage": asdict(made.usage),
        "model": made.model,
        "stopReason": made.stop_reason,
        "complete": made.complete,
        "known": made.known,
        "error": made.error,
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_folds_a_stream_wherever_it_is_split(case: Path) -> None:
    data = case.read_bytes()
    wanted = json.loads(case.with_suffix(".json").read_text())["fold"]

    assert wanted == told(folded(data))
    assert wanted == told(folded(*(data[i : i + 1] for i in range(len(data)))))
    step = max(1, len(data) // 300)
    for position in range(0, len(data), step):
        assert wanted == told(folded(data[:position], data[position:])), position


def test_knows_the_end_as_soon_as_it_arrived() -> None:
    made = UsageFold(EVENTS)
    made.feed(TYPICAL[:-1])
    assert not made.complete
    made.feed(TYPICAL[-1:])
    assert made.complete


def test_folds_a_json_answer() -> None:
    data = json.dumps(ANSWER).encode()
    made = folded(data[:20], data[20:], content_type=JSON)
    assert told(made) == {
        "usage": asdict(Usage(input=12, output=3)),
        "model": "claude-opus-4-8",
        "stopReason": "end_turn",
        "complete": True,
        "known": True,
        "error": "",
    }


@pytest.mark.parametrize(
    ("body", "error"),
    [
        # the provider's own
        (b'{"type":"error","error":{"type":"api_error","message":"slow"}}', "api_error"),
        # a type that is no label
        (b'{"type":"error","error":{"type":"\\u0000 no"}}', "error"),
        (b'{"type":"error","error":[]}', "error"),
        # a page of somebody between
        (b"<html>502</html>", ""),
        (b"", ""),
    ],
)
def test_tells_the_type_of_an_error(body: bytes, error: str) -> None:
    made = folded(body, content_type=JSON)
    assert (made.error, made.known) == (error, False)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"7",
        b"{",
        b'{"model":7,"usage":[],"stop_reason":{}}',
        b"\xff" * 100,
        b"[" * 100_000,
        b'{"usage":' * 5000,
        b'{"usage":{"input_tokens":' + b"9" * 10_000 + b"}}",
    ],
)
def test_does_not_know_the_usage_of_a_json_body_that_has_none(body: bytes) -> None:
    assert not folded(body, content_type=JSON).known


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("", TYPICAL),
        ("gzip", gzip.compress(TYPICAL)),
        ("deflate", zlib.compress(TYPICAL)),
        ("br", brotli.compress(TYPICAL)),
        ("zstd", zstandard.compress(TYPICAL)),
    ],
)
def test_reads_what_is_packed_wherever_it_is_split(coding: str, data: bytes) -> None:
    wanted = told(folded(TYPICAL))
    assert wanted == told(folded(data, coding=coding))
    assert wanted == told(folded(*(data[i : i + 1] for i in range(len(data))), coding=coding))
    for position in range(len(data)):
        assert wanted == told(folded(data[:position], data[position:], coding=coding)), position


@pytest.mark.parametrize("coding", ["compress", "gzip, br", "nonsense"])
def test_a_coding_that_cannot_be_undone_is_not_known(coding: str) -> None:
    made = folded(TYPICAL, coding=coding)
    assert (made.is_readable, made.known, made.complete) == (False, False, False)


def test_packed_data_that_is_broken_ends_the_reading() -> None:
    packed = bytearray(gzip.compress(TYPICAL))
    packed[len(packed) // 2] ^= 0xFF
    assert not folded(bytes(packed), b"more", coding="gzip").complete
    made = folded(b"no gzip at all", TYPICAL, coding="gzip")
    assert (made.is_readable, made.known) == (False, False)


def test_packed_data_that_is_cut_is_no_whole_answer() -> None:
    made = folded(gzip.compress(TYPICAL)[:-30], coding="gzip")
    assert (made.is_readable, made.complete) == (True, False)


def test_a_json_body_that_is_too_large_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold, "MAX_JSON_BYTES", 100)
    made = UsageFold(JSON)
    made.feed(b" " * 101)
    made.feed(json.dumps(ANSWER).encode())
    made.finish()
    assert not made.known


def test_never_raises_whatever_arrives() -> None:
    chance = random.Random(7)
    seeds = [case.read_bytes() for case in CASES] + [json.dumps(ANSWER).encode()]
    for _ in range(1500):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(0, 12)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.3:
            data = bytearray(chance.randbytes(200))
        coding = chance.choice(["", "", "gzip", "deflate", "br", "zstd"])
        packed = gzip.compress(bytes(data)) if coding and chance.random() < 0.5 else bytes(data)
        cut = chance.randint(0, len(packed))
        kind = chance.choice([EVENTS, JSON, ""])
        made = folded(packed[:cut], packed[cut:], content_type=kind, coding=coding)
        assert min(v for v in asdict(made.usage).values() if isinstance(v, int)) >= 0


@pytest.mark.parametrize(
    ("content_type", "is_stream"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream ; charset=utf-8", True),
        ("application/json", False),
        ("text/event-stream-x", False),
        ("", False),
    ],
)
def test_is_event_stream(content_type: str, is_stream: bool) -> None:
    assert is_event_stream(content_type) is is_stream
