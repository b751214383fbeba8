# SPDX-License-Identifier: Apache-2.0
"""What CCO takes of the machine: the daemon, the mount, and this dashboard itself."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cco.tui import figures
from cco.tui.feed import Query
from cco.tui.graph import bar
from cco.tui.model import Model
from cco.tui.table import Column, Look, Row, figure
from cco.tui.text import Line
from cco.tui.views.view import View, section

FIELDS: Final = "cpuPercent,memory,daemon,vfs,sessions"
_NAMES: Final = (("daemon", "daemon"), ("vfs", "mount"))
BAR: Final = 20


def _rows(model: Model) -> Sequence[Row]:
    told = model.document("machine")
    rows = [{"process": shown, **told[name]} for name, shown in _NAMES if told.get(name)]
    if own := model.document("own"):
        rows.append({"process": "dashboard", **own})
    return rows


def total_pss(model: Model) -> int | None:
    """Return the memory of all processes together; None while one of them is not known."""
    parts = [row.get("pssBytes") for row in _rows(model)]
    return None if None in parts or not parts else sum(each for each in parts if each)


def _head(model: Model, look: Look, columns: int, lines: int) -> Sequence[Line]:
    del lines
    told: Mapping[str, Any] = model.document("machine")
    memory = told.get("memory") or {}
    used = taken = None
    if memory:
        taken = memory["totalBytes"] - memory["availableBytes"]
        used = taken / memory["totalBytes"]
    percent = told.get("cpuPercent")
    busy = None if percent is None else percent / 100
    return [
        section("Machine", columns, look),
        [*_bar("processors", busy, look), ("", figures.percent(busy).rjust(7))],
        [
            *_bar("memory", used, look),
            ("", figures.percent(used).rjust(7)),
            (
                "dim",
                f"  {figures.size(taken)} of {figures.size(memory.get('totalBytes'))} in use",
            ),
        ],
        [
            ("dim", " CCO itself   "),
            ("title", figures.size(total_pss(model))),
            ("dim", " PSS in all, "),
            ("", figures.whole(told.get("sessions"))),
            ("dim", " sessions alive"),
        ],
        [],
        section("Processes", columns, look),
    ]


def _bar(title: str, share: float | None, look: Look) -> Line:
    full, rest = bar(share, BAR, look.charset)
    style = "warn" if share is not None and share >= 0.9 else "graph"
    return [("dim", f" {title:<13}"), (style, full), ("dim", rest)]


def _percent(value: float | None) -> str:
    return figures.UNKNOWN if value is None else f"{value:.1f}%"


COLUMNS: Final = (
    Column(
        title="process",
        show=lambda row, _: row["process"],
        value=lambda row: row["process"],
        low=12,
        high=24,
    ),
    Column(
        title="pid",
        show=lambda row, _: str(row.get("pid", figures.UNKNOWN)),
        value=lambda row: row.get("pid"),
        low=8,
        high=10,
        right=True,
    ),
    figure("processor", lambda row: row.get("cpuPercent"), _percent, low=9, high=12),
    figure("PSS", lambda row: row.get("pssBytes"), figures.size, low=9, high=12),
    figure("RSS", lambda row: row.get("rssBytes"), figures.size, low=9, high=12),
    figure("threads", lambda row: row.get("threads"), figures.whole, low=8, high=12),
    figure("files", lambda row: row.get("openFiles"), figures.whole, low=8, high=12),
)

VIEW: Final = View(
    name="Machine",
    queries=lambda model, look: [Query("machine", f"/api/machine/stats?fields={FIELDS}")],
    source="machine",
    rows=_rows,
    key=lambda row: row["process"],
    columns=COLUMNS,
    head=_head,
    empty="the machine was not looked at yet",
)
