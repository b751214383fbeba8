# SPDX-License-Identifier: Apache-2.0
"""What a view is: some lines, and a table below them.

Pure, as all views are: from the model to lines.
"""

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cco.tui.feed import Query
from cco.tui.model import Model
from cco.tui.table import Column, Look, Row
from cco.tui.text import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One view."""

    name: str
    queries: Callable[[Model, Look], Sequence[Query]]
    """What it needs to know, beside what all views need."""
    source: str
    """Name of the answer that its rows are from."""
    rows: Callable[[Model], Sequence[Row]]
    key: Callable[[Row], Hashable]
    """Tells rows apart, from one answer to the next."""
    columns: Sequence[Column]
    head: Callable[[Model, Look, int, int], Sequence[Line]] = lambda *_: ()
    """Lines above the table; given model, look, columns and lines of the terminal."""
    empty: str = "nothing yet"
    """Told where there are no rows."""
    details: Callable[[Row, Model, Look], Sequence[Line]] | None = None
    """Lines about one row; None = its members as they are."""


def errors_style(row: Row) -> str:
    """Return the colour of a count of errors."""
    return "bad" if row["errors"] else "dim"


def section(title: str, columns: int, look: Look, *more: Line) -> Line:
    """Return a line that begins a part: a title in a rule, with pieces behind it."""
    line: Line = [("dim", look.rule), ("title", f" {title} ")]
    for one in more:
        line += [("dim", look.rule), ("", " "), *one, ("", " ")]
    from_here = columns - sum(len(text) for _, text in line)
    return [*line, ("dim", look.rule * max(0, from_here))]


def members(row: Row, look: Look) -> list[Line]:
    """Return the members of a document, one a line."""
    flat = dict(_flat(row))
    room = max((len(name) for name in flat), default=0) + 2
    return [
        [("dim", name.ljust(room)), ("", look.clean(_told(value)))] for name, value in flat.items()
    ]


def _flat(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in document.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def _told(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, float):
        return json.dumps(round(value, 9))  # as fine as money is told
    return value if isinstance(value, str) else json.dumps(value)
