# SPDX-License-Identifier: Apache-2.0
"""Requests: every figure is the API's."""

import pytest

from cco.tui.model import MAX_REQUESTS, Model
from cco.tui.views import requests
from tests.unit.tui.samples import LOOK, model, request, screen, shown


def cells(**changes: object) -> dict[str, str]:
    row = request(**changes)
    return {column.title: column.show(row, LOOK) for column in requests.COLUMNS}


def test_row_has_what_the_api_told() -> None:
    assert cells() == {
        "time": "12:30:00",
        "session": "3f2a9c01-aaaa",
        "agent": "main",
        "model": "sonnet-4-6",
        "stat": "200",
        "cache": "miss",
        "tokens": "334",
        "cost": "$0.0123",
        "took": "2.35s",
        "first": "457ms",
        "project": "/home/alice/shop",
        "upstream": "anthropic",
    }


def test_name_of_an_agent_is_whole_where_there_is_room_to_spare() -> None:
    made = model("Requests")
    made.requests = {1: request(agent="Chief Architect")}
    assert "Chief Architect " in screen(made, 100)[5]


def test_what_is_unknown_is_no_zero() -> None:
    shown_cells = cells(costUsd=None, ttftMs=None, model="", session="", launch="", project="")
    for title in ("cost", "first", "model", "session", "project"):
        assert shown_cells[title] == "-", title
    assert cells(session="")["session"] == "0011223344556677"


@pytest.mark.parametrize(
    ("changes", "word", "style"),
    [
        ({}, "200", ""),
        ({"status": 529}, "529!", "bad"),
        ({"error": "overloaded_error"}, "200!", "bad"),
        ({"status": 0}, "none", "bad"),
        ({"partial": True}, "200~", "warn"),
        ({"partial": True, "error": "cut"}, "200!", "bad"),
    ],
)
def test_failure_is_told_by_a_sign_and_a_colour(
    changes: dict[str, object], word: str, style: str
) -> None:
    (column,) = [each for each in requests.COLUMNS if each.title == "stat"]
    row = request(**changes)
    assert (column.show(row, LOOK), column.style(row)) == (word, style)
    assert requests.failed(row) is (style == "bad")


def test_answer_of_the_cache_is_told_by_a_word() -> None:
    assert cells(cache="hit")["cache"] == "hit"
    assert cells(cache="coalesced")["cache"] == "join"


def test_details_are_exact() -> None:
    assert requests.VIEW.details is not None
    row = request(costUsd=0.000000001)
    lines = [shown(line) for line in requests.VIEW.details(row, Model(), LOOK)]
    assert lines[1] == "$0.000000001  334 tokens, took 2.35s, first byte after 457ms"
    assert "requestId         cco_1" in lines
    assert "latencyMs         2345.6" in lines


def test_head_says_how_many_are_known_and_that_there_may_be_more() -> None:
    assert "1 known" in screen(model("Requests"))[3]
    made = model("Requests")
    made.requests = {n: request(id=n) for n in range(MAX_REQUESTS)}
    assert "500 known kept here, the latest" in screen(made)[3]
