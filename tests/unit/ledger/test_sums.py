# SPDX-License-Identifier: Apache-2.0
"""Sums over rows, and which rows are meant."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import closing
from pathlib import Path

import pytest

from cco.ledger import rollups
from cco.ledger.rows import RequestRow
from cco.ledger.store import Store
from cco.ledger.sums import Scope, Sums, by_span, days, grouped, total
from cco.ledger.usage import Usage

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
ROWS = [
    RequestRow(request_id="a", started_ns=0, project="/p", client_session="x", status=200),
    RequestRow(request_id="b", started_ns=HOUR_NS - 1, project="/p", client_session="y"),
    RequestRow(request_id="c", started_ns=HOUR_NS, project="/q", client_session="y", cost_nano=5),
]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with Store.open(tmp_path / "ledger.db") as store:
        wait([store.record(row) for row in ROWS])
        with store.reading() as opened:
            yield opened


@pytest.mark.parametrize(
    ("scope", "count"),
    [
        (Scope(), 3),
        (Scope(project="/p"), 2),
        (Scope(client_session="y"), 2),
        (Scope(project="/p", client_session="y"), 1),
        (Scope(project=""), 0),
        (Scope(since_ns=HOUR_NS), 1),
        (Scope(until_ns=HOUR_NS), 2),  # the end is not in
        (Scope(since_ns=HOUR_NS - 1, until_ns=HOUR_NS), 1),
        (Scope(since_ns=0, until_ns=0), 0),
    ],
)
def test_scope_chooses_rows(connection: sqlite3.Connection, scope: Scope, count: int) -> None:
    assert total(connection, scope).requests == count


def test_no_rows_sum_up_to_zeros(connection: sqlite3.Connection) -> None:
    assert total(connection, Scope(project="/nowhere")) == Sums()
    assert grouped(connection, Scope(project="/nowhere"), "model") == []


def test_groups_come_the_dearest_first(connection: sqlite3.Connection) -> None:
    found = grouped(connection, Scope(), "project")

    assert [(key, sums.requests) for key, sums in found] == [("/q", 1), ("/p", 2)]


@pytest.mark.parametrize(
    ("borders", "found"),
    [
        ([0, 1, 2], [(0, 2), (1, 1)]),
        ([0, 2, 9], [(0, 3)]),  # a span without requests is not told
        ([-5, 1], [(-5, 2)]),
        ([1, 2], [(1, 1)]),
        ([2, 3], []),
        ([], []),
    ],
)
def test_spans_are_of_utc_hours(
    connection: sqlite3.Connection, borders: list[int], found: list[tuple[int, int]]
) -> None:
    told = by_span(connection, Scope(), borders)
    assert [(begin, sums.requests) for begin, sums in told] == found


@pytest.mark.parametrize("rolled_up", [0, 2, 3])
def test_days_are_those_of_which_something_is_known(tmp_path: Path, rolled_up: int) -> None:
    path = tmp_path / "ledger.db"
    moments = (5, 3 * DAY_NS, 20_000 * DAY_NS - 1)
    with Store.open(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as beside:
        for number, moment_ns in enumerate(moments):
            if number == rolled_up:
                rollups.catch_up(beside)
            store.record(RequestRow(request_id=str(number), started_ns=moment_ns)).result()
        with store.reading() as connection:
            assert days(connection) == [0, 3, 19_999]


@pytest.mark.parametrize("is_rolled_up", [False, True])
@pytest.mark.parametrize(
    ("scope", "count"),
    [
        (Scope(since_ns=15), 2),
        (Scope(until_ns=15), 1),
        (Scope(since_ns=15, until_ns=25), 1),
        (Scope(since_ns=15, until_ns=HOUR_NS + 5), 2),
        (Scope(until_ns=5), 0),
    ],
)
def test_first_hour_of_all_is_cut_to_the_moment(
    tmp_path: Path, scope: Scope, count: int, *, is_rolled_up: bool
) -> None:
    path = tmp_path / "ledger.db"
    with Store.open(path) as store:
        moments = (10, 20, HOUR_NS + 1)
        rows = [RequestRow(request_id=str(ns), started_ns=ns) for ns in moments]
        wait([store.record(row) for row in rows])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if is_rolled_up:
            rollups.catch_up(connection)
        assert total(connection, scope).requests == count


def test_hour_of_which_requests_are_gone_is_taken_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Store.open(path) as store:
        rows = [RequestRow(request_id=str(ns), started_ns=ns) for ns in (10, 20, 30)]
        wait([store.record(row) for row in rows])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        rollups.catch_up(connection)
        connection.execute("DELETE FROM requests WHERE started_ns = 10")  # as retention does

        assert total(connection, Scope(since_ns=15)).requests == 3
        assert total(connection, Scope(until_ns=15)).requests == 3
        assert total(connection, Scope()).requests == 3


def test_every_sum_is_of_its_own_column(tmp_path: Path) -> None:
    row = RequestRow(
        request_id="r",
        started_ns=1,
        status=200,
        cost_nano=7,
        saved_nano=8,
        prompt_saved_nano=9,
        usage=Usage(input=10, output=11, cache_read=12, cache_write_5m=13, cache_write_1h=14),
    )
    with Store.open(tmp_path / "ledger.db") as store:
        store.record(row).result()
        with store.reading() as connection:
            found = total(connection, Scope())

    assert found == (1, 0, 0, 0, 0, 0, 7, 8, 9, 10, 11, 12, 13, 14)


@pytest.mark.parametrize(
    ("status", "error", "errors"),
    [
        (200, "", 0),
        (304, "", 0),
        (400, "", 1),
        (529, "overloaded_error", 1),
        (0, "", 1),  # the client got no status
        (200, "api_error", 1),  # an error event inside a stream
    ],
)
def test_what_counts_as_an_error(tmp_path: Path, status: int, error: str, errors: int) -> None:
    with Store.open(tmp_path / "ledger.db") as store:
        row = RequestRow(request_id="r", started_ns=1, status=status, error=error)
        store.record(row).result()
        with store.reading() as connection:
            assert total(connection, Scope()).errors == errors


def test_sums_add_field_by_field() -> None:
    one = Sums(*range(14))

    assert one.plus(one) == tuple(2 * number for number in range(14))
