# SPDX-License-Identifier: Apache-2.0
"""How far a long work is, on one line of a terminal that is gone when it is done."""

import sys
import time
from collections.abc import Callable
from typing import Final

QUIET_S: Final = 1.0
"""Nothing is shown of what is done sooner."""
EVERY_S: Final = 0.2
"""The line changes no more often."""


class Progress:
    """Tells how far a work is.

    Args:
        noun: what is counted, in the plural.
        is_watched: a person sees it; else nothing is written.
        monotonic: the clock.
    """

    def __init__(
        self,
        noun: str,
        *,
        is_watched: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total: int | None = None
        """How many there are; None is not known."""
        self._noun = noun
        self._monotonic = monotonic
        self._done = 0
        self._began = self._shown = monotonic()
        self._is_watched = is_watched
        self._width = 0

    def step(self, count: int) -> None:
        """Note that so many more are done."""
        self._done += count
        now = self._monotonic()
        if self._is_watched and now - self._began >= QUIET_S and now - self._shown >= EVERY_S:
            self._shown = now
            self._write(self._text(now - self._began))

    def close(self) -> None:
        """Take the line away."""
        if self._width:
            self._write("")

    def _text(self, took_s: float) -> str:
        if not self.total:
            return f"cco: {self._done} {self._noun}"
        left_s = took_s / self._done * (self.total - self._done) if self._done else 0
        left = f"{left_s:.0f} s" if left_s < 90 else f"{left_s / 60:.0f} min"
        return f"cco: {self._done} of {self.total} {self._noun}, {left} left"

    def _write(self, text: str) -> None:
        gone = " " * self._width  # what stood there before, which may have been longer
        print(f"\r{gone}\r{text}", end="", file=sys.stderr, flush=True)
        self._width = len(text)
