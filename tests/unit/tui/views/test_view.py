# SPDX-License-Identifier: Apache-2.0
"""What all views share."""

from cco.tui.text import line_width, plain
from cco.tui.views.view import members, section
from tests.unit.tui.samples import ASCII, LOOK, shown


def test_section_is_a_rule_with_a_title() -> None:
    line = section("Title", 40, LOOK, [("", "12 of them")])
    assert line_width(line) == 40
    assert plain(line).startswith("─ Title ─ 12 of them ──")
    assert plain(section("Title", 20, ASCII)) == "- Title " + "-" * 12
    assert plain(section("Title", 4, ASCII)) == "- Title "  # cut by whoever has no room


def test_members_are_shown_as_they_are() -> None:
    row = {
        "name": "x\n",
        "none": None,
        "flag": True,
        "empty": [],
        "list": ["a", 1],
        "in": {"a": 1},
        "took": 8.623677999821666,
    }
    assert [shown(line) for line in members(row, LOOK)] == [
        "name   x",
        "none   -",
        "flag   true",
        "empty  -",
        "list   a, 1",
        "in.a   1",
        "took   8.623678",
    ]
    assert members({}, LOOK) == []
