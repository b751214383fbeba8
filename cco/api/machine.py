# SPDX-License-Identifier: Apache-2.0
"""How much of the machine CCO uses; every figure is read when it is asked for.

The daemon cannot be looked into by others, so it reads itself; the mount tells its own figures.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psutil

from cco.api.mounts import MountReport

MIN_SPAN_S: Final = 0.2
"""Shorter than this a share of the processor says nothing."""


class Load:
    """Shares of the processor since the last look.

    Threading: may be used by any thread.
    """

    def __init__(self, *processes: psutil.Process) -> None:
        self._processes = processes
        self._lock = threading.Lock()
        self._last = self._now()
        self._percent: tuple[float | None, float | None] = (None, None)

    def read(self) -> tuple[float | None, float | None]:
        """Return the percentages of machine and processes; None before there is a span."""
        with self._lock:
            before, after = self._last, self._now()
            span_s = after[0] - before[0]
            if span_s >= MIN_SPAN_S:
                self._last = after
                busy = 100 * (after[1] - before[1]) / span_s / (psutil.cpu_count() or 1)
                own = 100 * (after[2] - before[2]) / span_s
                self._percent = (round(min(busy, 100.0), 1), round(own, 1))
            return self._percent

    def _now(self) -> tuple[float, float, float]:
        """Return moment, seconds that all processors were busy, seconds of the processes."""
        times = psutil.cpu_times()
        total = sum(times)
        idle = times.idle + getattr(times, "iowait", 0.0)
        own = sum(sum(process.cpu_times()[:2]) for process in self._processes)
        return total / (psutil.cpu_count() or 1), total - idle, own


class Figures:
    """Reads machine, daemon and mount."""

    def __init__(self) -> None:
        worker = psutil.Process(os.getpid())
        self._processes = [process for process in (worker, worker.parent()) if process]
        self._load = Load(*self._processes)

    def read(self, mount: MountReport | None) -> dict[str, Any]:
        """Return the part of ``GET /api/machine/stats`` that is not from the ledger."""
        machine_percent, own_percent = self._load.read()
        memory = psutil.virtual_memory()
        return {
            "cpuPercent": machine_percent,
            "memory": {"totalBytes": memory.total, "availableBytes": memory.available},
            "daemon": {
                "pid": self._processes[-1].pid,
                "rssBytes": self._sum(lambda process: process.memory_info().rss),
                "pssBytes": self._sum(lambda process: pss_bytes(process.pid)),
                "cpuPercent": own_percent,
                "threads": self._sum(lambda process: process.num_threads()),
                "openFiles": self._sum(lambda process: process.num_fds()),
            },
            "vfs": {"pid": mount.pid, **mount.figures} if mount else None,
        }

    def _sum(self, read: Callable[[psutil.Process], int | None]) -> int | None:
        """Return the sum over the daemon's processes; None where one may not be looked into."""
        try:
            found = [read(process) for process in self._processes]
        except psutil.Error:
            return None
        return None if None in found else sum(one for one in found if one is not None)


def memory_of(mount: MountReport | None) -> dict[str, dict[str, float]]:
    """Return ``pss`` and ``rss`` in bytes of each process, as far as they can be told."""
    worker = psutil.Process(os.getpid())
    processes = {"worker": worker}
    if (arbiter := worker.parent()) is not None:
        processes["arbiter"] = arbiter
    found: dict[str, dict[str, float]] = {}
    for name, process in processes.items():
        found[name] = {"rss": process.memory_info().rss}
        if (pss := pss_bytes(process.pid)) is not None:
            found[name]["pss"] = pss
    if mount is not None:
        told = mount.figures
        found["mount"] = {
            kind: told[f"{kind}Bytes"] for kind in ("pss", "rss") if f"{kind}Bytes" in told
        }
    return found


def pss_bytes(pid: int) -> int | None:
    """Return the memory of a process, its share of what is shared counted; None if untold."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None
    lines = (line.split() for line in rollup.splitlines() if line.startswith("Pss:"))
    return next((int(words[1]) * 1024 for words in lines), None)
