# SPDX-License-Identifier: Apache-2.0
"""Today at a glance."""

from cco.tui.model import Model
from cco.tui.views import overview
from tests.unit.tui.samples import LOOK, activity, model, screen, today


def test_every_figure_is_the_api_s() -> None:
    lines = "\n".join(screen(model()))
    for text in (
        "cost           $12.35 ",
        "last hour $0.6000 ",
        "requests 1,234 ",
        "tokens         11,100 ",
        "in        1,200 ",
        "out      340 ",
        "response cache  12.0% █",
        "prompt cache    83.6% ███████░",
        "saved     $0.2500",
        "saved     $3.50",
        "hits     12 of 100",
        "tokens   9,560",
        "2 now, 6 max",
        "$3.00 so far, $4.00 max",
    ):
        assert text in lines, text


def test_failures_and_unknown_prices_are_told() -> None:
    calls = {"total": 1234, "errors": 56, "partial": 0, "unpriced": 7}
    lines = screen(model(today=today(requests=calls)))
    assert "7 of unknown price not counted" in lines[3]
    assert "requests 1,234  56 failed" in lines[4]


def test_nothing_known_is_a_dash_and_not_a_zero() -> None:
    lines = screen(Model(seen=LOOK.now))
    assert "cost           - " in lines[4]
    assert "response cache      - ░" in lines[6]
    assert "0" not in lines[4] + lines[5]


def test_rate_of_nothing_is_a_dash() -> None:
    nothing = {"hits": 0, "misses": 0, "hitRate": None}
    assert "response cache      - ░" in screen(model(today=today(cache=nothing)))[6]


def test_last_minute_is_the_last_whole_one() -> None:
    told = activity()
    told["minutes"]["requests"][-2:] = [5, 9]
    assert overview.last_minute(told) == 5
    assert overview.last_hour(told, "requests") == sum(told["minutes"]["requests"])
    assert (overview.last_minute({}), overview.last_hour({}, "costUsd")) == (None, None)


def test_cost_of_this_hour_is_never_above_the_highest_bar() -> None:
    told = activity()
    told["minutes"]["costUsd"] = [0.2] * 60  # the last sixty minutes: more than any hour by itself
    told["hours"]["costUsd"] = [7.0] * 23 + [5.0]
    shown = "\n".join(screen(model(activity=told)))
    assert "last hour $12.00" in shown
    assert "Cost/hour  $5.00 so far, $7.00 max" in shown
    assert overview.this_hour({}) is None


def test_questions_are_for_what_is_shown() -> None:
    made = model()
    made.project = "/p"
    today_query, activity_query, recent = overview.VIEW.queries(made, LOOK)
    assert today_query.target == (
        "/api/project/stats?project=/p&since=2026-11-22&fields=cost,tokens,requests,cache,promptCache"
    )
    assert activity_query.target == "/api/activity?project=/p"
    assert recent.target.endswith("fields=recent&after=1&limit=200")


def test_taller_terminal_has_higher_graphs_and_more_requests() -> None:
    for rows, least in ((24, 4), (40, 8), (100, 10)):
        lines = screen(model(), 100, rows)
        drawn = sum(any("\u2801" <= char <= "\u28ff" for char in line) for line in lines)
        assert least <= drawn <= overview.MAX_GRAPH
