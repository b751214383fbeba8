# SPDX-License-Identifier: Apache-2.0
"""Agents: cost, calls, errors, share."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from cco.tui.model import PERIODS, Model
from cco.tui.views import agents
from tests.unit.tui.samples import LOOK, model, screen


@pytest.mark.parametrize(
    ("period", "begin"), [(0, "2026-11-22"), (1, "2026-11-15"), (2, "2026-10-23"), (3, "")]
)
def test_period_begins_with_a_day(period: int, begin: str) -> None:
    assert agents.since(period, LOOK) == begin
    (query,) = agents.VIEW.queries(Model(period=period), LOOK)
    assert query.name == "agents"
    assert ("since=" in query.target) is bool(begin)
    assert PERIODS[period]


def test_day_is_that_of_the_zone() -> None:
    tokyo = timezone(timedelta(hours=9))
    late = LOOK._replace(now=datetime(2026, 11, 22, 18, tzinfo=UTC), zone=tokyo)
    assert agents.since(0, late) == "2026-11-23"


def test_share_is_of_the_cost_of_all() -> None:
    lines = screen(model("Agents"))
    assert "$4.00 in all ─ 120 calls" in lines[3]
    assert lines[5].split()[:6] == [">Chief", "Architect", "$3.00", "████████░░", "75.0%", "40"]
    assert lines[6].split() == ["main", "$1.00", "██░░░░░░░░", "25.0%", "40", "2", "11,100"]
    assert "0.0%" in lines[7]


def test_where_nothing_was_spent_there_is_no_share() -> None:
    made = model("Agents")
    made.documents["agents"]["cost"]["totalUsd"] = 0.0
    assert screen(made)[5].split()[3] == "-"
    nothing = {**made.documents["agents"], "byAgent": []}
    assert "no agent has worked in this period" in "".join(screen(model("Agents", agents=nothing)))
