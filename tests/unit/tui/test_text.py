# SPDX-License-Identifier: Apache-2.0
"""Text on a grid of columns: nothing breaks out of its place, whatever a name holds."""

import pytest

from cco.tui.text import (
    MAX_CHARS,
    Line,
    beside,
    clean,
    cut,
    fit,
    fit_line,
    line_width,
    plain,
    width,
)

NAMES = [
    "plain",
    "/home/alice/日本語プロジェクト/api",
    "cafe\u0301",
    "\u0301first",
    "z\u0300\u0301\u0302\u0303\u0304algo",
    "tab\tand\nline\x1b[31mred",
    "\u202eright to left",
    "👩\u200d💻 \ufe0f 👍🏽",
    "한국어",
    "\x00\x7f\udc80",
    "ไทย",
    "مرحبا",
    "x" * 4000,
    "日" * 4000,
    "",
]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain", "plain"),
        ("a\tb\nc", "a b c"),
        ("\x1b[31m", "\N{REPLACEMENT CHARACTER}[31m"),  # no escape reaches the terminal
        ("\u202eabc\u200b", "abc"),
        ("cafe\u0301", "caf\u00e9"),
        ("x\u0300\u0301\u0302\u0303", "x\u0300\u0301"),  # no towers
        ("\u0301x", "x"),
        ("\udc80", "\N{REPLACEMENT CHARACTER}"),
        ("👍🏽\ufe0f", "👍"),
    ],
)
def test_clean_leaves_nothing_of_unknown_width(given: str, shown: str) -> None:
    assert clean(given) == shown


def test_clean_for_ascii_is_ascii() -> None:
    assert clean("日a\té", ascii_only=True) == "?a ?"


def test_clean_cuts_what_no_terminal_could_show() -> None:
    assert len(clean("x" * 10**6)) == MAX_CHARS


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("columns", [0, 1, 2, 3, 7, 20, 80])
def test_fit_takes_exactly_its_columns(name: str, columns: int) -> None:
    text = clean(name)
    for shown in (fit(text, columns), fit(text, columns, right=True), fit(text, columns, dots="")):
        assert width(shown) == columns
    assert width(cut(text, columns)) <= columns
    assert width(cut(text, columns, keep_end=True)) <= columns


@pytest.mark.parametrize(
    ("given", "columns", "keep_end", "shown"),
    [
        ("abcdef", 6, False, "abcdef"),
        ("abcdef", 4, False, "abc…"),
        ("abcdef", 4, True, "…def"),
        ("日本語", 4, False, "日…"),  # half a character has no place
        ("日本語", 5, False, "日本…"),
        ("日本語", 4, True, "…語"),
        ("abcde\u0300", 3, True, "…de\u0300"),
        ("abc", 1, False, "…"),
        ("abc", 0, False, ""),
    ],
)
def test_cut_says_that_something_is_missing(
    given: str, columns: int, keep_end: bool, shown: str
) -> None:
    assert cut(given, columns, keep_end=keep_end) == shown


def test_lines_are_filled_and_cut() -> None:
    line: Line = [("a", "one "), ("b", "two")]
    assert plain(fit_line(line, 9)) == "one two  "
    assert fit_line(line, 6) == [("a", "one "), ("b", "t…")]
    assert line_width(line) == 7


def test_what_stands_right_gives_way() -> None:
    left: Line = [("", "left")]
    assert plain(beside(left, [("", "right")], 12)) == "left   right"
    assert plain(beside(left, [("", "right")], 9)) == "left     "
