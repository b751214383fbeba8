# SPDX-License-Identifier: Apache-2.0
"""The dashboard without its terminal: questions, answers, actions; the loop is driven elsewhere."""

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cco.client import Client
from cco.errors import Unavailable
from cco.tui import app as app_module
from cco.tui.app import App, Outside
from cco.tui.logs import LogLine, LogReader
from cco.tui.model import MAX_REQUESTS, Model
from cco.tui.screen import VIEWS
from cco.tui.text import plain
from cco.tui.toolkit import urwid
from tests.daemon import short_directory
from tests.mounting import wait_until
from tests.unit.tui import samples
from tests.unit.tui.samples import Oracle, targets


class OneLine:
    """A log of one line."""

    def read(self) -> list[LogLine]:
        return [LogLine(1, "", "INFO", "", "the only line")]


Opened = Callable[..., App]


@pytest.fixture
def socket_path() -> Iterator[Path]:
    place = short_directory()
    yield place / "s"
    (place / "s").unlink(missing_ok=True)
    place.rmdir()


@pytest.fixture
def opened(socket_path: Path) -> Iterator[Opened]:
    made: list[App] = []

    def start() -> None:
        raise Unavailable("daemon-failed", "the port is taken", hint="Free it")

    def open_log() -> LogReader:
        return OneLine()

    def make(model: Model | None = None) -> App:
        outside = Outside(
            client=Client(socket_path, timeout_s=20),
            environ={"TERM": "xterm-256color", "LANG": "C.UTF-8"},
            open_log=open_log,
            start=start,
        )
        made.append(App(model or Model(), outside))
        return made[-1]

    yield make
    for app in made:
        settle(app)
        app.close()
    made.clear()
    gc.collect()  # urwid's screen has a pair of sockets, and is known to whom it knows


def settle(app: App) -> str:
    """Wait for all answers; return what is to be seen then."""
    wait_until(lambda: app._woken(b"!") and app._feed.is_idle, "all is answered")
    app._woken(b"!")
    return "\n".join(plain(line) for line in app.frame(80, 24).lines)


def daemon(path: Path) -> Oracle:
    oracle = Oracle(path)
    made = samples.model()
    oracle.answers = {
        "/health": (200, samples.health()),
        "/api/limits": (200, samples.limits()),
        "/api/project/stats": (200, {**samples.today(), "recent": [samples.request()]}),
        "/api/activity": (200, samples.activity()),
        "/api/sessions": (200, made.document("sessions")),
        "/api/upstreams": (200, made.document("upstreams")),
        "/api/machine/stats": (200, samples.machine()),
        "/api/cache/clear": (200, {"cleared": 3, "freedBytes": 9}),
    }
    return oracle


def test_only_what_is_in_sight_is_asked_for(socket_path: Path, opened: Opened) -> None:
    with daemon(socket_path).serving() as oracle:
        app = opened()
        app.refresh()
        assert "$12.35" in settle(app)
        app.press("7")
        assert "dashboard" in settle(app)
        asked = targets(oracle.asked)
        assert len(asked) == 5 + 3
        assert asked[5:][2].startswith("/api/machine/stats")


def test_every_view_is_asked_for_and_shown(socket_path: Path, opened: Opened) -> None:
    with daemon(socket_path).serving():
        app = opened()
        app.refresh()
        for number, view in enumerate(VIEWS, start=1):
            app.press(str(number))
            assert f"[{number} {view.name}]" in settle(app)
            assert not app.model.troubles
        app.press("6")
        assert "the only line" in settle(app)


def test_daemon_away_is_asked_again_soon_and_recovers(socket_path: Path, opened: Opened) -> None:
    app = opened(Model(interval_s=3600))
    app.refresh()
    shown = settle(app)
    assert "daemon away" in shown
    assert "D start it" in shown
    with daemon(socket_path).serving():
        app._tick(None, None)
        assert "daemon away" not in settle(app)
        assert "$12.35" in settle(app)


def test_hundreds_of_refreshes_leave_no_objects(socket_path: Path, opened: Opened) -> None:
    with daemon(socket_path).serving() as oracle:
        app = opened()

        def refresh(rounds: range) -> int:
            for number in rounds:
                row = samples.request(id=number, time=f"2026-11-22T12:30:00.{number:03d}Z")
                figures = samples.today(tokens={**samples.TOKENS, "total": number})
                oracle.answers["/api/project/stats"] = (200, {**figures, "recent": [row]})
                oracle.asked.clear()
                app.refresh()
                settle(app)
            gc.collect()
            return len(gc.get_objects())

        app.model.requests = {n: samples.request(id=n) for n in range(-MAX_REQUESTS, 0)}
        before = refresh(range(1, 50))
        assert refresh(range(50, 250)) - before < 100
        assert len(app.model.requests) == MAX_REQUESTS


def test_paused_dashboard_asks_nothing(socket_path: Path, opened: Opened) -> None:
    with daemon(socket_path).serving() as oracle:
        app = opened()
        app.press("p")
        app._tick(None, None)
        assert "paused" in settle(app)
        assert oracle.asked == []
        app.press("r")  # asked for by hand
        settle(app)
        assert oracle.asked != []


def test_actions_tell_what_came_of_them(
    socket_path: Path, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with daemon(socket_path).serving():
        app = opened()
        app.refresh()
        settle(app)
        app.press("c")
        app.press("y")
        assert "3 answers forgotten" in settle(app)
        app.press("2")
        settle(app)
        app.press("e")
        app.press("j")
        assert "written: cco-requests-" in settle(app)
        (file,) = tmp_path.iterdir()
        assert json.loads(file.read_text()) == [samples.request()]


def test_notice_does_not_stand_before_the_keys_for_ever(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "NOTICE_S", 0.0)
    app = opened()
    app.press("s")
    assert "sorted by" in settle(app)
    loop: Any = app._loop.event_loop
    loop._did_something = True  # urwid 2.1 knows it only while it runs
    loop._loop()  # one turn: what is due is done
    assert app.model.notice == ""
    assert "? help" in settle(app)
    app.press("s")
    app.press("1")  # takes it away at once
    assert app._notice_alarm is None


def test_start_that_fails_says_why(opened: Opened) -> None:
    app = opened()
    app.refresh()
    settle(app)
    app.press("D")
    assert app.model.is_starting
    assert "the port is taken. Free it" in settle(app)
    assert not app.model.is_starting


def test_end_ends_the_loop(opened: Opened) -> None:
    with pytest.raises(urwid.ExitMainLoop):
        opened().press("q")
