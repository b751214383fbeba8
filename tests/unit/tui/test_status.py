# SPDX-License-Identifier: Apache-2.0
"""How everything stands, at the top and in full."""

from typing import Any

import pytest

from cco.errors import StoreError, Unavailable
from cco.tui import status
from cco.tui.model import Model
from cco.tui.text import line_width
from tests.unit.tui.samples import (
    ASCII,
    LOOK,
    NOW,
    budget,
    health,
    limits,
    model,
    shown,
    upstream,
)


def top(made: Model, columns: int = 80) -> list[str]:
    lines = status.lines(made, LOOK, columns)
    assert [line_width(line) for line in lines] == [columns, columns]
    return [shown(line) for line in lines]


def test_all_that_matters_is_in_two_lines() -> None:
    first, second = top(model())
    assert first == (
        " CCO 2026.11.22 ● up 3h20m  mount ● ok  upstreams ● up             all projects"
    )
    assert second == (
        " plan 5h 42.0% 7d 85.0% (3m00s ago)   budget day ██████░░░░ $12.35 of $20.00 62%"
    )


def test_state_is_told_by_words_and_signs_in_ascii_too() -> None:
    ill = health(
        vfs={"mounted": False, "path": "/m", "status": "not mounted"},
        upstreams=[upstream(), upstream(name="spare", state="open")],
        ledger={"status": "degraded"},
        warnings=[{"code": "x", "message": "m", "hint": None}] * 2,
    )
    made = model(health=ill)
    (first, _) = (shown(line) for line in status.lines(made, ASCII, 100))
    assert "mount x ill" in first
    assert "upstreams x 1/2 up" in first
    assert "ledger ill" in first
    assert "! 2 w" in first  # the key that tells more
    assert first.isascii()


def test_figures_that_are_no_longer_told_are_not_shown_as_if_they_were() -> None:
    made = model()
    made.troubles["today"] = StoreError("ledger-failed", "the ledger is ill", hint="Mend it")
    assert "! 1 w" in top(made)[0]
    told = "\n".join(shown(line) for line in status.sheet(made, LOOK))
    assert "! today: the ledger is ill\n  Mend it" in told


def test_dashboard_that_was_open_during_an_upgrade_says_so() -> None:
    made = model()
    made.version = "2026.11.22"
    assert "!" not in top(made)[0]
    made.documents["health"] = health(version="2026.12.01")
    assert "! 1 w" in top(made)[0]
    told = "\n".join(shown(line) for line in status.sheet(made, LOOK))
    assert "this dashboard is CCO 2026.11.22, the daemon 2026.12.01\n  End it" in told


def test_error_is_one_line() -> None:
    assert status.sentence(Unavailable("x", "it is away", hint="Go")) == "it is away. Go"
    assert status.sentence(Unavailable("x", "it is away")) == "it is away"


def test_nothing_is_claimed_before_the_first_answer() -> None:
    first, second = top(Model())
    assert first.startswith(" CCO asking the daemon")
    assert second == " plan limits unknown   no budget"


def test_daemon_that_is_away_is_not_called_up() -> None:
    made = model()
    made.away = Unavailable("daemon-unavailable", "no CCO daemon serves /run/cco.sock")
    first, _ = top(made)
    assert "✖ daemon away" in first
    assert "mount" not in first
    line = shown(status.away(made, LOOK, 80))
    assert line.startswith(" ! no CCO daemon serves /run/cco.sock")
    assert line.endswith("data of 0s ago  D start it")
    made.is_starting = True
    assert shown(status.away(made, LOOK, 80)).endswith("starting it")
    assert "daemon starting" in top(made)[0]


def test_project_is_shown_by_its_end() -> None:
    made = model()
    made.project = "/home/alice/" + "日本語" * 600 + "/shop"
    first, _ = top(made)
    assert first.endswith("/shop")
    assert "…" in first


@pytest.mark.parametrize(
    ("interval_s", "words"), [(5.0, "every 5s"), (0.5, "every 0.5s"), (300, "every 5m00s")]
)
def test_rhythm(interval_s: float, words: str) -> None:
    assert shown(status.rhythm(Model(interval_s=interval_s))) == words
    assert shown(status.rhythm(Model(is_paused=True))) == "paused"


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({}, []),
        ({"unified-status": "allowed"}, []),
        ({"unified-5h-utilization": "0.5"}, [("5h", 0.5, None)]),
        ({"unified-5h-utilization": "0.5", "unified-5h-reset": "100"}, [("5h", 0.5, 100.0)]),
        ({"unified-5h-utilization": "much"}, []),  # no figure: no guess
        (
            {
                "tokens-limit": "1000",
                "tokens-remaining": "250",
                "tokens-reset": "1970-01-01T00:01:00Z",
            },
            [("tokens", 0.75, 60.0)],
        ),
        ({"tokens-remaining": "250"}, []),
        ({"tokens-remaining": "0", "tokens-limit": "0"}, []),
        (
            {"requests-limit": "9", "requests-remaining": "9", "requests-reset": "soon"},
            [("requests", 0.0, None)],
        ),
    ],
)
def test_limits_are_what_was_told_and_nothing_else(
    values: dict[str, str], found: list[Any]
) -> None:
    assert status.shares(values) == found


def test_limits_that_were_never_told_are_unknown() -> None:
    made = model(limits=limits(plan=[]))
    assert "plan limits unknown" in top(made)[1]
    assert "unknown: no answer has told any" in sheet(made)


def test_tightest_budget_is_the_one_at_the_top() -> None:
    spent = budget(scope="project", key="/p", limitUsd=1.0, spentUsd=1.5, action="warn")
    made = model(limits=limits(budgets=[budget(), spent]))
    assert "budget project ██████████ $1.50 of $1.00 150% spent" in top(made, 100)[1]
    assert status.used_share(budget(limitUsd=0.0, spentUsd=0.0)) == 1.0


def sheet(made: Model) -> str:
    return "\n".join(shown(line) for line in status.sheet(made, LOOK))


def test_sheet_has_everything_in_full() -> None:
    warning = {"code": "no-credential", "message": "the key is not there", "hint": "Make it"}
    made = model(
        health=health(warnings=[warning]), limits=limits(budgets=[budget(reservedUsd=0.5)])
    )
    made.troubles["today"] = Unavailable("x", "the ledger cannot be read")
    told = sheet(made)
    for text in (
        "! the key is not there\n  Make it",
        "! today: the ledger cannot be read",
        "key 13bea3d2ab6e, anthropic  3m00s ago",
        "5h                       ████░░░░░░  42.0%  new in 2h10m",
        "unified-status           allowed",
        "day 2026-11-22  ██████░░░░ $12.35 of $20.00 62%  block, $0.5000 reserved",
    ):
        assert text in told
    assert made.seen == NOW


def test_sheet_of_nothing_says_so() -> None:
    told = sheet(Model())
    assert told.count("none") == 2
