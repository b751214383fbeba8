# SPDX-License-Identifier: Apache-2.0
"""Upstreams: state, breaker, latency."""

import pytest

from cco.gateway.breaker import State
from cco.gateway.circuits import NO_CREDENTIAL
from cco.tui.views import upstreams
from tests.unit.tui.samples import ASCII, LOOK, model, screen, upstream


def cells(**changes: object) -> dict[str, str]:
    row = upstream(**changes)
    return {column.title: column.show(row, LOOK) for column in upstreams.COLUMNS}


def test_row_has_what_the_api_told() -> None:
    assert cells() == {
        "upstream": "anthropic",
        "state": "● up",
        "breaker": "closed",
        "calls": "12",
        "errors": "0",
        "took p50": "1.23s",
        "took p95": "9.88s",
        "first p50": "432ms",
        "first p95": "-",
    }


def test_breaker_says_since_when_and_why() -> None:
    told = cells(
        state="open",
        openedAt="2026-11-22T12:28:40.000Z",
        consecutiveFailures=3,
        lastError="connection-refused",
    )
    assert told["breaker"] == "open 2m00s, 3 fails (connection-refused)"
    assert told["state"] == "✖ out"


@pytest.mark.parametrize("state", [*map(str, State), NO_CREDENTIAL])
def test_every_state_of_the_gateway_has_a_sign_and_a_word(state: str) -> None:
    row = upstream(state=state)
    assert state in upstreams.SIGNS
    assert upstreams.state(row, ASCII).isascii()
    assert len(upstreams.state(row, LOOK)) <= 11
    assert upstreams.style(row)


def test_state_that_is_not_known_is_shown_as_it_is() -> None:
    assert upstreams.state({"state": "new"}, LOOK) == "? new"
    assert upstreams.style({"state": "new"}) == ""


def test_view() -> None:
    lines = screen(model("Upstreams"))
    assert "last hour" in lines[3]
    assert lines[5].startswith(">anthropic   ● up")
    (query,) = upstreams.VIEW.queries(model(), LOOK)
    assert query.target == "/api/upstreams"
