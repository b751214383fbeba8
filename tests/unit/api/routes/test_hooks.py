# SPDX-License-Identifier: Apache-2.0
"""Hooks over HTTP: they never decide, and never fail on what Claude Code sends."""

import json
from typing import Any

import pytest

from tests.unit.api.house import House, error_of

START = {"session_id": "s", "agent_id": "a", "agent_type": "cco:chief-architect"}


def test_no_decision_is_an_empty_answer(shared_house: House) -> None:
    answer = shared_house.ask("POST", "/api/hooks/Stop", {"session_id": "s"})

    assert (answer.status_code, answer.data) == (204, b"")


def test_subagent_that_starts_is_known_by_its_name(house: House) -> None:
    house.ask("POST", "/api/hooks/SubagentStart", START, by_tcp=True)

    assert house.services.runs.name("s", "a") == "Chief Architect"


@pytest.mark.parametrize("event", ["PreCompact", "UserPromptSubmit", "NoSuchEvent", "x" * 1000])
@pytest.mark.parametrize(
    "given",
    [{}, {"session_id": 1}, {"session_id": None, "agent_id": []}, {"agent_type": ""}, START],
)
def test_whatever_comes_is_borne(event: str, given: dict[str, Any], shared_house: House) -> None:
    assert shared_house.ask("POST", f"/api/hooks/{event}", given).status_code == 204


def test_what_is_no_json_is_refused(shared_house: House) -> None:
    assert error_of(shared_house.ask("POST", "/api/hooks/Stop", data=b"{")) == (400, "bad-json")


def test_every_hook_that_is_rendered_is_served(shared_house: House) -> None:
    rendered = json.loads(shared_house.services.published.read("plugin/hooks/hooks.json").data)
    for event, groups in rendered["hooks"].items():
        for group in groups:
            for hook in group["hooks"]:
                if hook["type"] == "http":
                    path = hook["url"].removeprefix("http://127.0.0.1:3000")
                    assert path == f"/api/hooks/{event}"
                    assert shared_house.ask("POST", path, {}).status_code == 204
