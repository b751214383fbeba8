# SPDX-License-Identifier: Apache-2.0
"""The figures of the status line, from the ledger."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rawserver import always, reply, serving
from tests.unit.api.house import House, open_house

ANSWER = {
    "type": "message",
    "model": "claude-opus-4-8",
    "content": [],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1000, "output_tokens": 100, "cache_read_input_tokens": 3000},
}
COST_USD = (1000 * 5 + 100 * 25 + 3000 * 0.5) / 1e6
BUDGETS = """\
[[budget]]
scope = "day"
usd = 1.0
[[budget]]
scope = "project"
project = "/p"
usd = 0.02
[[budget]]
scope = "project"
project = "/q"
usd = 0.001
"""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with serving(always(reply(body=json.dumps(ANSWER).encode()))) as server:
        settings = f'[[upstream]]\nbase_url = "{server.url}"\n{BUDGETS}'
        with open_house(tmp_path, monkeypatch, settings=settings) as found:
            yield found


def converse(house: House, client_session: str, *, project: str = "/p") -> str:
    """Have a conversation; return the token of its launch."""
    launch, token = house.register(project=project)
    body = {"model": "claude-opus-4-8", "max_tokens": 9, "messages": []}
    headers = {"x-api-key": "k", "x-claude-code-session-id": client_session}
    answer = house.ask("POST", f"/s/{launch}/v1/messages", body, headers=headers)
    assert answer.status_code == 200
    assert answer.data
    return token


def told(house: House, session: str = "", *, token: str = "") -> Any:
    headers = {"x-cco-session": token} if token else {}
    return house.ask("GET", f"/api/statusline?session={session}", headers=headers).get_json()


def test_nothing_was_spent(house: House) -> None:
    nothing = {"costUsd": 0, "promptCacheHitRate": None}
    found = told(house, "new")
    assert (found["session"], found["today"]) == (nothing, nothing)
    assert found["budget"] == {"scope": "day", "action": "block", "limitUsd": 1.0, "spentUsd": 0}


def test_session_and_today_are_told_apart(house: House) -> None:
    converse(house, "one")
    converse(house, "two")
    found = told(house, "one")

    assert found["session"] == {"costUsd": COST_USD, "promptCacheHitRate": 0.75}
    assert found["today"]["costUsd"] == pytest.approx(2 * COST_USD, abs=1e-12)
    assert told(house)["session"] is None


def test_budget_is_the_one_of_this_launch_that_is_used_up_most(house: House) -> None:
    token = converse(house, "one")
    elsewhere = converse(house, "two", project="/r")

    found = told(house, "one", token=token)["budget"]
    assert (found["scope"], found["limitUsd"], found["spentUsd"]) == ("project", 0.02, COST_USD)
    assert told(house, "two", token=elsewhere)["budget"]["scope"] == "day"
    assert told(house)["budget"]["scope"] == "day"
