# SPDX-License-Identifier: Apache-2.0
"""The writing thread: grouping, refusing, losing nothing in silence."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import closing
from pathlib import Path

import pytest

from cco.errors import StoreError
from cco.ledger import writer as module
from cco.ledger.database import open_reader
from cco.ledger.writer import Writer

INSERT = "INSERT INTO agent_runs VALUES ('s', ?, 'x', '', ?, NULL)"
DEADLINE_S = 30
OBSTACLE = "cannot be written, requests go on: .*Is a directory"

ExpectLog = Callable[[str], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    opened = Writer(path, upkeep=lambda _connection: False)
    yield opened
    opened.close()


def stored(path: Path) -> list[str]:
    with closing(open_reader(path)) as connection:
        rows = connection.execute("SELECT agent_id FROM agent_runs ORDER BY started_ns")
        return [agent_id for (agent_id,) in rows]


def test_done_future_means_others_can_read_it(path: Path, writer: Writer) -> None:
    writer.submit(INSERT, ["a", 1]).result(DEADLINE_S)

    assert stored(path) == ["a"]


def test_submissions_of_many_threads_are_all_written(path: Path, writer: Writer) -> None:
    def submit(name: str) -> None:
        wait([writer.submit(INSERT, [f"{name}-{n}", n]) for n in range(100)], DEADLINE_S)

    threads = [threading.Thread(target=submit, args=(name,)) for name in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(stored(path)) == sorted(f"{name}-{n}" for name in "abcdefgh" for n in range(100))


def test_order_is_kept_over_several_batches(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_MAX", 7)
    writer = Writer(path, upkeep=lambda _connection: False)
    futures = [writer.submit(INSERT, [str(n), n]) for n in range(100)]
    writer.close()

    assert all(future.done() for future in futures)
    assert stored(path) == [str(n) for n in range(100)]


@pytest.mark.parametrize(
    "values",
    [
        ["twice", 1],  # a constraint
        ["a", None],  # NOT NULL
        ["a", 2**63],  # beyond SQLite's integers
        ["\ud800", 1],  # no UTF-8
        ["a"],  # too few values
    ],
)
def test_impossible_write_fails_alone(
    path: Path, writer: Writer, values: list[str | int | float | None], expect_log: ExpectLog
) -> None:
    expect_log("cannot hold this: .*; 1 lost")
    before = writer.submit(INSERT, ["twice", 0])
    bad = writer.submit(INSERT, values)
    after = writer.submit(INSERT, ["after", 9])

    error = bad.exception(DEADLINE_S)
    before.result(DEADLINE_S)
    after.result(DEADLINE_S)
    assert isinstance(error, StoreError)
    assert error.code == "ledger-lost"
    assert stored(path) == ["twice", "after"]
    assert writer.health() == {"status": "ok", "pending": 0, "lost": 1, "reason": None}


def test_full_buffer_refuses_the_newest_and_counts_them(
    path: Path, monkeypatch: pytest.MonkeyPatch, expect_log: ExpectLog
) -> None:
    expect_log(OBSTACLE)
    expect_log("takes no more writes; 1 lost")
    monkeypatch.setattr(module, "PENDING_MAX", 5)
    monkeypatch.setattr(module, "_RETRY_S", 0.01)
    path.mkdir()  # in the place of the file: no database can be opened
    writer = Writer(path, upkeep=lambda _connection: False)
    futures = [writer.submit(INSERT, [str(n), n]) for n in range(8)]

    assert [future.done() for future in futures] == [False] * 5 + [True] * 3
    assert all(isinstance(future.exception(), StoreError) for future in futures[5:])
    health = writer.health()
    assert (health["status"], health["pending"], health["lost"]) == ("degraded", 5, 3)
    assert health["reason"]

    path.rmdir()
    wait(futures, DEADLINE_S)
    assert writer.health() == {"status": "ok", "pending": 0, "lost": 3, "reason": None}
    assert stored(path) == ["0", "1", "2", "3", "4"]
    writer.close()


def test_close_writes_what_waits_once_the_obstacle_is_gone(
    path: Path, expect_log: ExpectLog
) -> None:
    expect_log(OBSTACLE)
    path.mkdir()
    writer = Writer(path, upkeep=lambda _connection: False)
    future = writer.submit(INSERT, ["a", 1])
    path.rmdir()
    writer.close()

    assert future.exception() is None
    assert stored(path) == ["a"]


def test_close_gives_up_what_cannot_be_written_and_says_so(
    path: Path, expect_log: ExpectLog
) -> None:
    expect_log(OBSTACLE)
    expect_log("closed before it could be written; 3 lost")
    path.mkdir()
    writer = Writer(path, upkeep=lambda _connection: False)
    futures = [writer.submit(INSERT, [str(n), n]) for n in range(3)]
    writer.close()

    assert all(isinstance(future.exception(), StoreError) for future in futures)
    assert writer.health()["status"] == "closed"
    assert writer.health()["lost"] == 3


def test_submission_after_close_is_lost_not_raised(writer: Writer, expect_log: ExpectLog) -> None:
    expect_log("takes no more writes; 1 lost")
    writer.close()

    assert isinstance(writer.submit(INSERT, ["a", 1]).exception(), StoreError)
    assert writer.health()["lost"] == 1


def test_another_process_holding_the_database_only_delays(
    path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch, expect_log: ExpectLog
) -> None:
    expect_log("cannot be written, requests go on: database is locked")
    monkeypatch.setattr(module, "_RETRY_S", 0.01)
    connection = writer._connection
    assert connection is not None
    connection.execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        future = writer.submit(INSERT, ["a", 1])
        assert not future.done()
        while writer.health()["status"] != "degraded":
            assert not future.done()
        assert "locked" in str(writer.health()["reason"])
        holder.execute("ROLLBACK")

    future.result(DEADLINE_S)
    assert writer.health()["status"] == "ok"
    assert stored(path) == ["a"]
