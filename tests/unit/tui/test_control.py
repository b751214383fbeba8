# SPDX-License-Identifier: Apache-2.0
"""Keys, one after the other, and what is to be seen then."""

import pytest

from cco.errors import Unavailable
from cco.tui.control import Control
from cco.tui.keys import BINDINGS
from cco.tui.model import Model
from cco.tui.screen import VIEWS
from tests.unit.tui.samples import LOOK, model, request, text_of


class Done:
    """Notes what would have reached outside."""

    def __init__(self) -> None:
        self.what: list[str] = []

    def refresh(self) -> None:
        self.what.append("refresh")

    def do(self, name: str) -> None:
        self.what.append(name)

    def end(self) -> None:
        self.what.append("end")


class Keyboard:
    """Types into a dashboard."""

    def __init__(self, made: Model) -> None:
        self.done = Done()
        self.control = Control(made, self.done, lambda: LOOK)
        self.model = made
        self.see()

    def see(self) -> str:
        return "\n".join(text_of(self.control.frame(80, 24)))

    def type(self, *keys: str) -> str:
        for key in keys:
            self.control.press(key)
            self.see()
        return self.see()

    @property
    def row(self) -> str:
        """The line with the cursor."""
        return next(line for line in self.see().splitlines() if line.startswith(">"))


@pytest.fixture
def keyboard() -> Keyboard:
    made = model("Requests")
    made.requests = {
        n: request(id=n, time=f"2026-11-22T12:{n:02d}:00.000Z", agent=f"agent {n}", costUsd=n / 8)
        for n in range(1, 41)
    }
    return Keyboard(made)


def test_views_are_reached_by_number_and_by_turns(keyboard: Keyboard) -> None:
    for number, view in enumerate(VIEWS, start=1):
        assert f"[{number} {view.name}]" in keyboard.type(str(number))
    assert "[1 Overview]" in keyboard.type("tab")
    assert "[7 Machine]" in keyboard.type("shift tab")
    assert "[1 Overview]" in keyboard.type("right")
    assert "[7 Machine]" in keyboard.type("left")
    assert "[1 Overview]" in keyboard.type("l")
    assert keyboard.done.what.count("refresh") >= 7  # what comes into sight is asked for at once


def test_cursor_moves_and_stops_at_the_ends(keyboard: Keyboard) -> None:
    assert ">12:40:00" in keyboard.row
    keyboard.type("j", "down")
    assert ">12:38:00" in keyboard.row
    keyboard.type("k")
    assert ">12:39:00" in keyboard.row
    keyboard.type("page down")
    page_down = keyboard.row
    assert page_down < ">12:39:00"
    keyboard.type("page up")
    assert ">12:39:00" in keyboard.row
    keyboard.type("G")
    assert ">12:01:00" in keyboard.row
    keyboard.type("j")
    assert ">12:01:00" in keyboard.row
    keyboard.type("g", "up")
    assert ">12:40:00" in keyboard.row


def test_details_open_and_close(keyboard: Keyboard) -> None:
    for opening, closing in (("d", "q"), ("enter", "esc"), ("d", "h")):
        assert "agent 40" in keyboard.type(opening)
        assert "requestId" in keyboard.see()
        assert "requestId" not in keyboard.type(closing)
    assert "end" not in keyboard.done.what


def test_details_are_of_the_row_that_was_chosen_whatever_comes(keyboard: Keyboard) -> None:
    keyboard.type("j", "d")
    keyboard.model.requests[99] = request(id=99, time="2026-11-22T13:00:00.000Z")
    assert "agent 39" in keyboard.see()


def test_sheet_scrolls(keyboard: Keyboard) -> None:
    first = keyboard.type("d")
    assert "more below" in first
    assert keyboard.type("j", "j") != first
    assert keyboard.type("g") == first
    assert "more below" not in keyboard.type("G")


def test_help_opens_by_all_its_keys(keyboard: Keyboard) -> None:
    for key in ("?", "h", "f1"):
        assert "─ Keys ─" in keyboard.type(key)
        assert "─ Keys ─" not in keyboard.type("q")


def test_filter_works_while_it_is_typed(keyboard: Keyboard) -> None:
    shown = keyboard.type("/", *"agent 17")
    assert "agent 17" in shown
    assert ">12:17:00" in keyboard.row
    assert "12:40:00" not in shown
    assert "agent 1/" not in keyboard.type("backspace")
    assert "12:01:00" in keyboard.see()
    keyboard.type("7", "enter")
    assert "/agent 17" in keyboard.see().splitlines()[-1]
    assert "12:40:00" in keyboard.type("q")  # back is without the filter, before it is the end
    assert "end" not in keyboard.done.what


