# SPDX-License-Identifier: Apache-2.0
"""What a dashboard that stays open takes of the wire, and that it takes no more as time goes by."""

from pathlib import Path

import pytest

from tests.daemon import Daemon
from tests.integration.dashboard import dashboard, dashboard_of, fill, rows
from tests.mounting import wait_until
from tests.wire import Counter, counted

pytestmark = [pytest.mark.needs("tmux", "fuse"), pytest.mark.timeout(240)]

REFRESH_BYTES = 2048
VIEWS = ("Overview", "Requests", "Agents", "Sessions", "Upstreams", "Log", "Machine")
QUICK = "[tui]\nrefresh_s = 0.5\n"
ROUNDS = 40


def through(cco: Daemon) -> tuple[Path, dict[str, str]]:
    """Return a runtime directory beside the daemon's, and the environment that leads there."""
    beside = cco.base / "beside"
    beside.mkdir()
    return beside / "cco.sock", {"CCO_RUNTIME_DIR": str(beside)}


def questions(view: str) -> int:
    """Return how many questions a refresh of a view has, health and limits included."""
    return {"Overview": 5, "Log": 2}.get(view, 3)


def wait_for_rounds(counter: Counter, count: int, view: str) -> None:
    wanted = counter.connections + count * questions(view)
    wait_until(lambda: counter.connections >= wanted, f"{count} refreshes")


def test_refresh_costs_less_than_two_kilobytes_in_every_view(cco: Daemon) -> None:
    fill(cco, rows(300))
    cco.configure(QUICK)
    cco.start()
    cco.launch()
    socket, environ = through(cco)
    with counted(socket, cco.socket) as counter, dashboard(cco, environ=environ) as shown:
        for number, view in enumerate(VIEWS, start=1):
            shown.press(str(number))
            shown.wait_for(f"[{number} {view}]")
            wait_for_rounds(counter, 3, view)  # what is new is told, and told no more
            before, bytes_before = counter.connections, counter.total
            wait_for_rounds(counter, 6, view)
            rounds = (counter.connections - before) / questions(view)
            # A round that is under way, or a minute that begins, counts in part.
            assert (counter.total - bytes_before) / rounds <= REFRESH_BYTES, view


def test_memory_of_an_open_dashboard_does_not_grow(cco: Daemon) -> None:
    fill(cco, rows(300))
    cco.configure(QUICK)
    cco.start()
    socket, environ = through(cco)
    with counted(socket, cco.socket) as counter, dashboard(cco, environ=environ) as shown:
        shown.wait_for("requests 300")
        process = dashboard_of(cco)
        for number, view in enumerate(VIEWS, start=1):  # everything was used once
            shown.press(str(number))
            wait_for_rounds(counter, 2, view)
        shown.press("1")
        wait_for_rounds(counter, ROUNDS, "Overview")
        before = process.memory_info().rss
        wait_for_rounds(counter, ROUNDS, "Overview")
        assert process.memory_info().rss - before < 256 * 1024
        assert process.num_threads() == 2
