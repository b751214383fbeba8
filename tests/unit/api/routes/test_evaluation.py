# SPDX-License-Identifier: Apache-2.0
"""What agents are judged by, over HTTP."""

from pathlib import Path

import pytest

from cco.api.routes.evaluation import JUDGE
from tests.unit.api.house import House, error_of, open_house
from tests.unit.catalog.samples import make_definition, write_tree


def test_all_tasks_are_told_with_what_they_cost(shared_house: House) -> None:
    told = shared_house.ask("GET", "/api/evaluation").get_json()

    catalog = shared_house.services.catalog
    assert {task["agent"] for task in told["tasks"]} == catalog.slugs
    assert told["calls"] == 2 * len(catalog.agents)
    assert 0.1 < told["estimatedUsd"] < 100
    assert catalog.find(told["judge"]).tier == "sonnet"
    assert told["judge"] == JUDGE


def test_tasks_of_some_agents_are_told_once(shared_house: House) -> None:
    names = "agent=go-specialist&agent=Rust%20Specialist&agent=cco:go-specialist"
    told = shared_house.ask("GET", f"/api/evaluation?{names}").get_json()

    assert [task["agent"] for task in told["tasks"]] == ["go-specialist", "rust-specialist"]
    assert all(len(task["mustContain"]) == 3 for task in told["tasks"])
    assert told["calls"] == 4


@pytest.mark.parametrize(
    ("query", "expected"),
    [("?agent=nobody", (404, "unknown-agent")), ("?agents=x", (400, "unknown-parameter"))],
)
def test_what_is_not_there_is_told(
    query: str, expected: tuple[int, str], shared_house: House
) -> None:
    assert error_of(shared_house.ask("GET", f"/api/evaluation{query}")) == expected


def test_agent_of_the_users_has_no_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path, {".config/cco/agents/mine.md": make_definition(name="Mine")})
    with open_house(tmp_path, monkeypatch) as house:
        assert error_of(house.ask("GET", "/api/evaluation?agent=mine")) == (404, "no-evaluation")


def test_model_without_a_price_leaves_the_estimate_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_house(tmp_path, monkeypatch, settings='[models]\nhaiku = "unheard-of"') as house:
        told = house.ask("GET", "/api/evaluation").get_json()

    assert told["estimatedUsd"] is None
