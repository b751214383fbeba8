# SPDX-License-Identifier: Apache-2.0
"""Sessions: project, age, cost, running agents."""

from cco.tui.views import sessions
from tests.unit.tui.samples import LOOK, model, screen, session


def cells(**changes: object) -> dict[str, str]:
    row = session(**changes)
    return {column.title: column.show(row, LOOK) for column in sessions.COLUMNS}


def test_row_has_what_the_api_told() -> None:
    assert cells() == {
        "session": "0011223344556677",
        "project": "/home/alice/shop",
        "age": "20m00s",
        "cost": "$1.25",
        "running agents": "3 Go Specialist, Test Engineer",
        "pid": "4711",
    }


def test_nobody_running_is_zero_and_unknown_is_not() -> None:
    assert cells(runningAgents=[])["running agents"] == "0"
    assert cells(runningAgents=None, costUsd=None)["running agents"] == "-"
    assert cells(costUsd=None)["cost"] == "-"


def test_only_those_of_the_project_are_shown() -> None:
    told = {"sessions": [session(), session(id="ffeeddccbbaa9988", project="/other")]}
    made = model("Sessions", sessions=told)
    assert "2 alive" in screen(made)[3]
    made.project = "/other"
    lines = screen(made)
    assert "1 alive" in lines[3]
    assert lines[5].startswith(">ffeeddcc")


def test_question() -> None:
    assert [query.target for query in sessions.VIEW.queries(model(), LOOK)] == ["/api/sessions"]
