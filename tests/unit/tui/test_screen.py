# SPDX-License-Identifier: Apache-2.0
"""The whole screen, at every size, against screens that somebody has looked at."""

from typing import Any

import pytest

from cco.errors import StoreError, Unavailable
from cco.tui.graph import Charset
from cco.tui.keys import BINDINGS, Command
from cco.tui.logs import LogLine
from cco.tui.model import Model, Sheet
from cco.tui.screen import VIEWS, compose, position
from cco.tui.table import Setup
from cco.tui.text import line_width
from tests.screens import compare
from tests.unit.tui.samples import (
    ASCII,
    LOOK,
    NOW,
    find,
    health,
    limits,
    model,
    request,
    screen,
    session,
    text_of,
    upstream,
)

NAMES = [view.name for view in VIEWS]
SIZES = [(80, 24), (120, 40), (200, 60), (300, 100)]


def busy(view: str) -> Model:
    """Return a dashboard with something odd in every view."""
    made = model(
        view,
        health=health(upstreams=[upstream(), upstream(name="spare", state="open")]),
        upstreams={
            "upstreams": [
                upstream(),
                upstream(
                    name="spare",
                    state="open",
                    consecutiveFailures=3,
                    lastError="connection-refused",
                    openedAt="2026-11-22T12:28:40.000Z",
                    latencyMs={"p50": None, "p95": None},
                    errors=3,
                ),
            ]
        },
        sessions={
            "sessions": [
                session(),
                session(
                    id="ffeeddccbbaa9988",
                    project="/home/alice/日本語プロジェクト",
                    runningAgents=[],
                ),
                session(
                    id="0123456789abcdef",
                    project="/" + "very-long/" * 400,
                    costUsd=None,
                    runningAgents=None,
                ),
            ]
        },
    )
    odd: list[dict[str, Any]] = [
        {},
        {"status": 529, "error": "overloaded_error", "costUsd": 0.0, "ttftMs": None},
        {"cache": "hit", "costUsd": 0.0, "latencyMs": 0.4, "ttftMs": 0.3},
        {"partial": True, "agent": "Chief Architect of all"},
        {"status": 0, "model": "", "session": "", "costUsd": None, "agent": "unattributed"},
    ]
    made.requests = {
        n: request(id=n, time=f"2026-11-22T12:{n:02d}:00.000Z", **odd[n % len(odd)])
        for n in range(1, 31)
    }
    for n, level in enumerate(("INFO", "WARNING", "ERROR", "DEBUG") * 3):
        at = f"2026-11-22T12:00:{n:02d}.000Z"
        made.log.append(LogLine(n, at, level, "cco.gateway.relay", f"line {n} of the log " * 9))
    return made


@pytest.mark.parametrize("view", NAMES)
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40)])
def test_view_is_as_it_was_looked_at(view: str, columns: int, rows: int) -> None:
    lines = screen(busy(view), columns, rows)
    compare(f"{view.lower()}-{columns}x{rows}", lines)


def test_view_without_colours_and_with_ascii_alone_is_as_it_was_looked_at() -> None:
    lines = screen(busy("Overview"), 80, 24, ASCII)
    assert all(line.isascii() for line in lines)
    compare("overview-ascii-80x24", lines)


def test_help_is_as_it_was_looked_at() -> None:
    made = model()
    made.sheet = Sheet("help")
    lines = screen(made)
    compare("help-80x24", lines)
    for binding in BINDINGS:  # it is made from the table, and nothing of it is below the edge
        assert any(binding.words in line for line in lines), binding


@pytest.mark.parametrize("view", NAMES)
@pytest.mark.parametrize(("columns", "rows"), SIZES)
@pytest.mark.parametrize("charset", Charset)
def test_every_line_is_as_wide_as_the_terminal(
    view: str, columns: int, rows: int, charset: Charset
) -> None:
    look = LOOK._replace(charset=charset)
    for made in (busy(view), Model(view=NAMES.index(view))):
        frame = compose(made, look, columns, rows)
        assert len(frame.lines) == rows
        assert {line_width(line) for line in frame.lines} == {columns}
        assert not any("\n" in line for line in text_of(frame))


