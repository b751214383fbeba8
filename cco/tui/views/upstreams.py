# SPDX-License-Identifier: Apache-2.0
"""The upstreams: whether they are asked, and how quickly they answered in the last hour."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cco.tui import figures
from cco.tui.feed import Query
from cco.tui.model import Model
from cco.tui.table import Column, Look, Row, figure
from cco.tui.text import Line
from cco.tui.views.view import View, errors_style, section

_ODD: Final = ("", "?", "?")
SIGNS: Final = {
    "up": ("good", "●", "+"),
    "resting": ("warn", "◐", "~"),
    "half-open": ("warn", "◐", "~"),
    "open": ("bad", "✖", "x"),
    "no-credential": ("bad", "✖", "x"),
}
"""Colour and sign of each state, the latter also in ASCII."""
WORDS: Final = {"open": "out", "no-credential": "no key"}
BREAKER: Final = {"open": "open", "half-open": "half-open"}


def state(row: Mapping[str, Any], look: Look) -> str:
    """Return the state as a sign and a word."""
    _, sign, plain = SIGNS.get(row["state"], _ODD)
    word = WORDS.get(row["state"], row["state"])
    return f"{plain if look.ascii_only else sign} {word}"


def style(row: Mapping[str, Any]) -> str:
    """Return the colour of the state."""
    return SIGNS.get(row["state"], _ODD)[0]


def _breaker(row: Row, look: Look) -> str:
    """Return what the breaker does, and why."""
    word = BREAKER.get(row["state"], "closed")
    if opened := row.get("openedAt"):
        word += f" {figures.span(figures.age_s(opened, look.now))}"
    if row["consecutiveFailures"]:
        word += f", {row['consecutiveFailures']} fails"
    return f"{word} ({row['lastError']})" if row["lastError"] else word


def _quickness(title: str, member: str, percent: str, *, drop: int = 0) -> Column:
    return figure(title, lambda row: row[member][percent], figures.took, low=9, high=10, drop=drop)


COLUMNS: Final = (
    Column(
        title="upstream",
        show=lambda row, _: row["name"],
        value=lambda row: row["name"],
        low=11,
        high=24,
    ),
    Column(title="state", show=state, value=lambda row: row["state"], style=style, low=11, high=11),
    Column(title="breaker", show=_breaker, low=20, high=44),
    figure("calls", lambda row: row["requests"], figures.count, low=6, high=8),
    figure("errors", lambda row: row["errors"], figures.count, low=6, high=8, style=errors_style),
    _quickness("took p50", "latencyMs", "p50"),
    _quickness("took p95", "latencyMs", "p95"),
    _quickness("first p50", "ttftMs", "p50", drop=2),
    _quickness("first p95", "ttftMs", "p95", drop=3),
)


def _head(model: Model, look: Look, columns: int, lines: int) -> Sequence[Line]:
    del model, lines
    return [section("Upstreams", columns, look, [("dim", "calls and times of the last hour")])]


VIEW: Final = View(
    name="Upstreams",
    queries=lambda model, look: [Query("upstreams", "/api/upstreams")],
    source="upstreams",
    rows=lambda model: model.document("upstreams").get("upstreams", ()),
    key=lambda row: row["name"],
    columns=COLUMNS,
    head=_head,
    empty="no upstream is known yet",
)
