# SPDX-License-Identifier: Apache-2.0
"""Today at a glance: figures, two graphs, and the requests that were last."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cco.tui import figures, graph
from cco.tui.feed import Query
from cco.tui.model import Model
from cco.tui.table import Look
from cco.tui.text import Line, fit_line
from cco.tui.views import requests
from cco.tui.views.agents import since
from cco.tui.views.view import View, section

FIELDS: Final = "cost,tokens,requests,cache,promptCache"
FEW_ROWS: Final = 4
"""Requests that the smallest terminal shows below."""
FIXED_LINES: Final = 10
"""Of the head, without the graphs."""
MAX_GRAPH: Final = 10
_CELLS: Final = (32, 21, 26)
"""Columns of the three figures in a row, in the smallest terminal."""
_LABELS: Final = (15, 10, 9)
_BAR: Final = 8


def _queries(model: Model, look: Look) -> Sequence[Query]:
    return [
        model.stats_query("today", FIELDS, since(0, look)),
        model.activity_query(),
        model.recent_query(),
    ]


def last_hour(told: Mapping[str, Any], member: str) -> float | None:
    """Return requests or cost of the last sixty minutes; None while they are not known."""
    return sum(told["minutes"][member]) if told else None


def last_minute(told: Mapping[str, Any]) -> int | None:
    """Return the requests of the last whole minute."""
    return int(told["minutes"]["requests"][-2]) if told else None


def this_hour(told: Mapping[str, Any]) -> float | None:
    """Return what the hour that has begun has cost so far, which is the last bar of its graph."""
    return float(told["hours"]["costUsd"][-1]) if told else None


def _head(model: Model, look: Look, columns: int, lines: int) -> Sequence[Line]:
    today: Mapping[str, Any] = model.document("today")
    told: Mapping[str, Any] = model.document("activity")
    height = max(2, min(MAX_GRAPH, (lines - FIXED_LINES - FEW_ROWS) // 2 + 1))
    return [
        section("Today", columns, look, *_unpriced(today)),
        *_figures(today, told, look, columns),
        *_graphs(told, look, columns, height),
        section("Recent requests", columns, look),
    ]


def _unpriced(today: Mapping[str, Any]) -> list[Line]:
    unknown = today["requests"]["unpriced"] if today else 0
    return [[("warn", f"{figures.whole(unknown)} of unknown price not counted")]] if unknown else []


def _figures(
    today: Mapping[str, Any], told: Mapping[str, Any], look: Look, columns: int
) -> list[Line]:
    cost, tokens = today.get("cost") or {}, today.get("tokens") or {}
    calls, cache = today.get("requests") or {}, today.get("cache") or {}
    prompts = today.get("promptCache") or {}
    kept = tokens["cacheRead"] + tokens["cacheWrite5m"] + tokens["cacheWrite1h"] if tokens else None
    cells: list[list[tuple[str, Line]]] = [
        [
            ("cost", [("title", figures.usd(cost.get("totalUsd")))]),
            ("last hour", [("", figures.usd(last_hour(told, "costUsd")))]),
            ("requests", [("", figures.whole(calls.get("total"))), *_failed(calls)]),
        ],
        [
            ("tokens", [("", figures.count(tokens.get("total")))]),
            ("in", [("", figures.count(tokens.get("input")))]),
            ("out", [("", figures.count(tokens.get("output")))]),
        ],
        [
            ("response cache", _rate(cache.get("hitRate"), look)),
            ("saved", [("", figures.usd(cost.get("savedUsd")))]),
            ("hits", _hits(cache)),
        ],
        [
            ("prompt cache", _rate(prompts.get("hitRate"), look)),
            ("saved", [("", figures.usd(prompts.get("savedUsd")))]),
            ("tokens", [("", figures.count(kept))]),
        ],
    ]
    return [_row(row, columns) for row in cells]


def _row(cells: Sequence[tuple[str, Line]], columns: int) -> Line:
    """Return three figures with their names, in columns of the same widths for all rows."""
    more = (columns - 1 - sum(_CELLS)) // 3
    line: Line = [("", " ")]
    for (name, value), room, label in zip(cells, _CELLS, _LABELS, strict=True):
        line += fit_line([("dim", name.ljust(label)), *value], room + more)
    return line


def _failed(calls: Mapping[str, Any]) -> Line:
    if not calls or not calls["errors"]:
        return []
    return [("bad", f"  {figures.whole(calls['errors'])} failed")]


def _hits(cache: Mapping[str, Any]) -> Line:
    if not cache:
        return [("", figures.UNKNOWN)]
    looked = cache["hits"] + cache["misses"]
    return [("", figures.whole(cache["hits"])), ("dim", f" of {figures.whole(looked)}")]


def _rate(share: float | None, look: Look) -> Line:
    full, rest = graph.bar(share, _BAR, look.charset)
    return [("", figures.percent(share).rjust(6)), ("", " "), ("graph", full), ("dim", rest)]


def _graphs(told: Mapping[str, Any], look: Look, columns: int, height: int) -> list[Line]:
    """Return the two graphs side by side, with their titles above and their times below."""
    left = (columns - 3) // 2
    right = columns - 3 - left
    minutes: Mapping[str, Any] = told.get("minutes") or {"requests": [], "costUsd": []}
    hours: Mapping[str, Any] = told.get("hours") or minutes
    busiest = max(minutes["requests"], default=None)
    dearest = max(hours["costUsd"], default=None)
    one = _graph(
        "Requests/minute",
        f"{figures.whole(last_minute(told))} now, {figures.whole(busiest)} max",
        minutes["requests"],
        ("graph", "1 h ago"),
        (left, height),
        look,
    )
    other = _graph(
        "Cost/hour",
        f"{figures.usd(this_hour(told))} so far, {figures.usd(dearest)} max",
        hours["costUsd"],
        ("graph2", "24 h ago"),
        (right, height),
        look,
    )
    return [
        [("", " "), *fit_line(a, left), ("", "  "), *fit_line(b, right)]
        for a, b in zip(one, other, strict=True)
    ]


def _graph(
    title: str,
    told: str,
    values: Sequence[float],
    style_and_begin: tuple[str, str],
    size: tuple[int, int],
    look: Look,
) -> list[Line]:
    style, begin = style_and_begin
    width, height = size
    drawn = graph.columns(values, width=width, height=height, charset=look.charset)
    heading: Line = [("title", title), ("dim", f"  {told}")]
    rule = look.rule * (width - len(begin) - len("  now"))
    return [heading, *[[(style, line)] for line in drawn], [("dim", f"{begin} {rule} now")]]


VIEW: Final = View(
    name="Overview",
    queries=_queries,
    source="recent",
    rows=requests.VIEW.rows,
    key=requests.VIEW.key,
    columns=requests.COLUMNS,
    head=_head,
    empty=requests.VIEW.empty,
    details=requests.VIEW.details,
)
