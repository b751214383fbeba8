# SPDX-License-Identifier: Apache-2.0
"""Figures of the machine: real, and of the right processes."""

import os
from pathlib import Path

import psutil
import pytest

from cco.api.machine import Figures, Load, memory_of, pss_bytes
from cco.api.mounts import MountReport


def test_figures_have_the_documented_members() -> None:
    found = Figures().read(None)

    assert sorted(found) == ["cpuPercent", "daemon", "memory", "vfs"]
    assert sorted(found["memory"]) == ["availableBytes", "totalBytes"]
    assert sorted(found["daemon"]) == [
        *("cpuPercent", "openFiles", "pid", "pssBytes", "rssBytes", "threads"),
    ]
    assert found["vfs"] is None


def test_daemon_is_worker_and_arbiter() -> None:
    daemon = Figures().read(None)["daemon"]
    own = psutil.Process()
    parent = own.parent()
    assert parent is not None

    assert daemon["pid"] == parent.pid  # the one that systemd knows
    assert daemon["threads"] >= own.num_threads() + 1
    assert daemon["rssBytes"] > own.memory_info().rss / 2


def test_memory_is_the_machines() -> None:
    memory = Figures().read(None)["memory"]

    assert memory["totalBytes"] == psutil.virtual_memory().total
    assert 0 < memory["availableBytes"] <= memory["totalBytes"]


def test_mount_tells_its_own_figures() -> None:
    report = MountReport(7, "/m", is_serving=True, message="", figures={"pssBytes": 5.0})

    assert Figures().read(report)["vfs"] == {"pid": 7, "pssBytes": 5.0}


def test_figures_that_may_not_be_read_are_null_and_the_others_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def denied(process: psutil.Process) -> int:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "num_fds", denied)
    daemon = Figures().read(None)["daemon"]
    assert daemon["openFiles"] is None
    assert daemon["threads"] > 0


class Clock(Load):
    """A load whose readings a test decides."""

    def __init__(self, *readings: tuple[float, float, float]) -> None:
        self._readings = list(readings)
        super().__init__()

    def _now(self) -> tuple[float, float, float]:
        return self._readings.pop(0)


CPUS = psutil.cpu_count() or 1


@pytest.mark.parametrize(
    ("readings", "percent"),
    [
        # moment, seconds that all processors were busy, seconds of the processes
        ([(0.0, 0.0, 0.0), (0.1, 0.1, 0.1)], [(None, None)]),  # too short to say anything
        ([(0.0, 0.0, 0.0), (1.0, CPUS * 0.5, 0.25)], [(50.0, 25.0)]),
        ([(0.0, 0.0, 0.0), (1.0, CPUS * 1.0, 2.0)], [(100.0, 200.0)]),  # two processors
        ([(0.0, 0.0, 0.0), (1.0, CPUS * 1.01, 0.0)], [(100.0, 0.0)]),  # a rounded clock
        # in a short span the last figure stands
        (
            [(0.0, 0.0, 0.0), (1.0, CPUS * 0.5, 0.5), (1.1, CPUS * 0.6, 0.6)],
            [(50.0, 50.0), (50.0, 50.0)],
        ),
        # and the span goes on from the last figure, not from the last look
        (
            [(0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.2, CPUS * 0.1, 0.2)],
            [(None, None), (50.0, 100.0)],
        ),
    ],
)
def test_shares_are_of_the_time_between_two_looks(
    readings: list[tuple[float, float, float]], percent: list[tuple[float | None, float | None]]
) -> None:
    load = Clock(*readings)

    assert [load.read() for _ in percent] == percent


def test_memory_of_a_process() -> None:
    own = pss_bytes(os.getpid())
    smaps = Path("/proc/self/smaps_rollup").read_text()
    told = next(line for line in smaps.splitlines() if line.startswith("Pss:"))

    assert own is not None
    assert own % 1024 == 0
    assert abs(own - int(told.split()[1]) * 1024) < 50_000_000


@pytest.mark.parametrize("pid", [0, 2**30])
def test_memory_of_no_process_is_untold(pid: int) -> None:
    assert pss_bytes(pid) is None


def test_memory_is_told_for_each_process() -> None:
    found = memory_of(None)

    assert set(found) == {"worker", "arbiter"}
    assert found["worker"]["rss"] > 2**20
    assert found["worker"]["pss"] > 2**20
    report = MountReport(7, "/m", is_serving=True, message="", figures={"pssBytes": 5.0})
    assert memory_of(report)["mount"] == {"pss": 5.0}
