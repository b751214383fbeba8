# SPDX-License-Identifier: Apache-2.0
"""A ledger whose process is killed, or that two processes have open at once."""

import os
import random
import sqlite3
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from cco.ledger import reports
from cco.ledger.rows import RequestRow
from cco.ledger.store import Store
from tests.capabilities import ROOT

IN_FLIGHT = 20


def write(path: Path, prefix: str, count: int) -> None:
    """Record rows, some in flight at any time, and print the id of each that is acknowledged.

    Runs in a process of its own, which is told to begin by a line.
    """
    waiting: deque[tuple[str, Future[None]]] = deque()
    with Store.open(path) as store:
        tell("ready")
        sys.stdin.readline()
        for number in range(count):
            row = RequestRow(request_id=f"{prefix}{number}", started_ns=number + 1, cost_nano=7)
            waiting.append((row.request_id, store.record(row)))
            if len(waiting) == IN_FLIGHT:
                acknowledge(*waiting.popleft())
        for request_id, future in waiting:
            acknowledge(request_id, future)


def acknowledge(request_id: str, future: Future[None]) -> None:
    future.result(30)
    tell(request_id)


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextmanager
def start_writer(path: Path, prefix: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """Start :func:`write` in a process of its own."""
    with subprocess.Popen(
        [sys.executable, __file__, path, prefix, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def stored_ids(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [found for (found,) in connection.execute("SELECT request_id FROM requests")]


def test_kill_in_the_middle_of_writing_loses_no_acknowledged_row(tmp_path: Path) -> None:
    """Ten times over, each start on what the last kill left."""
    path = tmp_path / "state" / "ledger.db"
    acknowledged: set[str] = set()
    chance = random.Random(11)
    for turn in range(10):
        with start_writer(path, f"{turn}-", 1_000_000) as process:
            begin(process)
            assert process.stdout
            for _ in range(chance.randrange(1, 300)):
                acknowledged.add(process.stdout.readline().strip())
            process.kill()
            acknowledged |= {line.strip() for line in process.stdout if line.endswith("\n")}

    found = stored_ids(path)
    assert len(found) == len(set(found))
    assert acknowledged <= set(found)
    assert [part.name for part in path.parent.iterdir()] == [path.name]  # none was set aside


def test_processes_write_at_once_and_no_row_is_lost_or_doubled(tmp_path: Path) -> None:
    """Two of the three record the same request ids, as a repeated write would."""
    path = tmp_path / "ledger.db"
    count = 2_000
    with ExitStack() as stack:
        prefixes = ("shared-", "shared-", "own-")
        writers = [stack.enter_context(start_writer(path, name, count)) for name in prefixes]
        for writer in writers:
            begin(writer)
        for writer in writers:
            assert writer.stdout
            assert len(writer.stdout.readlines()) == count
            assert writer.wait() == 0

    expected = {f"{prefix}{number}" for prefix in ("shared-", "own-") for number in range(count)}
    found = stored_ids(path)
    assert len(found) == len(expected)
    assert set(found) == expected


def test_report_beside_a_writing_process_is_of_one_moment(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with start_writer(path, "r", 3_000) as process, Store.open(path) as store:
        begin(process)
        assert process.stdout
        for number, _ in enumerate(process.stdout):
            if number % 100 == 0:
                stats = reports.project_stats(store)
                total = stats["requests"]["total"]
                assert total > number
                assert sum(row["requests"] for row in stats["byModel"]) == total
                assert stats["cost"]["totalUsd"] == total * 7 / 1_000_000_000
        assert process.wait() == 0

        assert reports.project_stats(store)["requests"]["total"] == 3_000


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
