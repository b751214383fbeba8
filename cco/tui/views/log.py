# SPDX-License-Identifier: Apache-2.0
"""The daemon's log, the newest line first; by level, and by text as every view."""

from collections.abc import Sequence
from typing import Final

from cco.tui import figures
from cco.tui.model import LEVELS, Model
from cco.tui.table import Column, Look, Row
from cco.tui.text import Line
from cco.tui.views.view import View, section

_STYLES: Final = {"WARNING": "warn", "ERROR": "bad", "CRITICAL": "bad", "DEBUG": "dim"}
_SHOWN: Final = {
    "all": frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}),
    "warnings": frozenset({"WARNING", "ERROR", "CRITICAL"}),
    "errors": frozenset({"ERROR", "CRITICAL"}),
}


def _rows(model: Model) -> Sequence[Row]:
    shown = _SHOWN[LEVELS[model.level]]
    return [line._asdict() for line in reversed(model.log) if line.level in shown]


def _head(model: Model, look: Look, columns: int, lines: int) -> Sequence[Line]:
    del lines
    level = LEVELS[model.level]
    told = [("", level), ("dim", " shown  "), ("key", "v"), ("dim", " other level")]
    return [section("Log", columns, look, told)]


COLUMNS: Final = (
    Column(
        title="time",
        show=lambda row, look: figures.clock(row["time"], look.zone) if row["time"] else "",
        low=8,
        high=8,
    ),
    Column(
        title="level",
        show=lambda row, _: row["level"].lower(),
        style=lambda row: _STYLES.get(row["level"], ""),
        low=8,
        high=8,
    ),
    Column(title="message", show=lambda row, _: row["message"], low=58),
    Column(
        title="from",
        show=lambda row, _: row["logger"].removeprefix("cco."),
        style=lambda row: "dim",
        low=16,
        high=24,
        drop=1,
    ),
)

VIEW: Final = View(
    name="Log",
    queries=lambda model, look: (),
    source="log",
    rows=_rows,
    key=lambda row: row["number"],
    columns=COLUMNS,
    head=_head,
    empty="no line of this level",
)
