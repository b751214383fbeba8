# SPDX-License-Identifier: Apache-2.0
"""Retention: rows go, sums stay, the file becomes smaller."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

import pytest

from cco.ledger import rollups
from cco.ledger.retention import EVERY_NS, Retention
from cco.ledger.rows import AgentRun, RequestRow, SessionRow
from cco.ledger.store import Store
from cco.ledger.sums import Scope, total

DAY_NS = 86_400_000_000_000
NOW_NS = 1_000 * DAY_NS


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A ledger with a request for each of the last hundred days, all summed up."""
    path = tmp_path / "ledger.db"
    with Store.open(path) as store:
        written = [
            store.record(
                RequestRow(request_id=f"r{day}", started_ns=NOW_NS - day * DAY_NS, error="x" * 3000)
            )
            for day in range(100)
        ]
        for name, ended_ns in (("old", 1), ("alive", None)):
            session = SessionRow(
                id=name,
                token_hash="",
                pid=1,
                start_ticks=1,
                project="",
                cwd="",
                upstream="",
                created_ns=1,
                ended_ns=ended_ns,
            )
            written.append(store.save_session(session))
        run = AgentRun(client_session="s", agent_id="a", agent="A", started_ns=1)
        written.append(store.save_agent_run(run))
        wait(written)
    opened = sqlite3.connect(path, isolation_level=None)
    while rollups.catch_up(opened):
        pass
    yield opened
    opened.close()


def count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_rows_go_and_sums_stay(connection: sqlite3.Connection) -> None:
    retention = Retention(days=30, max_bytes=2**40, now_ns=lambda: NOW_NS)

    assert retention(connection) is False
    assert count(connection, "requests") == 31  # the moment itself is kept
    assert total(connection, Scope()).requests == 100
    assert connection.execute("SELECT id FROM sessions").fetchall() == [("alive",)]
    assert count(connection, "agent_runs") == 0


def test_what_is_not_summed_up_yet_stays(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE rolled_up SET id = 0")
    Retention(days=1, max_bytes=2**40, now_ns=lambda: NOW_NS)(connection)

    assert count(connection, "requests") == 100


def test_too_large_a_ledger_loses_its_oldest_requests(
    connection: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    before = connection.execute("PRAGMA page_count").fetchone()
    Retention(days=1000, max_bytes=1, now_ns=lambda: NOW_NS)(connection)

    assert count(connection, "requests") == 0
    assert total(connection, Scope()).requests == 100
    assert connection.execute("PRAGMA page_count").fetchone() < before
    assert "100 requests removed" in caplog.text


def test_it_looks_once_an_hour(connection: sqlite3.Connection) -> None:
    clock = [NOW_NS]
    retention = Retention(days=30, max_bytes=2**40, now_ns=lambda: clock[0])
    retention(connection)
    clock[0] += EVERY_NS - 1
    retention(connection)
    assert count(connection, "requests") == 31

    clock[0] += 1
    retention(connection)
    assert count(connection, "requests") == 30