def test_filter_is_dropped_by_esc_and_emptied(keyboard: Keyboard) -> None:
    keyboard.type("/", *"zzz")
    assert "12:40:00" in keyboard.type("esc")
    keyboard.type("/", *"zzz", "ctrl u")
    assert "12:40:00" in keyboard.see()
    # Keys with a meaning are letters here, and what is no letter is nothing.
    keyboard.type(*"q?1", "f5", "\x1b", "日")
    assert keyboard.model.setup("Requests").filter == "q?1日"
    keyboard.type(*"x" * 500)
    assert len(keyboard.model.setup("Requests").filter) == 200


def test_sorting_goes_round_and_back(keyboard: Keyboard) -> None:
    seen = set()
    for _ in range(20):
        keyboard.type("s")
        seen.add(keyboard.model.setup("Requests").sort)
    assert seen >= {"", "time", "cost", "took", "agent"}
    while keyboard.model.setup("Requests").sort != "cost":
        keyboard.type("s")
    assert "sorted by cost" in keyboard.see()
    assert ">12:40:00" in keyboard.row
    keyboard.type("S")
    assert ">12:01:00" in keyboard.row


def test_end_is_at_the_top_only(keyboard: Keyboard) -> None:
    keyboard.type("q")
    assert keyboard.done.what == ["end"]


@pytest.mark.parametrize(("key", "done"), [("y", ["clear"]), ("n", []), ("q", []), ("enter", [])])
def test_cache_is_cleared_after_a_yes_only(keyboard: Keyboard, key: str, done: list[str]) -> None:
    assert "Forget all answers" in keyboard.type("c")
    assert "Forget" not in keyboard.type(key)
    assert keyboard.done.what == done


@pytest.mark.parametrize(("key", "done"), [("j", ["json"]), ("c", ["csv"]), ("esc", [])])
def test_export_asks_for_the_form(keyboard: Keyboard, key: str, done: list[str]) -> None:
    assert "j = JSON, c = CSV" in keyboard.type("e")
    keyboard.type(key)
    assert keyboard.done.what == done
    assert len(keyboard.control.rows()) == 40


def test_export_under_a_sheet_has_the_lines_of_the_view(keyboard: Keyboard) -> None:
    keyboard.type("?", "e")
    assert len(keyboard.control.rows()) == 40
    assert "Export these lines" in keyboard.see()


def test_order_is_changed_where_it_is_seen(keyboard: Keyboard) -> None:
    keyboard.type("w", "s")
    assert keyboard.model.sheet is None


def test_pause_and_interval(keyboard: Keyboard) -> None:
    assert "paused" in keyboard.type("p")
    assert "paused" not in keyboard.type("p")
    assert "every 10s" in keyboard.type("+")
    assert "every 2s" in keyboard.type("-", "-")


def test_daemon_is_started_only_when_it_is_away(keyboard: Keyboard) -> None:
    assert "runs already" in keyboard.type("D")
    keyboard.model.away = Unavailable("daemon-unavailable", "away")
    keyboard.type("D", "D")
    assert keyboard.done.what == ["start"]
    assert "starting it" in keyboard.see()


def test_period_level_and_project(keyboard: Keyboard) -> None:
    keyboard.type("3")
    for words in ("7 days", "30 days", "all time", "today"):
        assert f"Agents, {words}" in keyboard.type("t")
    keyboard.type("6")
    for words in ("warnings shown", "errors shown", "all shown"):
        assert words in keyboard.type("v")
    keyboard.model.other_project = "/home/alice/shop"
    assert "/home/alice/shop" in keyboard.type("a").splitlines()[0]
    assert "all projects" in keyboard.type("a").splitlines()[0]
    assert "How everything stands" in keyboard.type("w")


@pytest.mark.parametrize("key", ["t", "v"])
def test_key_of_another_view_changes_nothing_there(keyboard: Keyboard, key: str) -> None:
    keyboard.type("1", key)
    assert (keyboard.model.period, keyboard.model.level) == (0, 0)


def test_keys_that_come_faster_than_the_screen_mean_what_it_would_show(keyboard: Keyboard) -> None:
    for key in ("3", "j", "d"):  # as over a slow line, where they come together
        keyboard.control.press(key)
    assert keyboard.model.sheet is not None
    assert (keyboard.model.sheet.row or {})["agent"] == "main"  # the second of the agents
    assert "Agents: details" in keyboard.see()


def test_every_key_of_the_table_can_be_pressed_in_every_view() -> None:
    for number in range(1, 8):
        for binding in BINDINGS:
            for key in binding.keys:
                keyboard = Keyboard(model())
                keyboard.type(str(number), key, "esc")


def test_unknown_key_is_nobodys(keyboard: Keyboard) -> None:
    before = keyboard.see()
    assert not keyboard.control.press("f12")
    assert keyboard.see() == before
