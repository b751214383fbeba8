# SPDX-License-Identifier: Apache-2.0
"""Limits over HTTP: nothing that was never told, and budgets as the ledger has them."""

import time
from datetime import datetime
from pathlib import Path

import pytest

from cco.ledger.rows import RequestRow
from tests.unit.api.house import House, error_of, open_house

DEADLINE_S = 30
SETTINGS = '[[budget]]\nusd = 2.0\n[[budget]]\nscope = "project"\nproject = "/a"\naction = "warn"\n'


def test_without_any_there_are_none(shared_house: House) -> None:
    answer = shared_house.ask("GET", "/api/limits")
    assert answer.get_json() == {"plan": [], "budgets": []}
    again = shared_house.ask(
        "GET", "/api/limits", headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert again.status_code == 304


def test_plan_is_what_was_told_last(house: House) -> None:
    house.services.limits.note(
        [("x-api-key", "sk-ant-test-limits")],
        {"anthropic-ratelimit-unified-status": ["allowed"]},
        upstream="anthropic",
    )
    (told,) = house.ask("GET", "/api/limits").get_json()["plan"]
    assert told["values"] == {"unified-status": "allowed"}
    assert told["upstream"] == "anthropic"
    age_s = time.time() - datetime.fromisoformat(told["toldAt"]).timestamp()
    assert -1 < age_s < DEADLINE_S
    assert "ageSeconds" not in told  # it would make every answer a new one


def test_budget_is_told_with_what_is_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_house(tmp_path, monkeypatch, settings=SETTINGS) as house:
        row = RequestRow(
            request_id="r", started_ns=time.time_ns(), project="/a", cost_nano=1_250_000_000
        )
        house.services.store.record(row).result(DEADLINE_S)
        day, project = house.ask("GET", "/api/limits").get_json()["budgets"]
    assert day == {
        "scope": "day",
        "project": None,
        "key": datetime.now().astimezone().date().isoformat(),
        "action": "block",
        "limitUsd": 2.0,
        "spentUsd": 1.25,
        "reservedUsd": 0.0,
    }
    assert (project["project"], project["key"], project["action"]) == ("/a", "/a", "warn")


def test_unknown_parameter_is_refused(shared_house: House) -> None:
    assert error_of(shared_house.ask("GET", "/api/limits?x=1")) == (400, "unknown-parameter")
