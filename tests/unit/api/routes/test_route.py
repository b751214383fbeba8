# SPDX-License-Identifier: Apache-2.0
"""Which agents a task is for, over HTTP."""

from pathlib import Path

import pytest

from tests.unit.api.house import House, error_of, open_house
from tests.unit.catalog.samples import make_definition, write_tree


def test_agents_come_with_score_and_reason(shared_house: House) -> None:
    answer = shared_house.ask("POST", "/api/route", {"task": "Review my pull request"})

    told = answer.get_json()
    assert answer.status_code == 200
    assert set(told) == {"agents"}
    assert all(set(one) == {"name", "slug", "score", "reason"} for one in told["agents"])
    assert told["agents"][0]["slug"] == "code-reviewer"
    assert "review" in told["agents"][0]["reason"]
    scores = [one["score"] for one in told["agents"]]
    assert 1 >= scores[0] >= scores[-1] > 0


def test_agent_that_runs_is_passed_over_among_equals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins = {
        f".config/cco/agents/{slug}.md": make_definition(
            name=name, capabilities="[frobnication]", description="Use to frobnicate"
        )
        for slug, name in (("twin-one", "Twin One"), ("twin-two", "Twin Two"))
    }
    write_tree(tmp_path, twins)
    run = {"session_id": "s", "agent_id": "a", "agent_type": "cco:twin-one"}
    with open_house(tmp_path, monkeypatch) as house:

        def first() -> str:
            told = house.ask("POST", "/api/route", {"task": "frobnicate it"}).get_json()
            return str(told["agents"][0]["slug"])

        assert first() == "twin-one"
        house.ask("POST", "/api/hooks/SubagentStart", run)
        assert first() == "twin-two"
        house.ask("POST", "/api/hooks/SubagentStop", run)
        assert first() == "twin-one"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({}, "missing-member"),
        ({"task": 1}, "bad-member"),
        ({"task": " "}, "empty-task"),
        ({"task": "x" * 100_001}, "task-too-large"),
        ({"task": "\x00\x01"}, "task-binary"),
        ({"task": "\ud800"}, "bad-member"),
    ],
)
def test_what_is_no_task_is_refused(
    payload: dict[str, object], code: str, shared_house: House
) -> None:
    status, told = error_of(shared_house.ask("POST", "/api/route", payload))

    assert told == code
    assert status == 400
