# SPDX-License-Identifier: Apache-2.0
"""Reading reported usage: tolerant, and honest about what it passed over."""

from dataclasses import fields
from typing import Any

import pytest

from cco.ledger.usage import MAX_COUNT, Usage

FULL = {
    "input_tokens": 12,
    "output_tokens": 34,
    "cache_read_input_tokens": 5,
    "cache_creation_input_tokens": 110,
    "cache_creation": {"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 60},
    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 9},
    "service_tier": "standard",
    "speed": "fast",
    "inference_geo": "us",
}


def test_full_usage_is_read_and_sums_up() -> None:
    usage = Usage.from_mapping(FULL)

    assert usage == Usage(
        input=12,
        output=34,
        cache_read=5,
        cache_write_5m=50,  # 40, and the 10 that the breakdown does not explain
        cache_write_1h=60,
        web_searches=2,
        service_tier="standard",
        speed="fast",
    )
    assert (usage.cache_write, usage.input_side, usage.total) == (110, 127, 161)


@pytest.mark.parametrize(
    "reported",
    [
        {},
        dict.fromkeys(FULL),  # every member null: not reported, no flaw
        {"cache_creation": {}, "server_tool_use": {}},
        {"cache_creation": {"ephemeral_5m_input_tokens": None}},
    ],
)
def test_absent_and_null_members_are_zero_without_flaw(reported: dict[str, Any]) -> None:
    assert Usage.from_mapping(reported) == Usage()


@pytest.mark.parametrize("reported", [None, "usage", 7, [FULL], True])
def test_anything_but_an_object_is_flawed(reported: object) -> None:
    assert Usage.from_mapping(reported) == Usage(flawed=True)


@pytest.mark.parametrize("value", [-1, "12", True, 1.5, float("nan"), float("inf"), [1], {}])
@pytest.mark.parametrize(
    ("section", "key"),
    [
        (None, "input_tokens"),
        (None, "output_tokens"),
        (None, "cache_read_input_tokens"),
        (None, "cache_creation_input_tokens"),
        ("cache_creation", "ephemeral_5m_input_tokens"),
        ("cache_creation", "ephemeral_1h_input_tokens"),
        ("server_tool_use", "web_search_requests"),
    ],
)
def test_unusable_count_is_zero_and_flawed(section: str | None, key: str, value: object) -> None:
    reported = {section: {key: value}} if section else {key: value}

    assert Usage.from_mapping(reported) == Usage(flawed=True)


def test_count_beyond_reason_is_zero_and_flawed() -> None:
    assert Usage.from_mapping({"input_tokens": MAX_COUNT}) == Usage(input=MAX_COUNT)
    assert Usage.from_mapping({"input_tokens": MAX_COUNT + 1}) == Usage(flawed=True)


@pytest.mark.parametrize("key", ["service_tier", "speed"])
@pytest.mark.parametrize("value", [1, ["fast"], "x" * 65])
def test_unusable_label_is_empty_and_flawed(key: str, value: object) -> None:
    assert Usage.from_mapping({key: value}) == Usage(flawed=True)


@pytest.mark.parametrize("key", ["cache_creation", "server_tool_use"])
def test_section_of_another_type_is_flawed(key: str) -> None:
    assert Usage.from_mapping({"input_tokens": 3, key: 7}) == Usage(input=3, flawed=True)


def test_breakdown_above_its_sum_stands_but_is_flawed() -> None:
    usage = Usage.from_mapping(
        {
            "cache_creation_input_tokens": 10,
            "cache_creation": {"ephemeral_5m_input_tokens": 8, "ephemeral_1h_input_tokens": 7},
        }
    )

    assert usage == Usage(cache_write_5m=8, cache_write_1h=7, flawed=True)


# message_start, message_delta, what stands in the end
MERGES = [
    # the usual: the delta brings the output, and repeats the rest
    ({"input_tokens": 9, "output_tokens": 1}, {"output_tokens": 50}, Usage(input=9, output=50)),
    # zero overwrites nothing
    ({"input_tokens": 9, "output_tokens": 4}, {"input_tokens": 0}, Usage(input=9, output=4)),
    # the later figure stands
    (
        {"input_tokens": 9, "cache_read_input_tokens": 3},
        {"input_tokens": 11, "cache_read_input_tokens": 4},
        Usage(input=11, cache_read=4),
    ),
    # a scalar repeated in the delta must not be added to the split of the start
    (
        {
            "cache_creation_input_tokens": 100,
            "cache_creation": {"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 60},
        },
        {"cache_creation_input_tokens": 100},
        Usage(cache_write_5m=40, cache_write_1h=60),
    ),
    # it grew: the rest is five minutes
    (
        {"cache_creation": {"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 60}},
        {"cache_creation_input_tokens": 150},
        Usage(cache_write_5m=90, cache_write_1h=60),
    ),
    # it shrank below the hour's share: the sum is what was said last
    (
        {"cache_creation": {"ephemeral_1h_input_tokens": 60}},
        {"cache_creation_input_tokens": 50},
        Usage(cache_write_1h=50),
    ),
    # the delta splits the sum itself
    (
        {"cache_creation_input_tokens": 100},
        {"cache_creation": {"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 60}},
        Usage(cache_write_5m=40, cache_write_1h=60),
    ),
    # searches and labels
    (
        {"service_tier": "standard", "speed": "fast"},
        {"server_tool_use": {"web_search_requests": 3}, "service_tier": "batch"},
        Usage(web_searches=3, service_tier="batch", speed="fast"),
    ),
    # a flaw is not forgotten
    ({"input_tokens": -1}, {"output_tokens": 2}, Usage(output=2, flawed=True)),
    ({"input_tokens": 1}, {"output_tokens": "2"}, Usage(input=1, flawed=True)),
]


@pytest.mark.parametrize(("start", "delta", "expected"), MERGES)
def test_delta_is_merged_as_the_client_does(
    start: dict[str, Any], delta: dict[str, Any], expected: Usage
) -> None:
    assert Usage.from_mapping(start).merged(Usage.from_mapping(delta)) == expected


def test_empty_delta_changes_nothing() -> None:
    usage = Usage.from_mapping(FULL)

    assert usage.merged(Usage()) == usage
    assert Usage().merged(usage) == usage


def test_every_field_takes_part_in_the_merge() -> None:
    """A field added later must not be forgotten in ``merged``."""
    other = Usage(**{f.name: type(getattr(Usage(), f.name))(1) for f in fields(Usage)})

    assert Usage().merged(other) == other
