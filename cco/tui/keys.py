# SPDX-License-Identifier: Apache-2.0
"""The keys: the one table that the dashboard obeys, that its help shows and the manual is of."""

from enum import StrEnum
from typing import Final, NamedTuple


class Command(StrEnum):
    """What a key does."""

    HELP = "help"
    BACK = "back"
    VIEW = "view"
    NEXT = "next"
    PREVIOUS = "previous"
    UP = "up"
    DOWN = "down"
    PAGE_UP = "page up"
    PAGE_DOWN = "page down"
    FIRST = "first"
    LAST = "last"
    DETAILS = "details"
    FILTER = "filter"
    SORT = "sort"
    REVERSE = "reverse"
    PERIOD = "period"
    LEVEL = "level"
    PROJECT = "project"
    STATE = "state"
    REFRESH = "refresh"
    PAUSE = "pause"
    SLOWER = "slower"
    FASTER = "faster"
    CLEAR = "clear"
    EXPORT = "export"
    START = "start"


class Binding(NamedTuple):
    """Keys that do one thing."""

    keys: tuple[str, ...]
    """As urwid names them."""
    shown: str
    """As people read them."""
    command: Command
    words: str
    group: str
    hint: str = ""
    """One word for the line at the bottom; empty = not there."""


MOVE: Final = "Move"
SHOW: Final = "Show"
DO: Final = "Do"

BINDINGS: Final = (
    Binding(tuple("1234567"), "1 - 7", Command.VIEW, "the view of that number", MOVE),
    Binding(("tab", "right", "l"), "Tab l →", Command.NEXT, "the next view", MOVE),
    Binding(
        ("shift tab", "left"), "S-Tab ←", Command.PREVIOUS, "the view before (h is help)", MOVE
    ),
    Binding(("up", "k"), "↑ k", Command.UP, "the line above", MOVE),
    Binding(("down", "j"), "↓ j", Command.DOWN, "the line below", MOVE),
    Binding(("page up", "ctrl b"), "PgUp", Command.PAGE_UP, "a page back", MOVE),
    Binding(("page down", "ctrl f", " "), "PgDn", Command.PAGE_DOWN, "a page on", MOVE),
    Binding(("home", "g"), "g Home", Command.FIRST, "the first, and stay there", MOVE),
    Binding(("end", "G"), "G End", Command.LAST, "the last line", MOVE),
    Binding(("q", "esc"), "q Esc", Command.BACK, "back; at the top q ends", MOVE, "quit"),
    Binding(("?", "h", "f1"), "? h", Command.HELP, "this help", SHOW, "help"),
    Binding(("enter", "d"), "d Enter", Command.DETAILS, "details of the line", SHOW, "details"),
    Binding(("/",), "/", Command.FILTER, "lines with a text in them", SHOW, "filter"),
    Binding(("s",), "s", Command.SORT, "sort by the next column", SHOW, "sort"),
    Binding(("S",), "S", Command.REVERSE, "the other way round", SHOW),
    Binding(("t",), "t", Command.PERIOD, "another period (Agents)", SHOW),
    Binding(("v",), "v", Command.LEVEL, "another level (Log)", SHOW),
    Binding(("a",), "a", Command.PROJECT, "this project, or all", SHOW),
    Binding(("w",), "w", Command.STATE, "warnings, limits and budgets", SHOW),
    Binding(("r", "f5", "ctrl l"), "r", Command.REFRESH, "refresh now", DO),
    Binding(("p",), "p", Command.PAUSE, "pause, go on", DO, "pause"),
    Binding(("+", "="), "+", Command.SLOWER, "refresh less often", DO),
    Binding(("-", "_"), "-", Command.FASTER, "refresh more often", DO),
    Binding(("e",), "e", Command.EXPORT, "export, as JSON or CSV", DO, "export"),
    Binding(("c",), "c", Command.CLEAR, "clear the cache; asks first", DO),
    Binding(("D",), "D", Command.START, "start the daemon when away", DO),
)

BY_KEY: Final = {key: binding.command for binding in BINDINGS for key in binding.keys}


def hints() -> list[tuple[str, str, Command]]:
    """Return key, word and command for the line at the bottom, the most wanted first."""
    order = (Command.HELP, Command.BACK, Command.DETAILS, Command.FILTER, Command.SORT)
    found = [binding for binding in BINDINGS if binding.hint]
    found.sort(key=lambda each: order.index(each.command) if each.command in order else len(order))
    return [
        (binding.keys[0].replace("enter", "⏎"), binding.hint, binding.command) for binding in found
    ]