@pytest.mark.parametrize(("columns", "rows"), [(79, 24), (80, 23), (20, 5), (1, 1)])
def test_terminal_that_is_too_small_is_told(columns: int, rows: int) -> None:
    lines = screen(model(), columns, rows)
    assert len(lines) == rows
    assert (
        lines[rows // 2]
        == f"The dashboard needs 80x24; this is {columns}x{rows}. q ends it.".ljust(columns)[
            :columns
        ]
        or columns < 60
    )


def test_cursor_stays_with_its_row_while_others_come() -> None:
    made = busy("Requests")
    made.setup("Requests").chosen = 20
    assert any(line.startswith(">12:20:00") for line in screen(made))
    made.requests[31] = request(id=31, time="2026-11-22T12:31:00.000Z")
    assert any(line.startswith(">12:20:00") for line in screen(made))
    made.setup("Requests").chosen = None  # at the first: whichever that is
    assert any(line.startswith(">12:31:00") for line in screen(made))
    del made.requests[31]
    made.setup("Requests").chosen = 99  # gone
    assert any(line.startswith(">12:30:00") for line in screen(made))


def test_cursor_is_always_in_sight() -> None:
    made = busy("Requests")
    for chosen in (1, 15, 30, 2):
        made.setup("Requests").chosen = chosen
        assert sum(line.startswith(">") for line in screen(made)) == 1


def test_position_is_that_of_the_key() -> None:
    view, rows = VIEWS[1], [request(id=3), request(id=2)]
    assert position(rows, view, Setup(chosen=2)) == 1
    assert position(rows, view, Setup(chosen=9)) == 0


def test_everything_that_can_be_clicked_is_where_it_is_shown() -> None:
    made = busy("Agents")
    frame = compose(made, LOOK, 80, 24)
    for label, command, what in (
        ("4 Sessions", Command.VIEW, 3),
        ("errors", "sort", "errors"),
        ("Explore", "row", "Explore"),
        ("/ filter", Command.FILTER, None),
    ):
        column, row = find(frame, label)
        (spot,) = [
            each for each in frame.spots if each.row == row and each.left <= column < each.right
        ]
        assert (spot.command, spot.what) == (command, what)
    with pytest.raises(LookupError):
        find(frame, "nowhere")


def test_old_data_is_grey_and_has_an_age() -> None:
    made = busy("Requests")
    made.away = Unavailable("daemon-unavailable", "no CCO daemon serves /run/cco.sock")
    later = LOOK._replace(now=NOW.replace(minute=32, second=0))
    frame = compose(made, later, 80, 24)
    lines = text_of(frame)
    assert "data of 1m20s ago" in lines[3]
    assert "D start it" in lines[3]
    styles = {style for line in frame.lines[4:-1] for style, text in line if text.strip()}
    assert styles <= {"stale", "bad", "key", "head", "select"}
    assert len(lines) == 24


def test_refused_question_is_told_where_its_answer_would_be() -> None:
    made = model("Requests")
    made.requests = {}
    made.troubles["recent"] = StoreError("ledger-damaged", "the ledger is damaged", hint="Wait")
    assert any("the ledger is damaged. Wait" in line for line in screen(made))
    made.view = NAMES.index("Sessions")
    made.documents["sessions"] = {"sessions": []}
    assert any("no session is alive" in line for line in screen(made))


def test_nothing_to_show_is_told_by_what_to_do() -> None:
    made = Model(seen=NOW, view=1, documents={"recent": True})
    assert any("launch Claude Code with: cco" in line for line in screen(made))
    made.setup("Requests").filter = "zebra"
    assert any("no line with 'zebra' in it" in line for line in screen(made))


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_nothing_is_called_empty_before_it_is_known(number: int) -> None:
    made = Model(view=number)
    lines = "\n".join(screen(made)[3:-1])
    assert "asking" in lines
    for words in ("no session", "no request", "no agent", "no line", "0 alive", "0 known"):
        assert words not in lines
    made.away = Unavailable("daemon-unavailable", "away")
    assert any("not known, for the daemon is away" in line for line in screen(made))


def test_foot_shows_what_is_asked_typed_or_told() -> None:
    made = model()
    assert "? help" in screen(made)[-1]
    assert "every 5s" in screen(made)[-1]
    made.setup("Overview").filter = "日本"
    assert "/日本 every 5s" in screen(made)[-1]
    made.notice = "written: x.json"
    assert screen(made)[-1].startswith(" written: x.json")
    made.typed = "go"
    assert screen(made)[-1].startswith(" /go")


def test_details_are_whole_however_long_a_name_is() -> None:
    made = model("Requests", limits=limits())
    name = "/".join(f"日本{number}" for number in range(700))[:4000]
    made.sheet = Sheet("details", request(project=name))
    seen: list[str] = []
    for top in range(0, 200, 10):
        made.sheet.top = top
        lines = screen(made)
        seen += [line.strip() for line in lines[4:-1] if line.strip() not in seen]
    joined = "".join(seen)
    assert name in joined
    assert "latencyMs" in joined
