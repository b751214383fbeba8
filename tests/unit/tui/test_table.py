# SPDX-License-Identifier: Apache-2.0
"""Rows in columns: filtered, sorted, and never wider than the terminal."""

from typing import Any

import pytest

from cco.tui.screen import VIEWS
from cco.tui.table import Column, Setup, arrange, draw, head, place
from cco.tui.text import line_width, plain
from tests.unit.tui.samples import ASCII, LOOK

COLUMNS = (
    Column(title="name", show=lambda row, _: row["name"], value=lambda row: row["name"], low=6),
    Column(
        title="cost",
        show=lambda row, _: str(row["cost"]),
        value=lambda row: row["cost"],
        low=4,
        high=6,
        right=True,
        falls=True,
    ),
    Column(title="path", show=lambda row, _: row["path"], low=8, keep_end=True, drop=1),
)
ROWS: list[dict[str, Any]] = [
    {"name": "bob", "cost": 2, "path": "/x"},
    {"name": "Alice", "cost": None, "path": "/y"},
    {"name": "carol", "cost": 30, "path": "/home/carol/日本語"},
]


def names(**setup: Any) -> list[str]:
    return [row["name"] for row in arrange(ROWS, COLUMNS, Setup(**setup), LOOK)]


def test_rows_come_as_they_are_told() -> None:
    assert names() == ["bob", "Alice", "carol"]
    assert names(reverse=True) == ["carol", "Alice", "bob"]


def test_filter_looks_at_all_that_is_shown_whatever_the_case() -> None:
    assert names(filter="ALI") == ["Alice"]
    assert names(filter="日本") == ["carol"]
    assert names(filter="nobody") == []


def test_sorted_by_a_figure_the_largest_comes_first_and_unknown_last() -> None:
    assert names(sort="cost") == ["carol", "bob", "Alice"]
    assert names(sort="cost", reverse=True) == ["bob", "carol", "Alice"]
    assert names(sort="name") == ["Alice", "bob", "carol"]
    assert names(sort="path") == ["bob", "Alice", "carol"]  # cannot be sorted by


@pytest.mark.parametrize("room", [17, 20, 40, 300])
def test_columns_take_the_room_there_is(room: int) -> None:
    placed, gap = place(COLUMNS, room)
    assert sum(each.width for each in placed) + gap * (len(placed) - 1) == room
    for each in placed:
        assert each.width >= each.column.low
        assert not each.column.high or each.width <= each.column.high


def test_what_matters_least_goes_first() -> None:
    assert [each.column.title for each in place(COLUMNS, 19)[0]] == ["name", "cost"]
    assert len(place(COLUMNS, 20)[0]) == 3
    placed, _ = place(COLUMNS, 5)  # less than there can be
    assert [each.column.title for each in placed] == ["name", "cost"]


def test_row_is_drawn_in_its_columns() -> None:
    placed, gap = place(COLUMNS, 22)
    line = draw(ROWS[2], placed, gap, LOOK)
    assert line_width(line) == 22
    assert plain(head(placed, gap, Setup(), LOOK)).split() == ["name", "cost", "path"]
    assert "/home" not in plain(line)
    assert "日本語" in plain(line)  # the end of a path tells it from others


def test_head_says_what_is_sorted_by_and_how() -> None:
    placed, gap = place(COLUMNS, 40)
    assert "cost▾" in plain(head(placed, gap, Setup(sort="cost"), LOOK))
    assert "name▴" in plain(head(placed, gap, Setup(sort="name"), LOOK))
    assert "cost^" in plain(head(placed, gap, Setup(sort="cost", reverse=True), ASCII))


def test_chosen_row_is_told_by_its_style() -> None:
    placed, gap = place(COLUMNS, 40)
    assert {style for style, _ in draw(ROWS[0], placed, gap, LOOK, chosen=True)} == {"select"}


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_columns_of_every_view_fit_into_the_smallest_terminal(view: Any) -> None:
    placed, gap = place(view.columns, 78)
    assert sum(each.width for each in placed) + gap * (len(placed) - 1) <= 78
    for column in view.columns:
        if not column.drop:
            assert column in [each.column for each in placed]
        # A title that is cut says nothing; the arrow may take its last letter.
        assert len(column.title) <= column.low
