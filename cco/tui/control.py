# SPDX-License-Identifier: Apache-2.0
"""What keys and clicks do to the model; whatever reaches outside is left to its owner."""

from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from cco.tui.keys import BY_KEY, Command
from cco.tui.model import LEVELS, PERIODS, Model, Question, Sheet
from cco.tui.screen import VIEWS, Frame, Spot, compose, position
from cco.tui.table import Look, Row, Setup
from cco.tui.text import clean
from cco.tui.views import agents, log
from cco.tui.views.view import View

MAX_FILTER: Final = 200

OF_LINES: Final = frozenset({Command.FILTER, Command.SORT, Command.REVERSE, Command.EXPORT})
"""What is about the lines of a view takes away the sheet over them, so that they are seen."""

CLEAR: Final = Question(
    "Forget all answers in the response cache? y = yes, any other key = no",
    {"y": "clear", "Y": "clear"},
)
EXPORT: Final = Question(
    "Export these lines: j = JSON, c = CSV, any other key = no", {"j": "json", "c": "csv"}
)


class Actions(Protocol):
    """What reaches outside."""

    def refresh(self) -> None:
        """Ask the daemon now."""

    def do(self, name: str) -> None:
        """Do ``clear``, ``json``, ``csv`` or ``start``; the notice comes later."""

    def end(self) -> None:
        """End the dashboard."""


