# SPDX-License-Identifier: Apache-2.0
"""The one widget: draws a frame, and hands keys and clicks on."""

from typing import Any, Protocol

from cco.tui.screen import Frame, Spot
from cco.tui.toolkit import urwid

WHEEL_UP = 4
WHEEL_DOWN = 5
LEFT_BUTTON = 1


class Owner(Protocol):
    """Whom keys and clicks are for."""

    def frame(self, columns: int, rows: int) -> Frame:
        """Return what is to be seen."""

    def press(self, key: str) -> bool:
        """Take a key; say whether it means anything."""

    def click(self, spot: Spot) -> None:
        """Take a click."""

    def scroll(self, lines: int) -> None:
        """Take a turn of the wheel."""


class Dashboard(urwid.Widget):
    """Draws what its owner makes of a size.

    Args:
        owner: of everything.
    """

    _sizing = frozenset[Any](["box"])  # a text in urwid 2.1, equal to it later
    _selectable = True

    def __init__(self, owner: Owner) -> None:
        super().__init__()
        self._owner = owner
        self._last: Frame = Frame([], [])

    def refresh(self) -> None:
        """Have it drawn anew."""
        self._invalidate()

    def render(self, size: Any, focus: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Return the canvas of a size."""
        del focus
        columns, rows = size
        self._last = self._owner.frame(columns, rows)
        markup: list[Any] = []
        for number, line in enumerate(self._last.lines):
            markup += [] if number == 0 else ["\n"]
            markup += [(style or None, text) for style, text in line if text]
        return urwid.Text(markup or " ", wrap="clip").render((columns,))

    def keypress(self, size: Any, key: str) -> str | None:
        """Take a key; give back what means nothing."""
        del size
        return None if self._owner.press(key) else key

    def mouse_event(
        self,
        size: Any,
        event: str,
        button: int,
        col: int,
        row: int,
        focus: bool,  # noqa: FBT001
    ) -> bool:
        """Take a press of a button or a turn of the wheel."""
        del size, focus
        if not event.endswith("mouse press"):
            return False
        if button in (WHEEL_UP, WHEEL_DOWN):
            self._owner.scroll(-3 if button == WHEEL_UP else 3)
            return True
        if button != LEFT_BUTTON:
            return False
        for spot in self._last.spots:
            if spot.row == row and spot.left <= col < spot.right:
                self._owner.click(spot)
                return True
        return False
