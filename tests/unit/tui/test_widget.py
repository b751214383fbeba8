# SPDX-License-Identifier: Apache-2.0
"""The widget: rendered at sizes, and clicked by what is written there."""

import pytest

from cco.tui.control import Control
from cco.tui.screen import VIEWS
from cco.tui.toolkit import urwid
from cco.tui.widget import WHEEL_DOWN, WHEEL_UP, Dashboard
from tests.unit.tui.samples import LOOK, find, model, request
from tests.unit.tui.test_control import Done

SIZE = (80, 24)


@pytest.fixture
def dashboard() -> Dashboard:
    urwid.set_encoding("utf-8")
    return Dashboard(Control(model("Agents"), Done(), lambda: LOOK))


def lines(widget: Dashboard, size: tuple[int, int] = SIZE) -> list[str]:
    widget.refresh()
    return [text.decode() for text in widget.render(size).text]


def click(widget: Dashboard, label: str, *, button: int = 1) -> bool:
    """Press a button of the mouse on a text."""
    shown = lines(widget)
    column, row = find(widget._last, label)
    assert label in shown[row]
    return widget.mouse_event(SIZE, "mouse press", button, column, row, True)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (300, 100), (40, 10)])
def test_canvas_has_the_size_that_was_asked_for(
    dashboard: Dashboard, size: tuple[int, int]
) -> None:
    canvas = dashboard.render(size)
    assert (canvas.cols(), canvas.rows()) == size


def test_wide_and_combining_characters_take_their_columns(dashboard: Dashboard) -> None:
    owner = dashboard._owner
    assert isinstance(owner, Control)
    owner.model.view = 1
    owner.model.requests = {
        1: request(agent="日本語のエージェント名です"),
        2: request(id=2, agent="z\u0300\u0301\u0302algo e\u0301"),
    }
    canvas = dashboard.render(SIZE)
    assert (canvas.cols(), canvas.rows()) == SIZE
    for row in canvas.content():
        assert sum(urwid.calc_width(text, 0, len(text)) for _, _, text in row) == 80


def test_tab_is_clicked(dashboard: Dashboard) -> None:
    for number, view in enumerate(VIEWS):
        assert click(dashboard, f"{number + 1} {view.name}")
        assert f"[{number + 1} {view.name}]" in lines(dashboard)[2]


def test_column_is_sorted_by_a_click_and_turned_by_the_next(dashboard: Dashboard) -> None:
    click(dashboard, "errors")
    assert "error▾" in "".join(lines(dashboard))
    first = next(line for line in lines(dashboard) if line.startswith(">"))
    assert first.startswith(">main")
    click(dashboard, "error▾")
    assert "error▴" in "".join(lines(dashboard))


def test_row_is_chosen_by_a_click_and_opened_by_the_next(dashboard: Dashboard) -> None:
    click(dashboard, "Explore")
    assert any(line.startswith(">Explore") for line in lines(dashboard))
    click(dashboard, "Explore")
    assert any("Agents: details" in line for line in lines(dashboard))


def test_key_at_the_bottom_is_clicked(dashboard: Dashboard) -> None:
    click(dashboard, "? help")
    assert any("─ Keys ─" in line for line in lines(dashboard))


def test_wheel_moves_the_cursor(dashboard: Dashboard) -> None:
    lines(dashboard)
    assert dashboard.mouse_event(SIZE, "mouse press", WHEEL_DOWN, 5, 10, True)
    assert any(line.startswith(">Explore") for line in lines(dashboard))
    dashboard.mouse_event(SIZE, "mouse press", WHEEL_UP, 5, 10, True)
    assert any(line.startswith(">Chief") for line in lines(dashboard))


def test_what_means_nothing_is_given_back(dashboard: Dashboard) -> None:
    lines(dashboard)
    assert dashboard.keypress(SIZE, "f12") == "f12"
    assert dashboard.keypress(SIZE, "j") is None
    assert not dashboard.mouse_event(SIZE, "mouse release", 1, 5, 5, True)
    assert not dashboard.mouse_event(SIZE, "mouse press", 3, 5, 5, True)
    assert not dashboard.mouse_event(SIZE, "mouse press", 1, 79, 0, True)
    assert dashboard.selectable()
