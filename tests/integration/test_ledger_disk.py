# SPDX-License-Identifier: Apache-2.0
"""A ledger on a full disk or in a directory that cannot be written.

Each case runs in a process of its own, for a quota, a mount or another uid is the whole process's.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path

import pytest

from cco.errors import StoreError
from cco.ledger import reports
from cco.ledger.rows import RequestRow
from cco.ledger.store import Store
from tests.capabilities import IN_CI, ROOT

DEADLINE_S = 30.0
NOBODY = 65534


def run_apart(case: str, directory: Path, *, wrapper: tuple[str, ...] = ()) -> None:
    """Run one of :data:`CASES` in a process of its own; its traceback is the test's message."""
    done = subprocess.run(
        [*wrapper, sys.executable, __file__, case, directory],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # What an operator must see is in the log, here on stderr for want of a handler.
    assert "The ledger cannot be written, requests go on" in done.stderr


def test_quota_reached_only_delays_rows(tmp_path: Path) -> None:
    run_apart("quota", tmp_path)


def test_full_disk_only_delays_rows(tmp_path: Path) -> None:
    apart = ("unshare", "--mount", "--propagation", "private")
    if subprocess.run([*apart, "true"], check=False, capture_output=True).returncode:
        (pytest.fail if IN_CI else pytest.skip)("needs a mount namespace of its own")
    run_apart("tmpfs", tmp_path, wrapper=apart)


@pytest.mark.parametrize("case", ["read-only, fresh", "read-only, with rows"])
def test_read_only_directory_only_delays_rows(case: str) -> None:
    with tempfile.TemporaryDirectory() as name:  # tmp_path is closed to other uids
        if os.geteuid() == 0:
            os.chown(name, NOBODY, NOBODY)
        run_apart(case, Path(name))


# From here on: what runs in the process apart.


def make_row(number: int) -> RequestRow:
    return RequestRow(
        request_id=f"r{number}", started_ns=number, path="/" + "x" * 2000, cost_nano=7
    )


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def fill_and_recover(path: Path, *, limit: Callable[[], None], lift: Callable[[], None]) -> None:
    """Record until the disk is full and further, make room, and find every row."""
    with Store.open(path) as store:
        store.record(make_row(0)).result(DEADLINE_S)
        limit()
        futures: list[Future[None]] = []

        def is_full() -> bool:
            start = len(futures) + 1
            futures.extend(store.record(make_row(number)) for number in range(start, start + 10))
            return store.health()["status"] == "degraded"

        wait_for(is_full)
        health = store.health()
        assert health["lost"] == 0
        assert health["pending"] > 0
        assert health["reason"]
        # What was committed before can still be read.
        assert reports.project_stats(store)["requests"]["total"] >= 1

        lift()
        _, late = wait(futures, DEADLINE_S)
        assert not late
        assert store.health() == {"status": "ok", "pending": 0, "lost": 0, "reason": None}
        assert reports.project_stats(store)["requests"]["total"] == len(futures) + 1


def reach_quota(directory: Path) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    fill_and_recover(
        directory / "ledger.db",
        limit=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, most)),
        lift=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
    )


def fill_tmpfs(directory: Path) -> None:
    def mount(*options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", directory], check=True)

    mount("-o", "size=512k")
    fill_and_recover(
        directory / "ledger.db",
        limit=lambda: None,
        lift=lambda: mount("-o", "remount,size=64m"),
    )


def open_read_only(directory: Path, *, rows: int) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    path = directory / "ledger.db"
    if rows:
        with Store.open(path) as store:
            wait([store.record(make_row(number)) for number in range(rows)], DEADLINE_S)
    directory.chmod(0o500)
    with Store.open(path) as store:
        future = store.record(make_row(rows))
        assert store.health()["status"] == "degraded"
        assert store.health()["pending"] == 1
        with pytest.raises(StoreError):
            store.load_sessions()

        directory.chmod(0o700)
        future.result(DEADLINE_S)
        assert store.health() == {"status": "ok", "pending": 0, "lost": 0, "reason": None}
        assert reports.project_stats(store)["requests"]["total"] == rows + 1


CASES: dict[str, Callable[[Path], None]] = {
    "quota": reach_quota,
    "tmpfs": fill_tmpfs,
    "read-only, fresh": lambda directory: open_read_only(directory, rows=0),
    "read-only, with rows": lambda directory: open_read_only(directory, rows=3),
}

if __name__ == "__main__":
    CASES[sys.argv[1]](Path(sys.argv[2]))
