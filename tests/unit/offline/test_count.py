# SPDX-License-Identifier: Apache-2.0
"""Counting: the stated rule, piece by piece."""

from typing import Any

import pytest

from cco.offline.count import PrefixMemory, Usage, output_tokens, tokens, total_tokens

MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}


def make_text(size: int, letter: str = "x", **members: Any) -> dict[str, Any]:
    """Return a text block whose compact JSON has so many bytes."""
    empty = len('{"text":"","type":"text"}')
    return {"type": "text", "text": letter * (size - empty), **members}


def make_request(*blocks: dict[str, Any], **members: Any) -> dict[str, Any]:
    request: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": [*blocks]}]}
    return request | members


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (1, 1), (4, 1), (5, 2), (400, 100)])
def test_four_bytes_are_a_token_begun_ones_included(size: int, expected: int) -> None:
    assert expected == tokens(size)


def test_without_marks_all_is_input() -> None:
    usage = PrefixMemory().count(make_request(make_text(40), make_text(60)))

    assert Usage(input=25) == usage


def test_a_marked_prefix_is_written_first_and_read_then() -> None:
    memory = PrefixMemory()
    request = make_request(make_text(40, cache_control=MARK), make_text(60))

    first, second = memory.count(request), memory.count(request)

    assert Usage(cache_write_5m=10, input=15) == first
    assert Usage(cache_read=10, input=15) == second


def test_a_longer_prefix_reads_the_shorter_one_wherever_the_mark_stood() -> None:
    memory = PrefixMemory()
    memory.count(make_request(make_text(40, cache_control=MARK)))

    # The mark has moved on, as it does with every turn of a conversation.
    grown = make_request(make_text(40), make_text(60, cache_control=MARK))

    assert Usage(cache_read=10, cache_write_5m=15) == memory.count(grown)


def test_an_hour_is_written_up_to_its_last_mark() -> None:
    request = make_request(
        make_text(40, cache_control=HOUR), make_text(60, cache_control=MARK), make_text(8 * 4)
    )

    assert Usage(cache_write_1h=10, cache_write_5m=15, input=8) == PrefixMemory().count(request)


@pytest.mark.parametrize(
    "other",
    [
        # Another model has another cache.
        make_request(make_text(40, cache_control=MARK), model="other"),
        # A prefix that differs in one byte is another prefix.
        make_request(make_text(40, "y", cache_control=MARK)),
        # The same text in another place is another prefix.
        make_request(make_text(40), system=[make_text(40, cache_control=MARK)]),
        {"model": "m", "messages": [{"role": "assistant", "content": [make_text(40)]}]},
    ],
)
def test_nothing_is_read_of_another_prefix(other: dict[str, Any]) -> None:
    memory = PrefixMemory()
    memory.count(make_request(make_text(40, cache_control=MARK)))

    assert memory.count(other).cache_read == 0


def test_a_mark_after_the_known_prefix_is_needed_to_read_it() -> None:
    memory = PrefixMemory()
    memory.count(make_request(make_text(40, cache_control=MARK)))

    assert Usage(input=10) == memory.count(make_request(make_text(40)))


def test_a_string_counts_like_one_text_block() -> None:
    text = {"type": "text", "text": "Grüße"}
    as_string = {"messages": [{"role": "user", "content": "Grüße"}], "system": "Grüße"}
    as_blocks = {"messages": [{"role": "user", "content": [text]}], "system": [text]}

    assert total_tokens(as_blocks) == total_tokens(as_string)


def test_a_mark_inside_a_tool_result_counts() -> None:
    result = {"type": "tool_result", "content": [make_text(40, cache_control=MARK)]}

    assert PrefixMemory().count(make_request(result)).cache_write_5m > 0


def test_the_parts_add_up_whatever_the_sizes() -> None:
    memory = PrefixMemory()
    for size in range(30, 47):
        request = make_request(
            make_text(size, cache_control=HOUR),
            make_text(size + 3, cache_control=MARK),
            make_text(size + 1),
            tools=[{"name": "t" * size}],
        )
        usage = memory.count(request)
        parts = usage.input + usage.cache_read + usage.cache_write_5m + usage.cache_write_1h
        assert total_tokens(request) == parts


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"messages": None, "system": 7, "tools": "t"},
        {"messages": ["text", 7, None, {"role": 3, "content": {"type": "x"}}]},
        {"messages": [{"role": "user", "content": [None, [], "\ud800", 10**40, 1e300]}]},
        {"messages": [{"content": [{"cache_control": 3, "content": "x"}]}], "model": ["m"]},
    ],
)
def test_odd_shapes_are_counted_too(odd: dict[str, Any]) -> None:
    assert total_tokens(odd) == PrefixMemory().count(odd).input


def test_output_counts_text_and_calls_within_the_limit() -> None:
    text = {"type": "text", "text": "x" * 41}
    call = {"type": "tool_use", "id": "i", "name": "n", "input": {}}

    assert output_tokens([text], limit=1000) == 11
    assert output_tokens([text, call], limit=1000) > 11
    assert output_tokens([text], limit=3) == 3
    assert output_tokens([], limit=3) == 1


def test_usage_is_spelled_as_the_api_does() -> None:
    usage = Usage(input=1, cache_read=2, cache_write_5m=3, cache_write_1h=4, output=5)

    assert usage.document() == {
        "input_tokens": 1,
        "cache_creation_input_tokens": 7,
        "cache_read_input_tokens": 2,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
        "output_tokens": 5,
        "service_tier": "standard",
    }
    searched = (usage + Usage(web_searches=2)).document()
    assert searched["server_tool_use"] == {"web_search_requests": 2}
