# SPDX-License-Identifier: Apache-2.0
"""The dashboard at work: one loop, one feed, and the actions that reach outside.

Threading: everything here belongs to the thread of the loop; the feed wakes it by a pipe.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cco.client import Client
from cco.meter import Meter
from cco.tui import export, palette, status
from cco.tui.control import Control
from cco.tui.feed import Answer, Feed, Query
from cco.tui.logs import LogReader
from cco.tui.model import HEALTH, Model
from cco.tui.screen import VIEWS, Frame, Spot
from cco.tui.table import Look
from cco.tui.terminal import Terminal, judge
from cco.tui.toolkit import raw_screen, urwid
from cco.tui.widget import Dashboard

AWAY_S: Final = 2.0
"""How soon a daemon that is away is asked again, at the latest."""
END_S: Final = 1.0
NOTICE_S: Final = 10.0
"""So long a notice stands where the keys do, if no key takes it away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What the dashboard needs of its surroundings."""

    client: Client
    environ: Mapping[str, str]
    open_log: Callable[[], LogReader]
    """Finds the daemon's log; may take its time."""
    start: Callable[[], object]
    """Starts the daemon; may take its time."""


class App:
    """One dashboard.

    Args:
        model: what is to be shown first.
        outside: its surroundings.
    """

    def __init__(self, model: Model, outside: Outside) -> None:
        self.model = model
        self.control = Control(model, self, self.look)
        self._outside = outside
        self._terminal: Terminal = judge(outside.environ)
        self._meter = Meter()
        self._log: LogReader | None = None
        self._widget = Dashboard(self)
        self._alarm: Any = None
        self._noticed = ""
        self._notice_alarm: Any = None
        urwid.set_encoding("utf-8" if self._terminal.is_utf8 else "ascii")
        self._loop = urwid.MainLoop(
            self._widget, [], screen=_screen(self._terminal), event_loop=urwid.SelectEventLoop()
        )
        self._pipe = self._loop.watch_pipe(self._woken)
        self._feed = Feed(outside.client, self._wake)

    def run(self) -> None:
        """Show it until it is ended."""
        try:
            self.refresh()
            self._loop.run()
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the thread and the pipe."""
        self._feed.close()
        self._loop.remove_watch_pipe(self._pipe)  # its own end of it
        if self._feed.join(END_S):  # else the thread still has ours
            os.close(self._pipe)

    def look(self) -> Look:
        """Return how things look now."""
        return Look(self._terminal.charset, datetime.now(UTC).astimezone())

    def frame(self, columns: int, rows: int) -> Frame:
        """Return what is to be seen."""
        return self.control.frame(columns, rows)

    def press(self, key: str) -> bool:
        """Take a key."""
        is_known = self.control.press(key)
        self._limit_notice()
        self._widget.refresh()
        return is_known

    def click(self, spot: Spot) -> None:
        """Take a click."""
        self.control.click(spot)
        self._widget.refresh()

    def scroll(self, lines: int) -> None:
        """Take a turn of the wheel."""
        self.control.scroll(lines)
        self._widget.refresh()

    # What reaches outside

    def refresh(self) -> None:
        """Ask for all that is in sight."""
        if self._alarm is not None:
            self._loop.remove_alarm(self._alarm)
        model = self.model
        queries = [Query("health", HEALTH), Query("limits", "/api/limits")]
        queries += VIEWS[model.view].queries(model, self.look())
        if VIEWS[model.view].name == "Log":
            queries.append(Query("log", read=self._read_log))
        if VIEWS[model.view].name == "Machine":
            queries.append(Query("own", read=self._measure))
        self._feed.ask(queries)
        wait_s = min(model.interval_s, AWAY_S) if model.away else model.interval_s
        self._alarm = self._loop.set_alarm_in(wait_s, self._tick)

    def do(self, name: str) -> None:
        """Do what was asked for; its notice comes later."""
        client, outside = self._outside.client, self._outside
        if name == "start":
            self._feed.run(name, outside.start)
        elif name == "clear":
            self._feed.run(name, lambda: client.call("POST", "/api/cache/clear"))
        else:
            # The frame's rows are what was seen; the model may change meanwhile.
            rows, view, now = self.control.rows(), self.control.view.name, self.control.now
            self._feed.run(name, lambda: export.write(rows, view, name, now=now))

    def end(self) -> None:
        """End the dashboard."""
        raise urwid.ExitMainLoop

    # Time and answers

    def _tick(self, loop: Any, data: Any) -> None:
        del loop, data
        self._alarm = None
        if self.model.is_paused:
            self._alarm = self._loop.set_alarm_in(self.model.interval_s, self._tick)
        else:
            self.refresh()
        self._widget.refresh()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # the end has begun
            os.write(self._pipe, b"!")

    def _woken(self, data: bytes) -> bool:
        del data
        was_away = self.model.away
        for answer in self._feed.answers():
            if answer.query.name in ("start", "clear", "json", "csv"):
                self._tell(answer)
            else:
                self.model.take(answer, self.control.now)
        if self.model.away and not was_away:
            self._sooner()
        self._limit_notice()
        self._widget.refresh()
        return True

    def _sooner(self) -> None:
        """Ask again soon: the alarm was set when the daemon still answered."""
        if self._alarm is not None:
            self._loop.remove_alarm(self._alarm)
        wait_s = min(self.model.interval_s, AWAY_S)
        self._alarm = self._loop.set_alarm_in(wait_s, self._tick)

    def _limit_notice(self) -> None:
        """Let a notice go in a while: who looks in later is not told of it, but of the keys."""
        if self.model.notice == self._noticed:
            return
        self._noticed = self.model.notice
        if self._notice_alarm is not None:
            self._loop.remove_alarm(self._notice_alarm)
            self._notice_alarm = None
        if self._noticed:
            self._notice_alarm = self._loop.set_alarm_in(NOTICE_S, self._drop_notice)

    def _drop_notice(self, loop: Any, data: Any) -> None:
        del loop, data
        self._notice_alarm, self._noticed, self.model.notice = None, "", ""
        self._widget.refresh()

    def _tell(self, answer: Answer) -> None:
        name, error, done = answer.query.name, answer.error, answer.document
        if name == "start":
            self.model.is_starting = False
        if error is not None:
            self.model.notice = status.sentence(error)
        elif name == "clear":
            self.model.notice = f"{done['cleared']} answers forgotten"
        elif name == "start":
            self.model.notice = "the daemon is started"
            self.refresh()
        else:
            self.model.notice = f"written: {done}"

    # What is read here, in the feed's thread

    def _read_log(self) -> object:
        if self._log is None:
            self._log = self._outside.open_log()
        return self._log.read()

    def _measure(self) -> object:
        found = self._meter.read()
        threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names are enough
        files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        return {"pid": os.getpid(), **found, "threads": threads, "openFiles": files}


def _screen(terminal: Terminal) -> Any:
    """Return urwid's screen with our palette, in as many colours as there are."""
    screen = raw_screen()
    screen.set_terminal_properties(
        colors=terminal.colours, bright_is_bold=terminal.colours == palette.BASIC
    )
    screen.register_palette(palette.entries(terminal.colours))
    return screen
