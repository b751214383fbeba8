# SPDX-License-Identifier: Apache-2.0
"""The launches of cco that are alive, and the agents that run in them."""

from collections.abc import Sequence
from typing import Final

from cco.tui import figures
from cco.tui.feed import Query
from cco.tui.model import Model
from cco.tui.table import Column, Look, Row, figure
from cco.tui.text import Line
from cco.tui.views.view import View, section


def _rows(model: Model) -> Sequence[Row]:
    return [
        row
        for row in model.document("sessions").get("sessions", ())
        if model.project in ("", row["project"])
    ]


def _running(row: Row, look: Look) -> str:
    del look
    agents = row["runningAgents"]
    if agents is None:
        return figures.UNKNOWN
    if not agents:
        return "0"
    return f"{len(agents)} {', '.join(dict.fromkeys(agents))}"


COLUMNS: Final = (
    Column(title="session", show=lambda row, _: row["id"], low=8, high=16, is_id=True),
    Column(
        title="project",
        show=lambda row, _: row["project"],
        value=lambda row: row["project"],
        low=22,
        keep_end=True,
    ),
    Column(
        title="age",
        show=lambda row, look: figures.span(figures.age_s(row["startedAt"], look.now)),
        value=lambda row: row["startedAt"],
        low=6,
        high=8,
        right=True,
    ),
    figure("cost", lambda row: row["costUsd"], figures.usd, low=9, high=11),
    Column(
        title="running agents",
        show=_running,
        value=lambda row: None if row["runningAgents"] is None else len(row["runningAgents"]),
        style=lambda row: "good" if row["runningAgents"] else "dim",
        low=16,
        falls=True,
    ),
    Column(
        title="pid",
        show=lambda row, _: str(row["pid"]),
        value=lambda row: row["pid"],
        low=7,
        high=8,
        right=True,
        drop=1,
    ),
)


def _head(model: Model, look: Look, columns: int, lines: int) -> Sequence[Line]:
    del lines
    alive = len(_rows(model)) if "sessions" in model.documents else None
    return [section("Sessions", columns, look, [("", figures.whole(alive)), ("dim", " alive")])]


VIEW: Final = View(
    name="Sessions",
    queries=lambda model, look: [Query("sessions", "/api/sessions")],
    source="sessions",
    rows=_rows,
    key=lambda row: row["id"],
    columns=COLUMNS,
    head=_head,
    empty="no session is alive; launch one with: cco",
)
