# SPDX-License-Identifier: Apache-2.0
"""Each pair ``tests/data/sse/NNN.sse`` and ``.json`` is a stream and what must come of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from cco.gateway.sse import MAX_EVENT_BYTES, Decoder, Event
from tests.capabilities import ROOT

CASES = sorted((ROOT / "tests/data/sse").glob("*.sse"))


def decode(*pieces: bytes) -> list[Event]:
    decoder = Decoder()
    return [event for piece in pieces for event in decoder.feed(piece)]


def expected(case: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(case.with_suffix(".json").read_text())
    return told


def test_there_are_cases() -> None:
    assert len(CASES) >= 15


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_decodes_the_stream(case: Path) -> None:
    told = expected(case)
    events = decode(case.read_bytes())

    assert told["events"] == [event.name for event in events]
    if "data" in told:
        assert told["data"] == [event.data for event in events]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_decodes_the_same_wherever_it_is_split(case: Path) -> None:
    data = case.read_bytes()
    whole = decode(data)

    assert whole == decode(*(data[i : i + 1] for i in range(len(data))))
    for position in range(len(data) + 1):
        assert whole == decode(data[:position], data[position:]), position
        assert whole == decode(data[:position], b"", data[position:]), position


@pytest.mark.parametrize(
    ("field", "size", "is_kept"),
    [
        # just within the bound
        (b"data: ", MAX_EVENT_BYTES - 6, True),
        # a line beyond it
        (b"data: ", MAX_EVENT_BYTES, False),
        # a comment beyond it spoils its event too, however it is split
        (b": ", MAX_EVENT_BYTES, False),
    ],
)
@pytest.mark.parametrize("step", [2**30, 700_001, 4096])
def test_drops_an_event_that_is_too_large_and_goes_on(
    field: bytes, size: int, is_kept: bool, step: int
) -> None:
    data = field + b"x" * size + b"\ndata: tail\n\ndata: next\n\n"
    pieces = [data[i : i + step] for i in range(0, len(data), step)]
    decoder = Decoder()

    events = [event for piece in pieces for event in decoder.feed(piece)]

    assert [event.data[-4:] for event in events] == (["tail", "next"] if is_kept else ["next"])


def test_drops_an_event_whose_lines_together_are_too_large() -> None:
    line = b"data: " + b"x" * 1000 + b"\n"
    count = MAX_EVENT_BYTES // 1000 + 1
    assert decode(line * count + b"\n", b"data: next\n\n") == [Event("message", "next")]


def test_holds_no_more_than_the_bound() -> None:
    decoder = Decoder()
    for _ in range(40):
        decoder.feed(b"x" * 100_000)
    assert sum(map(len, decoder._line)) <= MAX_EVENT_BYTES


def test_the_bound_can_be_set() -> None:
    decoder = Decoder(max_event_bytes=10)
    events = decoder.feed(b"data: 12345\n\ndata: 1234\n\n")
    assert [event.data for event in events] == ["1234"]
    decoder = Decoder(max_event_bytes=2 * MAX_EVENT_BYTES)
    (event,) = decoder.feed(b"data: " + b"x" * MAX_EVENT_BYTES + b"\n\n")
    assert len(event.data) == MAX_EVENT_BYTES
