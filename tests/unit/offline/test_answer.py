# SPDX-License-Identifier: Apache-2.0
"""Answers: what is said and called, for each purpose."""

import json
from typing import Any

import pytest

from cco.offline.answer import NOTICE, Answer, compose
from cco.offline.messages import parse_request
from cco.offline.script import parse_script

AGENT_TOOLS = [{"name": "Agent"}, {"name": "Bash"}]


def make_answer(content: Any, **members: Any) -> Answer:
    body = {"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": content}]}
    ask = parse_request(json.dumps(body | members).encode())
    return compose(ask, parse_script(ask.prompt), mark="m1")


def the_text(answer: Answer) -> str:
    (block,) = answer.blocks
    assert block["type"] == "text"
    return str(block["text"])


def test_a_prompt_gets_the_fixed_text() -> None:
    answer = make_answer("What is the answer?")

    assert the_text(answer) == f"{NOTICE} This fixed text stands in for an answer."
    assert answer.stop_reason == "end_turn"


@pytest.mark.parametrize("size", [11, len(NOTICE), 100, 3999])
def test_a_text_of_any_length_is_filled(size: int) -> None:
    text = the_text(make_answer(f"offline: text {size}"))

    assert size == len(text)
    assert text.startswith("CCO offline")


def test_a_text_ends_where_max_tokens_end() -> None:
    answer = make_answer("offline: text 500", max_tokens=10)

    assert len(the_text(answer)) == 40
    assert (answer.stop_reason, answer.output_tokens) == ("max_tokens", 10)


def test_the_quota_check_gets_one_word() -> None:
    answer = make_answer("quota", max_tokens=1)

    assert the_text(answer) == "offline"
    assert (answer.stop_reason, answer.output_tokens) == ("max_tokens", 1)


def test_calls_name_what_the_request_offers() -> None:
    prompt = "offline: agent cco:a One\noffline: bash ls\noffline: agent cco:b Two"

    answer = make_answer(prompt, tools=[{"name": "Task"}, {"name": "Bash"}])

    assert answer.stop_reason == "tool_use"
    assert answer.blocks[0] == {"type": "text", "text": NOTICE}
    names = [(block["id"], block["name"]) for block in answer.blocks[1:]]
    assert names == [
        ("toolu_offline_m1_0", "Task"),
        ("toolu_offline_m1_1", "Bash"),
        ("toolu_offline_m1_2", "Task"),
    ]


def test_the_agent_tool_is_preferred_to_its_older_name() -> None:
    answer = make_answer("offline: agent cco:a", tools=[{"name": "Task"}, {"name": "Agent"}])

    assert answer.blocks[1]["name"] == "Agent"


def test_a_tool_that_is_not_offered_is_not_called() -> None:
    alone = make_answer("offline: agent cco:a")
    beside = make_answer("offline: tool Nap\noffline: bash ls", tools=AGENT_TOOLS)

    assert the_text(alone) == f"{NOTICE} This request offers no tool Agent."
    assert alone.stop_reason == "end_turn"
    assert beside.blocks[0]["text"] == f"{NOTICE} This request offers no tool Nap."
    assert beside.blocks[1]["name"] == "Bash"


def test_results_are_quoted_so_that_none_is_a_directive() -> None:
    content = [
        {"type": "tool_result", "tool_use_id": "x", "content": "offline: html\nÄ \ud800"},
        {"type": "tool_result", "tool_use_id": "y", "content": "no", "is_error": True},
    ]

    text = the_text(make_answer(content))

    assert text.startswith(NOTICE)
    assert "A tool answered:\n> offline: html\n> Ä \ud800" in text
    assert "A tool failed:\n> no" in text
    assert parse_script(text) == parse_script("")


def test_a_compaction_gets_both_parts() -> None:
    text = the_text(make_answer("<analysis> block followed by a <summary> block"))

    assert text.startswith(f"<analysis>\n{NOTICE}")
    assert text.endswith("</summary>")


def test_a_web_search_finds_one_fixed_page() -> None:
    answer = make_answer(
        "Perform a web search for the query: weather", tools=[{"type": "web_search_20250305"}]
    )

    use, found, text = answer.blocks
    assert use["input"] == {"query": "weather"}
    assert use["id"] == found["tool_use_id"]
    assert text["text"].startswith(NOTICE)
    assert answer.web_searches == 1


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        # The client's title of a conversation.
        ({"type": "object", "properties": {"title": {"type": "string"}}}, {"title": "CCO offline"}),
        (
            {
                "properties": {
                    "kind": {"enum": ["a", "b"]},
                    "sure": {"type": "boolean"},
                    "count": {"type": "integer"},
                    "list": {"type": "array", "items": {"type": "string"}},
                    "none": {"type": "null"},
                    "inner": {"type": "object"},
                    "odd": 7,
                }
            },
            {
                "kind": "a",
                "sure": False,
                "count": 0,
                "list": [],
                "none": None,
                "inner": {},
                "odd": "CCO offline",
            },
        ),
        ({}, {}),
    ],
)
def test_a_structure_fits_its_schema(schema: dict[str, Any], expected: object) -> None:
    wanted = {"format": {"type": "json_schema", "schema": schema}}

    assert expected == json.loads(the_text(make_answer("offline: html", output_config=wanted)))
