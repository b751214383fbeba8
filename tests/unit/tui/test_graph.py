# SPDX-License-Identifier: Apache-2.0
"""Graphs of text: as high as the value, as wide as there is room, in every set of characters."""

import pytest

from cco.tui.graph import Charset, bar, columns

EMPTY_BRAILLE = "\u2800"


@pytest.mark.parametrize(
    ("charset", "drawn"),
    [
        (Charset.BRAILLE, ["\u2800⣼", "⣼⣿"]),
        (Charset.BLOCK, ["  ▄█", "▄███"]),
        (Charset.ASCII, ["  .#", ":###"]),
    ],
)
def test_graph_rises(charset: Charset, drawn: list[str]) -> None:
    width = 2 if charset is Charset.BRAILLE else 4
    assert columns([2, 4, 6, 8], width=width, height=2, charset=charset) == drawn


@pytest.mark.parametrize("charset", Charset)
@pytest.mark.parametrize("count", [0, 1, 7, 60, 500])
def test_graph_has_the_size_that_was_asked_for(charset: Charset, count: int) -> None:
    drawn = columns([1.0] * count, width=37, height=4, charset=charset)
    assert [len(line) for line in drawn] == [37] * 4


@pytest.mark.parametrize("charset", Charset)
def test_smallest_value_can_be_seen_and_nothing_is_nothing(charset: Charset) -> None:
    drawn = columns([1e-9, 1000.0, 0.0, 0.0], width=4, height=1, charset=charset)[0]
    blank = {" ", EMPTY_BRAILLE}
    assert drawn[-4 if charset is not Charset.BRAILLE else 0] not in blank
    assert drawn[-1] in blank


def test_newest_values_stay_where_there_is_no_room() -> None:
    assert columns([9, 9, 0, 9], width=2, height=1, charset=Charset.BLOCK) == [" █"]


def test_few_values_are_drawn_wider() -> None:
    assert columns([1, 2], width=4, height=1, charset=Charset.BLOCK) == ["▄▄██"]


@pytest.mark.parametrize(
    ("share", "full"),
    [(None, 0), (0.0, 0), (0.001, 1), (0.5, 5), (0.999, 9), (1.0, 10), (7.0, 10), (-1.0, 0)],
)
def test_bar_is_full_only_when_it_is(share: float | None, full: int) -> None:
    for charset in Charset:
        parts = bar(share, 10, charset)
        assert (len(parts[0]), len(parts[1])) == (full, 10 - full)


@pytest.mark.parametrize("charset", Charset)
@pytest.mark.parametrize(("count", "width"), [(60, 38), (24, 38), (60, 58), (1, 7), (500, 7)])
def test_values_take_the_whole_width(charset: Charset, count: int, width: int) -> None:
    (drawn,) = columns([1.0] * count, width=width, height=1, charset=charset)
    assert not set(drawn) & {" ", EMPTY_BRAILLE}
