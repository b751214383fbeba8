# SPDX-License-Identifier: Apache-2.0
"""Puts the whole screen together, and says what a click on each place of it does.

Pure, but that it writes down in the model which row came into the first line.
"""

from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple

from cco.tui import status, table
from cco.tui.keys import BINDINGS, DO, MOVE, SHOW, Binding, Command, hints
from cco.tui.model import Model, Sheet
from cco.tui.table import Look, Row, Setup
from cco.tui.terminal import MIN_COLUMNS, MIN_ROWS
from cco.tui.text import Line, beside, fit_line, line_width, width
from cco.tui.views import agents, log, machine, overview, requests, sessions, upstreams
from cco.tui.views.view import View, members, section

VIEWS: Final[tuple[View, ...]] = (
    overview.VIEW,
    requests.VIEW,
    agents.VIEW,
    sessions.VIEW,
    upstreams.VIEW,
    log.VIEW,
    machine.VIEW,
)

_KEPT: Final = frozenset({"select", "bad", "key", "head"})
"""Styles that stay when everything else is greyed."""


class Spot(NamedTuple):
    """A place that can be clicked."""

    row: int
    left: int
    right: int
    """The column after the last."""
    command: Command | str
    """A command, or ``row`` or ``sort``."""
    what: Hashable = None
    """Number of a view, key of a row, title of a column."""


class Frame(NamedTuple):
    """A whole screen."""

    lines: list[Line]
    spots: list[Spot]
    rows: Sequence[Row] = ()
    """All rows of the table, those out of sight too."""
    page: int = 1
    """Lines of the table that are in sight."""


def compose(model: Model, look: Look, columns: int, rows: int) -> Frame:
    """Return the screen for a terminal of this size."""
    if columns < MIN_COLUMNS or rows < MIN_ROWS:
        return Frame(_too_small(columns, rows), [])
    lines = status.lines(model, look, columns)
    spots: list[Spot] = []
    lines.append(_tabs(model, len(lines), spots, columns))
    if model.away:
        lines.append(status.away(model, look, columns))
    body = rows - len(lines) - 1
    if model.sheet:
        shown = _sheet(model, model.sheet, look, columns, body)
        found: Sequence[Row] = ()
        page = body
    else:
        shown, found, page = _view(model, look, columns, body, len(lines), spots)
    if model.away:
        shown = [_greyed(line) for line in shown]
    lines += [fit_line(line, columns, dots=look.dots) for line in shown]
    lines.append(_foot(model, look, columns, rows - 1, spots))
    return Frame(lines, spots, found, page)