class Control:
    """Takes keys and clicks.

    Args:
        model: that they change.
        actions: what reaches outside.
        look: of now.
    """

    def __init__(self, model: Model, actions: Actions, look: Callable[[], Look]) -> None:
        self.model = model
        self._actions = actions
        self._look = look
        self._frame = Frame([], [])
        self._size = (0, 0)
        self._is_changed = False
        """Since the frame was made."""
        self._commands: dict[Command, Callable[[], None]] = {
            Command.HELP: lambda: self._open("help"),
            Command.STATE: lambda: self._open("state"),
            Command.DETAILS: self._details,
            Command.BACK: self._back,
            Command.NEXT: lambda: self._show((self.model.view + 1) % len(VIEWS)),
            Command.PREVIOUS: lambda: self._show((self.model.view - 1) % len(VIEWS)),
            Command.UP: lambda: self.scroll(-1),
            Command.DOWN: lambda: self.scroll(1),
            Command.PAGE_UP: lambda: self.scroll(-self._frame.page),
            Command.PAGE_DOWN: lambda: self.scroll(self._frame.page),
            Command.FIRST: lambda: self.scroll(-(10**6)),
            Command.LAST: lambda: self.scroll(10**6),
            Command.FILTER: self._type,
            Command.SORT: self._sort,
            Command.REVERSE: self._reverse,
            Command.PERIOD: self._period,
            Command.LEVEL: self._level,
            Command.PROJECT: self._project,
            Command.REFRESH: actions.refresh,
            Command.PAUSE: self._pause,
            Command.SLOWER: lambda: self._interval(1),
            Command.FASTER: lambda: self._interval(-1),
            Command.CLEAR: lambda: self._ask(CLEAR),
            Command.EXPORT: lambda: self._ask(EXPORT),
            Command.START: self._start,
        }

    @property
    def view(self) -> View:
        """The view that is shown."""
        return VIEWS[self.model.view]

    @property
    def setup(self) -> Setup:
        """What is set up in it."""
        return self.model.setup(self.view.name)

    def frame(self, columns: int, rows: int) -> Frame:
        """Return what is to be seen."""
        self._frame = compose(self.model, self._look(), columns, rows)
        self._size, self._is_changed = (columns, rows), False
        return self._frame

    def rows(self) -> list[Row]:
        """Return the rows of the table as they were last seen, those out of sight too."""
        return list(self._frame.rows)

    @property
    def now(self) -> datetime:
        """The moment of what is to be seen."""
        return self._look().now

    def press(self, key: str) -> bool:
        """Take a key; say whether it means anything."""
        if self._is_changed:
            # Keys may come faster than the screen is drawn: each is for what it would show by now.
            self.frame(*self._size)
        self._is_changed = True
        model = self.model
        if model.question:
            question, model.question = model.question, None
            if action := question.choices.get(key):
                self._actions.do(action)
            return True
        if model.typed is not None:
            return self._typed(key)
        model.notice = ""
        command = BY_KEY.get(key)
        if command is None:
            return False
        if model.sheet and command is Command.HELP and key == "h":
            command = Command.BACK  # the left of hjkl
        if command in OF_LINES:
            model.sheet = None
        if command is Command.VIEW:
            self._show(int(key) - 1)
        else:
            self._commands[command]()
        return True

    def click(self, spot: Spot) -> None:
        """Take a click."""
        self.model.notice = ""
        if spot.command == "row":
            rows = self._frame.rows
            before = position(rows, self.view, self.setup)
            if rows and self.view.key(rows[before]) == spot.what:
                self._details()
            else:
                self.setup.chosen = spot.what
        elif spot.command == "sort":
            setup = self.setup
            setup.reverse = not setup.reverse if setup.sort == spot.what else False
            setup.sort, setup.chosen, setup.top = str(spot.what), None, 0
        elif spot.command is Command.VIEW:
            self._show(int(str(spot.what)))
        else:
            self._commands[Command(spot.command)]()

    def scroll(self, lines: int) -> None:
        """Move the cursor, or the lines of a sheet."""
        if self.model.sheet:
            self.model.sheet.top = max(0, self.model.sheet.top + lines)
            return
        rows, setup = self._frame.rows, self.setup
        if not rows:
            return
        at = min(max(0, position(rows, self.view, setup) + lines), len(rows) - 1)
        # The first line stays the cursor's, whatever comes into it.
        setup.chosen = self.view.key(rows[at]) if at else None

    def _show(self, view: int) -> None:
        self.model.sheet = None
        if view != self.model.view:
            self.model.view = view
            self._actions.refresh()

    def _open(self, kind: str) -> None:
        self.model.sheet = Sheet(kind)

    def _details(self) -> None:
        rows = self._frame.rows
        if rows and not self.model.sheet:
            self.model.sheet = Sheet("details", rows[position(rows, self.view, self.setup)])

    def _back(self) -> None:
        if self.model.sheet:
            self.model.sheet = None
        elif self.setup.filter:
            self.setup.filter = ""
        else:
            self._actions.end()

    def _type(self) -> None:
        self.model.typed = self.setup.filter

    def _typed(self, key: str) -> bool:
        model = self.model
        text = model.typed or ""
        if key == "enter":
            model.typed = None
        elif key == "esc":
            model.typed, text = None, ""
        elif key in ("backspace", "ctrl h"):
            model.typed = text = text[:-1]
        elif key == "ctrl u":
            model.typed = text = ""
        elif len(key) == 1 and clean(key) == key and len(text) < MAX_FILTER:
            model.typed = text = text + key
        self.setup.filter = text
        self.setup.chosen = None
        return True

    def _sort(self) -> None:
        titles = ["", *(each.title for each in self.view.columns if each.value is not None)]
        setup = self.setup
        at = titles.index(setup.sort) if setup.sort in titles else 0
        setup.sort, setup.reverse = titles[(at + 1) % len(titles)], False
        setup.chosen, setup.top = None, 0
        self.model.notice = f"sorted by {setup.sort}" if setup.sort else "in the usual order"

    def _reverse(self) -> None:
        self.setup.reverse = not self.setup.reverse
        self.setup.chosen, self.setup.top = None, 0

    def _period(self) -> None:
        if self.view is not agents.VIEW:  # a change that nobody sees would wait there
            return
        self.model.period = (self.model.period + 1) % len(PERIODS)
        self.model.documents.pop("agents", None)
        self._actions.refresh()

    def _level(self) -> None:
        if self.view is log.VIEW:
            self.model.level = (self.model.level + 1) % len(LEVELS)

    def _project(self) -> None:
        self.model.switch_project()
        self._actions.refresh()

    def _pause(self) -> None:
        self.model.is_paused = not self.model.is_paused
        if not self.model.is_paused:
            self._actions.refresh()

    def _interval(self, step: int) -> None:
        self.model.change_interval(step)
        self._actions.refresh()

    def _ask(self, question: Question) -> None:
        self.model.question = question

    def _start(self) -> None:
        if self.model.away and not self.model.is_starting:
            self.model.is_starting = True
            self._actions.do("start")
        elif not self.model.away:
            self.model.notice = "the daemon runs already"
