# SPDX-License-Identifier: Apache-2.0
"""Reading requests: the user's own words, results, purposes, and what is refused."""

import json
from typing import Any

import pytest

from cco.errors import RequestError
from cco.offline.messages import MAX_DEPTH, QUOTE_CHARS, Ask, Purpose, Result, parse_request

REMINDER = "<system-reminder>\noffline: status 500\n</system-reminder>"


def make_ask(*messages: dict[str, Any], **members: Any) -> Ask:
    body = {"model": "m", "max_tokens": 100, "messages": list(messages)} | members
    return parse_request(json.dumps(body).encode())


def user(*content: Any) -> dict[str, Any]:
    texts = [{"type": "text", "text": c} if isinstance(c, str) else c for c in content]
    return {"role": "user", "content": texts}


def result(text: object, **members: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "t1", "content": text} | members


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        # The plain cases: a string, a block.
        ([{"role": "user", "content": "hello"}], "hello"),
        ([user("hello")], "hello"),
        # Reminders are not the user's words, be they before, behind, inside or never closed.
        ([user(REMINDER, "hello", REMINDER)], "hello"),
        ([user(f"{REMINDER} hello {REMINDER}")], "hello"),
        ([user("hello <system-reminder>offline: status 500")], "hello"),
        # The last message can have the role "system", or hold reminders only.
        ([user("hello"), {"role": "system", "content": "agents"}], "hello"),
        ([user("hello"), user(REMINDER)], "hello"),
        # A prompt that failed is sent again before the next one, in the same message.
        ([user("offline: status 402", "hello")], "hello"),
        ([user("offline: status 402"), {"role": "assistant", "content": "x"}, user("b")], "b"),
        # Nothing of the kind.
        ([user()], ""),
        ([{"role": "assistant", "content": "x"}], ""),
        ([{"role": "user"}, {"role": "user", "content": 7}], ""),
        ([user({"type": "image"}, {"type": "text", "text": 7}, {"type": "novel"})], ""),
    ],
)
def test_the_prompt_is_the_last_own_text(messages: list[dict[str, Any]], expected: str) -> None:
    ask = make_ask(*messages)

    assert (expected, Purpose.PROMPT) == (ask.prompt, ask.purpose)


def test_results_are_named_after_their_calls() -> None:
    calls = [
        {"type": "tool_use", "id": "t1", "name": "Agent", "input": {"subagent_type": "cco:a"}},
        {"type": "tool_use", "id": "t2", "name": "Bash", "input": {"command": "x"}},
    ]
    ask = make_ask(
        user("offline: agent cco:a"),
        {"role": "assistant", "content": calls},
        user(
            result([{"type": "text", "text": "one"}, {"type": "image"}]),
            result("two", tool_use_id="t2", is_error=True),
            result(None, tool_use_id="t3"),
            REMINDER,
        ),
    )

    assert ask.purpose is Purpose.RESULTS
    assert ask.results == (
        Result("Agent cco:a", "one", failed=False),
        Result("Bash", "two", failed=True),
        Result("A tool", "", failed=False),
    )


def test_a_long_result_is_shortened() -> None:
    assert len(make_ask(user(result("x" * 9999))).results[0].text) == QUOTE_CHARS


@pytest.mark.parametrize(
    ("purpose", "members"),
    [
        # The client's quota check.
        (Purpose.SHORTEST, {"max_tokens": 1}),
        # The title of a conversation; its text holds the user's prompt.
        (
            Purpose.STRUCTURE,
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        ),
        (Purpose.STRUCTURE, {"output_config": {"format": {"type": "json_schema"}}}),
        (Purpose.PROMPT, {"output_config": {"effort": "high"}}),
        # The WebSearch tool's own request; beside other tools it is an ordinary one.
        (Purpose.SEARCH, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        (Purpose.PROMPT, {"tools": [{"type": "web_search_20250305"}, {"name": "Bash"}]}),
        (Purpose.PROMPT, {"tools": "none", "output_config": "none", "system": 7}),
    ],
)
def test_the_purpose_follows_from_the_shape(purpose: Purpose, members: dict[str, Any]) -> None:
    assert purpose is make_ask(user("offline: html"), **members).purpose


def test_a_compaction_is_told_by_its_text_even_after_results() -> None:
    wanted = "CRITICAL: an <analysis> block followed by a <summary> block"

    assert make_ask(user(result("x"), wanted)).purpose is Purpose.COMPACTION


def test_tool_names_are_those_offered() -> None:
    ask = make_ask(user("x"), tools=[{"name": "Agent"}, {"name": 7}, "odd", {}])

    assert ask.tool_names >= {"Agent"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"model": "m"}',
        b'{"model": 7, "messages": [{}], "max_tokens": 1}',
        b'{"model": "m", "messages": [], "max_tokens": 1}',
        b'{"model": "m", "messages": {}, "max_tokens": 1}',
        b'{"model": "m", "messages": [{}]}',
        b'{"model": "m", "messages": [{}], "max_tokens": 0}',
        b'{"model": "m", "messages": [{}], "max_tokens": true}',
        b'{"model": "m", "messages": [{}], "max_tokens": "1"}',
        b'{"model": "m", "messages": [1], "max_tokens": 1}',
        b'{"model": "m", "messages": [{}], "max_tokens": 1, "system": [1]}',
        b"[" * 100_000,
        b'{"model": ' + b"1" * 5000 + b"}",
    ],
)
def test_what_cannot_be_answered_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        parse_request(body)


def test_counting_wants_no_max_tokens() -> None:
    assert parse_request(b'{"model": "m", "messages": [{}]}', counting=True).model == "m"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_has_the_same_limit_on_every_python(opening: str, closing: str) -> None:
    def nested(levels: int) -> bytes:
        value = opening * levels + "1" + closing * levels
        return f'{{"model": "m", "messages": [{{"content": {value}}}]}}'.encode()

    around = 3  # the body, its messages and the one among them
    assert parse_request(nested(MAX_DEPTH - around), counting=True).model == "m"
    with pytest.raises(RequestError, match=f"more than {MAX_DEPTH} levels deep"):
        parse_request(nested(MAX_DEPTH - around + 1), counting=True)
