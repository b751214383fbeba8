# SPDX-License-Identifier: Apache-2.0
"""What an open dashboard costs: ``python -m tests.bench.dashboard [MINUTES]``.

Memory and processor at the usual refresh, bytes on the wire in each view, and how memory grows over
so many minutes (2) of a refresh every half second, with requests coming in all the while.
"""

import sys
import time
from pathlib import Path
from typing import Final

import psutil

from cco.meter import parse_rollup
from tests.daemon import Daemon, asking, daemon
from tests.integration.dashboard import dashboard, dashboard_of, fill, rows
from tests.integration.terminal import Terminal
from tests.integration.traffic import post
from tests.wire import Counter, counted

VIEWS: Final = ("Overview", "Requests", "Agents", "Sessions", "Upstreams", "Log", "Machine")
IDLE_S: Final = 30.0
VIEW_S: Final = 12.0


def main(minutes: float) -> None:
    """Measure and print."""
    with daemon() as cco:
        fill(cco, rows(10_000))
        cco.start()
        session = cco.launch()
        beside = cco.base / "beside"
        beside.mkdir()
        with (
            counted(beside / "cco.sock", cco.socket) as counter,
            dashboard(cco, environ={"CCO_RUNTIME_DIR": str(beside)}) as shown,
        ):
            shown.wait_for("requests 10,000")
            _show_idle(cco)
            _show_wire(shown, counter)
            _show_growth(cco, shown, session.id, minutes)


def memory_mb(process: psutil.Process) -> tuple[float, float]:
    """Return the proportional set size, and the pages that are the process's own, in MB.

    The former changes with whoever else runs Python.
    """
    rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
    sizes = parse_rollup(rollup)
    return sizes["Pss"] / 1e6, (sizes["Private_Dirty"] + sizes["Private_Clean"]) / 1e6


def _show_idle(cco: Daemon) -> None:
    process = dashboard_of(cco)
    before = sum(process.cpu_times()[:2])
    time.sleep(IDLE_S)
    percent = 100 * (sum(process.cpu_times()[:2]) - before) / IDLE_S
    pss, own = memory_mb(process)
    print(f"  memory (PSS)            {pss:8.1f} MB   target 20; of its own {own:.1f}")
    print(f"  processor, every 5 s    {percent:8.2f} %    target 1")


def _show_wire(shown: Terminal, counter: Counter) -> None:
    for number, view in enumerate(VIEWS, start=1):
        shown.press(str(number))
        shown.wait_for(f"[{number} {view}]")
        time.sleep(VIEW_S / 2)
        before, began = counter.total, time.monotonic()
        time.sleep(VIEW_S)
        each = (counter.total - before) / (time.monotonic() - began) * 5
        print(f"  wire, {view:<17} {each:8.0f} B    target 2048")


def _show_growth(cco: Daemon, shown: Terminal, session: str, minutes: float) -> None:
    process = dashboard_of(cco)
    shown.press("1", "-", "-", "-", "-")
    shown.wait_for("every 0.5s")
    end, next_at = time.monotonic() + 60 * minutes, 0.0
    while (now := time.monotonic()) < end:
        post(cco, f"/s/{session}/v1/messages", asking(f"request at {now}"), {})
        time.sleep(1)
        if now >= next_at:
            next_at = now + max(30.0, 6 * minutes)
            left = (end - now) / 60
            print(f"  {left:5.1f} min left, own     {memory_mb(process)[1]:8.2f} MB", flush=True)
    print(f"  at the end, own         {memory_mb(process)[1]:8.2f} MB")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
