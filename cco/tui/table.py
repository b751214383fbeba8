# SPDX-License-Identifier: Apache-2.0
"""Rows in columns: which of them, in which order, how wide each column is, and how it looks.

Pure. A row is a document of the API, or what stands for one; a column says what it shows of it.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Final, NamedTuple, TypeAlias

from cco.tui.graph import Charset
from cco.tui.text import Line, clean, cut, fit, width

Row: TypeAlias = Mapping[str, Any]


class Look(NamedTuple):
    """What decides how things look, beside themselves."""

    charset: Charset
    now: datetime
    """With its zone."""
    zone: tzinfo | None = None
    """Of the times that are shown; None = the machine's."""

    @property
    def ascii_only(self) -> bool:
        """Say whether there is nothing but ASCII."""
        return self.charset is Charset.ASCII

    @property
    def dots(self) -> str:
        """What stands for text that has no room."""
        return "~" if self.ascii_only else "…"

    @property
    def rule(self) -> str:
        """What lines are drawn with."""
        return "-" if self.ascii_only else "─"

    def clean(self, text: str) -> str:
        """Return a text as it may be shown."""
        return clean(text, ascii_only=self.ascii_only)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str
    show: Callable[[Row, Look], str]
    """Text of a row; it need not be clean."""
    value: Callable[[Row], Any] | None = None
    """What to sort by, None in it comes last; without it the column is not sorted by."""
    style: Callable[[Row], str] = lambda row: ""
    low: int = 4
    """Columns of the terminal that it needs at least."""
    high: int = 0
    """And takes at most; 0 = what there is."""
    right: bool = False
    keep_end: bool = False
    """Where a text is cut: a path at its beginning."""
    is_id: bool = False
    """Its beginning tells it from others, so it is cut without dots."""
    drop: int = 0
    """The highest goes first where there is no room; 0 = never."""
    falls: bool = False
    """Sorted by it, the largest comes first."""


def figure(
    title: str,
    value: Callable[[Row], Any],
    show: Callable[[Any], str],
    *,
    low: int,
    high: int,
    style: Callable[[Row], str] = lambda row: "",
    drop: int = 0,
) -> Column:
    """Return a column of figures: flush right, and sorted by it the largest comes first."""
    return Column(
        title=title,
        value=value,
        show=lambda row, _: show(value(row)),
        style=style,
        low=low,
        high=high,
        right=True,
        drop=drop,
        falls=True,
    )


class Placed(NamedTuple):
    """A column and how wide it is."""

    column: Column
    width: int


@dataclass(slots=True)
class Setup:
    """What a person has set up in one view."""

    chosen: Hashable = None
    """Key of the row that the cursor stays with; None = the first, whichever that is."""
    top: int = 0
    """Row in the first line."""
    sort: str = ""
    """Title of a column; empty = as the rows come."""
    reverse: bool = False
    filter: str = ""


GAPS: Final = (2, 1)
"""Columns between columns: two if they fit."""


def arrange(
    rows: Sequence[Row], columns: Sequence[Column], setup: Setup, look: Look
) -> Sequence[Row]:
    """Return the rows that pass the filter, in the order that is set up."""
    if setup.filter:
        wanted = setup.filter.casefold()
        rows = [
            row
            for row in rows
            if any(wanted in look.clean(each.show(row, look)).casefold() for each in columns)
        ]
    by = next((each for each in columns if each.title == setup.sort), None)
    if by is None or by.value is None:
        return rows[::-1] if setup.reverse else rows
    value = by.value
    known = [row for row in rows if value(row) is not None]
    unknown = [row for row in rows if value(row) is None]
    known.sort(key=value, reverse=by.falls != setup.reverse)
    return [*known, *unknown]


def place(columns: Sequence[Column], room: int) -> tuple[list[Placed], int]:
    """Return the columns that have room, with their widths, and the gap between them."""
    kept = list(columns)
    while True:
        for gap in GAPS:
            left = room - sum(each.low for each in kept) - gap * (len(kept) - 1)
            if left >= 0:
                return _widen(kept, left), gap
        droppable = [each for each in kept if each.drop]
        if not droppable:
            return [Placed(each, each.low) for each in kept], GAPS[-1]
        kept.remove(max(droppable, key=lambda each: each.drop))


def _widen(columns: Sequence[Column], left: int) -> list[Placed]:
    """Give what is left to those who can use it; those that can be satisfied come first."""
    widths = [each.low for each in columns]
    while left:
        able = [n for n, each in enumerate(columns) if widths[n] < each.high]
        able = able or [n for n, each in enumerate(columns) if each.high == 0]
        if not able:
            break
        share = max(1, left // len(able))
        for n in able:
            most = columns[n].high - widths[n] if columns[n].high else share
            more = min(share, most, left)
            widths[n] += more
            left -= more
    return [Placed(each, taken) for each, taken in zip(columns, widths, strict=True)]


def head(placed: Sequence[Placed], gap: int, setup: Setup, look: Look) -> Line:
    """Return the line above the rows; the column that is sorted by has an arrow."""
    line: Line = []
    for n, (column, taken) in enumerate(placed):
        title = column.title
        if title == setup.sort:
            down, up = ("v", "^") if look.ascii_only else ("▾", "▴")
            title = cut(title, taken - 1, dots="") + (down if column.falls != setup.reverse else up)
        space = " " * gap if n < len(placed) - 1 else ""
        line += [("head", fit(title, taken, right=column.right, dots="")), ("", space)]
    return line


def draw(row: Row, placed: Sequence[Placed], gap: int, look: Look, *, chosen: bool = False) -> Line:
    """Return one row as a line."""
    line: Line = []
    for n, (column, taken) in enumerate(placed):
        text = look.clean(_near(column.show(row, look), taken, keep_end=column.keep_end))
        if column.keep_end and width(text) > taken:
            text = cut(text, taken, dots=look.dots, keep_end=True)
        dots = "" if column.is_id else look.dots
        cell = fit(text, taken, right=column.right, dots=dots)
        line.append(("select" if chosen else column.style(row), cell))
        if n < len(placed) - 1:
            line.append(("select" if chosen else "", " " * gap))
    return line


def _near(text: str, columns: int, *, keep_end: bool) -> str:
    """Return as much of a text as could be seen, for a name may have thousands of characters."""
    most = 4 * columns + 16
    return text[-most:] if keep_end else text[:most]
