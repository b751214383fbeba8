# SPDX-License-Identifier: Apache-2.0
"""The roll-ups: the same figures as the requests themselves give, whatever was summed up when."""

import contextlib
import random
import sqlite3
from concurrent.futures import wait
from pathlib import Path

import pytest

from cco.ledger import rollups
from cco.ledger.rows import RequestRow
from cco.ledger.schema import LEDGER
from cco.ledger.store import Store
from cco.ledger.sums import PROJECT, Scope, Sums, by_span, grouped
from cco.ledger.usage import Usage

HOUR_NS = rollups.HOUR_NS
DAY_NS = 24 * HOUR_NS
HOUR = "hour"
KEYS = ("total", "model", "agent", "session", PROJECT, HOUR)


def make_rows(count: int, *, seed: int) -> list[RequestRow]:
    """Return requests of five days, some in the same moment, some at the borders of hours."""
    chance = random.Random(seed)
    return [
        RequestRow(
            request_id=f"{seed}-{number}",
            started_ns=chance.choice(
                [chance.randrange(5 * DAY_NS), chance.randrange(120) * HOUR_NS]
            ),
            project=chance.choice(["/a", "/b", ""]),
            client_session=chance.choice(["s", "t", ""]),
            agent=chance.choice(["main", "Chief Architect"]),
            model=chance.choice(["m", "n"]),
            status=chance.choice([200, 529]),
            cost_nano=chance.randrange(10**9),
            usage=Usage(input=chance.randrange(100), output=chance.randrange(100)),
        )
        for number in range(count)
    ]


def opened(path: Path) -> contextlib.closing[sqlite3.Connection]:
    """Open a database beside its store; a connection's own `with` would not close it."""
    return contextlib.closing(sqlite3.connect(path, isolation_level=None))


def by_hand(rows: list[RequestRow], scope: Scope, key: str) -> dict[object, tuple[int, int, int]]:
    """Return requests, cost and input of each group, from the rows alone."""
    found: dict[object, tuple[int, int, int]] = {}
    for row in rows:
        if scope.project not in (None, row.project):
            continue
        if not (scope.since_ns or 0) <= row.started_ns < (scope.until_ns or 10 * DAY_NS):
            continue
        name = {
            "total": "",
            "model": row.model,
            "agent": row.agent,
            "session": row.client_session,
            PROJECT: row.project,
            HOUR: row.started_ns // HOUR_NS,
        }[key]
        requests, cost, tokens = found.get(name, (0, 0, 0))
        found[name] = (requests + 1, cost + row.cost_nano, tokens + row.usage.input)
    return found


@pytest.mark.parametrize("project", [None, "/a", ""])
@pytest.mark.parametrize(
    ("since_ns", "until_ns"),
    [
        (None, None),
        (DAY_NS, 3 * DAY_NS),  # whole days
        (DAY_NS + 5 * HOUR_NS, 3 * DAY_NS + HOUR_NS),  # whole hours
        (DAY_NS + 1, 4 * DAY_NS - 1),  # the ends are read from the requests
        (7 * HOUR_NS + 1, 7 * HOUR_NS + 5),  # inside one hour
        (7 * HOUR_NS + 1, 8 * HOUR_NS + 5),  # two hours, neither whole
        (3 * DAY_NS, DAY_NS),  # the wrong way round
    ],
)
def test_sums_are_those_of_the_requests(
    tmp_path: Path, project: str | None, since_ns: int | None, until_ns: int | None
) -> None:
    rows = make_rows(400, seed=7)
    scope = Scope(project=project, since_ns=since_ns, until_ns=until_ns)
    with Store.open(tmp_path / "ledger.db") as store:
        wait([store.record(row) for row in rows[:250]])
        with opened(tmp_path / "ledger.db") as beside:
            rollups.catch_up(beside)
        wait([store.record(row) for row in rows[250:]])
        with store.reading() as connection:
            for key in KEYS:
                groups = (
                    by_span(connection, scope, range(6 * 24))
                    if key == HOUR
                    else grouped(connection, scope, key)
                )
                found = {name: (sums.requests, sums.cost_nano, sums.input) for name, sums in groups}
                assert found == by_hand(rows, scope, key), key


def test_what_retention_took_is_still_in_the_sums(tmp_path: Path) -> None:
    rows = make_rows(300, seed=3)
    with Store.open(tmp_path / "ledger.db") as store:
        wait([store.record(row) for row in rows])
    with opened(tmp_path / "ledger.db") as connection:
        rollups.catch_up(connection)
        before = grouped(connection, Scope(project="/a"), "model")
        connection.execute("DELETE FROM requests WHERE started_ns < ?", (4 * DAY_NS,))

        assert grouped(connection, Scope(project="/a"), "model") == before
        # An end inside an hour whose requests are gone takes in the whole hour.
        odd = Scope(since_ns=DAY_NS + 1, until_ns=2 * DAY_NS)
        even = Scope(since_ns=DAY_NS, until_ns=2 * DAY_NS)
        assert grouped(connection, odd, "total") == grouped(connection, even, "total")


def test_catching_up_twice_changes_nothing_and_goes_in_steps(tmp_path: Path) -> None:
    with Store.open(tmp_path / "ledger.db") as store:
        wait([store.record(row) for row in make_rows(50, seed=1)])
    with opened(tmp_path / "ledger.db") as connection:
        connection.execute("UPDATE rolled_up SET id = 0")
        connection.execute("DELETE FROM rollups")
        assert rollups.catch_up(connection) is False
        before = list(connection.iterdump())
        rollups.catch_up(connection)

        assert list(connection.iterdump()) == before


def test_database_from_before_the_rollups_is_summed_up(tmp_path: Path) -> None:
    """A ledger of the first schema version, opened by this one."""
    path = tmp_path / "ledger.db"
    with opened(path) as old:
        for statement in LEDGER.migrations[0]:
            old.execute(statement)
        old.execute(f"PRAGMA application_id = {LEDGER.application_id}")
        old.execute("PRAGMA user_version = 1")
    with Store.open(path) as store:
        store.record(RequestRow(request_id="r", started_ns=1, cost_nano=5)).result()
        with store.reading() as connection:
            assert grouped(connection, Scope(), "total")[0][1].cost_nano == 5


def test_every_figure_of_the_sums_has_its_column() -> None:
    assert tuple(rollups.FIGURES) == Sums._fields
