# SPDX-License-Identifier: Apache-2.0
"""Agents by what they cost, in a period that can be changed."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from cco.tui import figures
from cco.tui.feed import Query
from cco.tui.graph import bar
from cco.tui.model import PERIODS, Model
from cco.tui.table import Column, Look, Row, figure
from cco.tui.text import Line
from cco.tui.views.view import View, errors_style, section

SHARE_BAR: Final = 10


def since(period: int, look: Look) -> str:
    """Return the date that a period begins with; empty for all time."""
    days = PERIODS[period][1]
    if days is None:
        return ""
    return (look.now.astimezone(look.zone) - timedelta(days=days)).date().isoformat()


def _queries(model: Model, look: Look) -> Sequence[Query]:
    fields = "cost,requests,byAgent"
    return [model.stats_query("agents", fields, since(model.period, look))]


def _rows(model: Model) -> Sequence[Row]:
    """Return the agents, each with its share of what all have cost together."""
    told = model.document("agents")
    whole = told["cost"]["totalUsd"] if told else 0
    return [
        {**row, "share": row["costUsd"] / whole if whole else None}
        for row in told.get("byAgent", ())
    ]


def _head(model: Model, look: Look, columns: int, lines: int) -> Sequence[Line]:
    del lines
    told: Mapping[str, Any] = model.document("agents")
    if not told:
        return [section(f"Agents, {PERIODS[model.period][0]}", columns, look)]
    return [
        section(
            f"Agents, {PERIODS[model.period][0]}",
            columns,
            look,
            [("", figures.usd(told["cost"]["totalUsd"])), ("dim", " in all")],
            [("", figures.whole(told["requests"]["total"])), ("dim", " calls")],
            [("key", "t"), ("dim", " other period")],
        )
    ]


def _share(row: Row, look: Look) -> str:
    if row["share"] is None:
        return figures.UNKNOWN
    full, rest = bar(row["share"], SHARE_BAR, look.charset)
    return f"{full}{rest} {figures.percent(row['share']):>6}"


COLUMNS: Final = (
    Column(
        title="agent",
        show=lambda row, _: row["agent"],
        value=lambda row: row["agent"],
        low=20,
        high=44,
    ),
    figure("cost", lambda row: row["costUsd"], figures.usd, low=9, high=12),
    Column(
        title="share",
        show=_share,
        value=lambda row: row["share"],
        low=SHARE_BAR + 7,
        high=SHARE_BAR + 7,
        falls=True,
    ),
    figure("calls", lambda row: row["requests"], figures.count, low=7, high=9),
    figure("errors", lambda row: row["errors"], figures.count, low=6, high=8, style=errors_style),
    figure("tokens", lambda row: row["tokens"]["total"], figures.count, low=7, high=9),
    figure("saved", lambda row: row["savedUsd"], figures.usd, low=8, high=10, drop=1),
)

VIEW: Final = View(
    name="Agents",
    queries=_queries,
    source="agents",
    rows=_rows,
    key=lambda row: row["agent"],
    columns=COLUMNS,
    head=_head,
    empty="no agent has worked in this period",
)
