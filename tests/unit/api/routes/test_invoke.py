# SPDX-License-Identifier: Apache-2.0
"""Invoking an agent over HTTP."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rawserver import RawServer, always, reply, serving
from tests.unit.api.house import House, error_of, open_house

ANSWER = {
    "type": "message",
    "model": "claude-opus-4-8",
    "content": [{"type": "text", "text": "Do it so."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1000, "output_tokens": 100},
}
KEY = {"x-api-key": "k"}


@pytest.fixture
def upstream() -> Iterator[RawServer]:
    with serving(always(reply(body=json.dumps(ANSWER).encode()))) as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: RawServer) -> Iterator[House]:
    settings = f'[[upstream]]\nbase_url = "{upstream.url}"\n[models]\nopus = "claude-opus-4-8"\n'
    with open_house(tmp_path, monkeypatch, settings=settings) as found:
        yield found


def asked(**changes: Any) -> dict[str, Any]:
    return {"agent": "chief-architect", "task": "Design it", **changes}


def sent(upstream: RawServer) -> dict[str, Any]:
    (received,) = upstream.received
    body: dict[str, Any] = json.loads(received.body)
    return body


def test_answer_has_the_documented_members(house: House) -> None:
    answer = house.ask("POST", "/api/agent/invoke", asked(), headers=KEY, by_tcp=True)

    told = answer.get_json()
    assert answer.status_code == 200
    assert told.pop("latencyMs") > 0
    assert told.pop("requestId").startswith("cco_")
    assert told == {
        "agent": "Chief Architect",
        "model": "claude-opus-4-8",
        "response": "Do it so.",
        "stopReason": "end_turn",
        "cached": False,
        "usage": {
            "input": 1000,
            "output": 100,
            "cacheRead": 0,
            "cacheWrite5m": 0,
            "cacheWrite1h": 0,
            "total": 1100,
        },
        "costUsd": 0.0075,
    }


@pytest.mark.parametrize(
    ("context", "content"),
    [
        ("some text", "<context>\nsome text\n</context>\n\nDesign it"),
        ({"a": "ü"}, '<context>\n{\n "a": "\\u00fc"\n}\n</context>\n\nDesign it'),
        ("", "Design it"),
    ],
)
def test_context_comes_before_the_task(
    context: object, content: str, house: House, upstream: RawServer
) -> None:
    house.ask("POST", "/api/agent/invoke", asked(context=context), headers=KEY)

    assert sent(upstream)["messages"] == [{"role": "user", "content": content}]


def test_limit_of_the_answer_may_be_given(house: House, upstream: RawServer) -> None:
    house.ask("POST", "/api/agent/invoke", asked(maxTokens=7), headers=KEY)

    assert sent(upstream)["max_tokens"] == 7


def test_cost_is_the_sessions(house: House) -> None:
    session, token = house.register(project="/p")
    house.ask("POST", "/api/agent/invoke", asked(), headers={**KEY, "x-cco-session": token})

    told = house.ask("GET", "/api/project/stats?project=/p").get_json()
    assert [(one["agent"], one["costUsd"]) for one in told["byAgent"]] == [
        ("Chief Architect", 0.0075)
    ]
    assert session


@pytest.mark.parametrize(
    ("changes", "headers", "status", "code"),
    [
        ({"agent": None}, KEY, 400, "missing-member"),
        ({"agent": 1}, KEY, 400, "bad-member"),
        ({"agent": "nobody"}, KEY, 404, "unknown-agent"),
        ({"task": None}, KEY, 400, "missing-member"),
        ({"task": ["x"]}, KEY, 400, "bad-member"),
        ({"task": ""}, KEY, 400, "empty-task"),
        ({"task": " \n"}, KEY, 400, "empty-task"),
        ({"task": "x" * 400_001}, KEY, 400, "task-too-large"),
        ({"task": "half \ud83d"}, KEY, 400, "bad-member"),
        ({"context": 1}, KEY, 400, "bad-member"),
        ({"context": ["x"]}, KEY, 400, "bad-member"),
        ({"context": "half \ud83d"}, KEY, 400, "bad-member"),
        ({"maxTokens": "7"}, KEY, 400, "bad-member"),
        ({}, {}, 400, "no-credential"),
        # a login is passed through on /v1/ and used for nothing else
        ({}, {"authorization": "Bearer x"}, 400, "no-credential"),
    ],
)
def test_refusals(
    changes: dict[str, Any],
    headers: dict[str, str],
    status: int,
    code: str,
    house: House,
    upstream: RawServer,
) -> None:
    answer = house.ask("POST", "/api/agent/invoke", asked(**changes), headers=headers)

    assert error_of(answer) == (status, code)
    assert upstream.received == []