def _too_small(columns: int, rows: int) -> list[Line]:
    told = f"The dashboard needs {MIN_COLUMNS}x{MIN_ROWS}; this is {columns}x{rows}. q ends it."
    lines: list[Line] = [[] for _ in range(rows)]
    lines[rows // 2] = fit_line([("bad", told[:columns])], columns)
    return [fit_line(line, columns) for line in lines]


def _tabs(model: Model, row: int, spots: list[Spot], columns: int) -> Line:
    line: Line = [("", " ")]
    for number, view in enumerate(VIEWS):
        at = line_width(line)
        is_shown = number == model.view
        # A sign too: the tab is told without colours.
        label = f"[{number + 1} {view.name}]" if is_shown else f" {number + 1} {view.name} "
        line.append(("tab" if is_shown else "dim", label))
        spots.append(Spot(row, at, at + width(label), Command.VIEW, number))
    return fit_line(line, columns)


def _view(
    model: Model, look: Look, columns: int, room: int, first: int, spots: list[Spot]
) -> tuple[list[Line], Sequence[Row], int]:
    view = VIEWS[model.view]
    setup = model.setup(view.name)
    lines = list(view.head(model, look, columns, room))
    found = table.arrange(view.rows(model), view.columns, setup, look)
    inner = columns - 2
    placed, gap = table.place(view.columns, inner)
    at = 1
    for column, taken in placed:
        if column.value is not None:
            title = column.title
            spots.append(Spot(first + len(lines), at, at + taken, "sort", title))
        at += taken + gap
    lines.append([("", " "), *table.head(placed, gap, setup, look)])
    page = max(1, room - len(lines))
    chosen = position(found, view, setup)
    setup.top = _scrolled(setup.top, chosen, page, len(found))
    for number, row in enumerate(found[setup.top : setup.top + page], start=setup.top):
        is_chosen = number == chosen
        mark = ("select", ">") if is_chosen else ("", " ")
        spots.append(Spot(first + len(lines), 0, columns, "row", view.key(row)))
        lines.append([mark, *table.draw(row, placed, gap, look, chosen=is_chosen)])
    if not found:
        told = f"no line with '{look.clean(setup.filter)}' in it" if setup.filter else view.empty
        lines.append([("dim", f" {look.clean(_why_unknown(model, view) or told)}")])
    lines += [[] for _ in range(room - len(lines))]
    return lines[:room], found, page


def _why_unknown(model: Model, view: View) -> str:
    """Return why it is not known what is to be shown; empty where it is known: nothing."""
    if error := model.troubles.get(view.source):
        return status.sentence(error)
    if view.source in model.documents:
        return ""
    return "not known, for the daemon is away" if model.away else "asking"


def position(rows: Sequence[Row], view: View, setup: Setup) -> int:
    """Return where the cursor is; at the first row where its own is gone."""
    if setup.chosen is None:
        return 0
    return next((n for n, row in enumerate(rows) if view.key(row) == setup.chosen), 0)


def _scrolled(top: int, chosen: int, page: int, length: int) -> int:
    top = min(max(top, chosen - page + 1), chosen)
    return max(0, min(top, length - page))


def _greyed(line: Line) -> Line:
    return [(style if style in _KEPT else "stale", text) for style, text in line]


def sheet_lines(model: Model, sheet: Sheet, look: Look, columns: int) -> Sequence[Line]:
    """Return all lines of a sheet."""
    if sheet.kind == "help":
        return _help(look, columns)
    if sheet.kind == "state":
        return status.sheet(model, look)
    view = VIEWS[model.view]
    if sheet.row is None:
        return []
    if view.details is None:
        return members(sheet.row, look)
    return view.details(sheet.row, model, look)


def _sheet(model: Model, sheet: Sheet, look: Look, columns: int, room: int) -> list[Line]:
    titles = {"help": "Keys", "state": "How everything stands"}
    title = titles.get(sheet.kind, f"{VIEWS[model.view].name}: details")
    lines = _wrapped(sheet_lines(model, sheet, look, columns), columns - 4)
    page = room - 1
    sheet.top = max(0, min(sheet.top, len(lines) - page))
    below = len(lines) - sheet.top - page
    more = [[("dim", f"{below} more below")]] if below > 0 else []
    shown: list[Line] = [section(title, columns, look, *more)]
    shown += [[("", "  "), *line] for line in lines[sheet.top : sheet.top + page]]
    return shown + [[] for _ in range(room - len(shown))]


def _wrapped(lines: Sequence[Line], columns: int) -> list[Line]:
    """Return lines cut into as many as they need; what goes on is set in by two."""
    found: list[Line] = []
    for line in lines:
        rest = list(line)
        lead = 0
        while True:
            now, rest = _split(rest, columns - lead)
            found.append([("", " " * lead), *now] if lead else now)
            if not rest:
                break
            lead = 2
    return found


def _split(line: Line, columns: int) -> tuple[Line, Line]:
    now: Line = []
    left = columns
    for n, (style, text) in enumerate(line):
        if width(text) <= left:
            now.append((style, text))
            left -= width(text)
            continue
        at = len(text)
        while at and width(text[:at]) > left:
            at -= max(1, (width(text[:at]) - left) // 2)
        if at <= 0 and not now:
            at = 1
        return [*now, (style, text[:at])], [(style, text[at:]), *line[n + 1 :]]
    return now, []


def _help(look: Look, columns: int) -> list[Line]:
    room = (columns - 6) // 2
    groups = {
        name: [_key_line(each, look) for each in BINDINGS if each.group == name]
        for name in (MOVE, SHOW, DO)
    }
    left: list[Line] = [[("title", MOVE)], *groups[MOVE], [], [("title", "Mouse")]]
    left += [
        [("dim", "a tab, a column's head, a line, a")],
        [("dim", "key at the bottom: click; the wheel")],
        [("dim", "scrolls; Shift selects text")],
    ]
    right: list[Line] = [[("title", SHOW)], *groups[SHOW], [("title", DO)], *groups[DO]]
    length = max(len(left), len(right))
    left += [[] for _ in range(length - len(left))]
    right += [[] for _ in range(length - len(right))]
    return [
        [*fit_line(one, room, dots=look.dots), ("", "  "), *fit_line(other, room, dots=look.dots)]
        for one, other in zip(left, right, strict=True)
    ]


def _key_line(binding: Binding, look: Look) -> Line:
    shown = binding.shown
    if look.ascii_only:
        shown = " ".join(word for word in shown.split() if word.isascii()) or binding.keys[0]
    return [("key", f"{shown:<9}"), ("", binding.words)]


def _foot(model: Model, look: Look, columns: int, row: int, spots: list[Spot]) -> Line:
    if model.question:
        return fit_line([("warn", f" {model.question.words} ")], columns, dots=look.dots)
    if model.typed is not None:
        line: Line = [("key", " /"), ("", look.clean(model.typed)), ("select", " ")]
        end: Line = [("dim", "Enter keeps it, Esc drops it ")]
        return beside(line, end, columns, dots=look.dots)
    if model.notice:
        return fit_line([("title", f" {look.clean(model.notice)}")], columns, dots=look.dots)
    found = model.setup(VIEWS[model.view].name).filter
    right: Line = [("warn", f"/{look.clean(found)} ")] if found and not model.sheet else []
    right += status.rhythm(model)
    room = columns - line_width(right) - 1
    return beside(_hints(model, look, row, spots, room), right, columns, dots=look.dots)


def _hints(model: Model, look: Look, row: int, spots: list[Spot], room: int) -> Line:
    """Return the most wanted keys, as many as there is room for."""
    line: Line = [("", " ")]
    for key, word, command in hints():
        if command is Command.DETAILS and model.sheet:
            continue
        if command is Command.BACK and model.sheet:
            word = "back"
        shown = key if key.isascii() or not look.ascii_only else "Enter"
        at = line_width(line)
        if at + width(shown) + len(word) + 3 > room:
            break
        line += [("key", shown), ("dim", f" {word}  ")]
        spots.append(Spot(row, at, at + width(shown) + 1 + width(word), command))
    return line
