# SPDX-License-Identifier: Apache-2.0
"""The roll-ups: sums by hour and by day, so that a report is fast however long the history.

They are kept for every project and for all together (`ALL`), in four dimensions, by UTC hour and by
UTC day: a report reads one small row for each day and thing. The writer brings them up to date in
its idle moments, for adding a request to all its sums costs more than recording it; how far they
go is written in the same transaction, and reports read the few requests behind that mark
themselves. Retention removes requests that are summed up, never sums.
"""

import sqlite3
from typing import Final

ALL: Final = "*"
"""Stands for all projects together; a path never looks like it."""

HOUR_NS: Final = 3_600_000_000_000
HOURS_A_DAY: Final = 24

STEP: Final = 5_000
"""Requests summed up in one transaction: tens of milliseconds for whoever records meanwhile."""

DIMENSIONS: Final = {
    "total": "''",
    "model": "model",
    "agent": "agent",
    "session": "client_session",
}
"""What the requests of a project are summed by, and the column that holds the key."""

FIGURES: Final = {
    "requests": "1",
    "errors": "(status = 0 OR status >= 400 OR error <> '')",
    "partial": "partial",
    "unpriced": "NOT priced",
    "hits": "cache = 'hit'",
    "misses": "cache = 'miss'",
    "cost_nano": "cost_nano",
    "saved_nano": "saved_nano",
    "prompt_saved_nano": "prompt_saved_nano",
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write_5m": "cache_write_5m_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
}
"""What is summed, and how from the columns of a request; the order is that of `sums.Sums`."""

TABLE: Final = (
    """
CREATE TABLE rollups (
    -- Sums over requests. Rows only ever grow; retention keeps them.
    project TEXT NOT NULL,               -- of the requests; '*' = all projects together
    dimension TEXT NOT NULL,             -- total, model, agent, session; project (under '*' only)
    period TEXT NOT NULL,                -- hour or day; UTC both
    slot INTEGER NOT NULL,               -- hours, or days, since the epoch
    key TEXT NOT NULL,                   -- the model, agent, ...; '' for total
"""
    + "".join(
        f"    {name} INTEGER NOT NULL,  -- sum of: {source}\n" for name, source in FIGURES.items()
    )
    + """\
    PRIMARY KEY (project, dimension, period, slot, key)
) WITHOUT ROWID
"""
)


MARK: Final = """
CREATE TABLE rolled_up (
    -- One row: how far the roll-ups go.
    id INTEGER NOT NULL                  -- requests.id of the last request that is summed up
)
"""


def _statements() -> list[str]:
    """Return what adds the requests behind the mark to every sum they belong to."""
    names = ", ".join(FIGURES)
    sums = ", ".join(f"sum({source})" for source in FIGURES.values())
    grown = ", ".join(f"{name} = {name} + excluded.{name}" for name in FIGURES)
    hour = f"started_ns / {HOUR_NS}"
    slots = {"hour": hour, "day": f"{hour} / {HOURS_A_DAY}"}
    things = [("project", name, key) for name, key in DIMENSIONS.items()]
    things += [(f"'{ALL}'", name, key) for name, key in DIMENSIONS.items()]
    things.append((f"'{ALL}'", "project", "project"))
    return [
        f"INSERT INTO rollups (project, dimension, period, slot, key, {names})"
        f" SELECT {project}, '{dimension}', '{period}', {slot}, {key}, {sums}"
        " FROM requests WHERE id > (SELECT id FROM rolled_up) AND id <= :last"
        " GROUP BY 1, 4, 5"
        f" ON CONFLICT (project, dimension, period, slot, key) DO UPDATE SET {grown}"
        for project, dimension, key in things
        for period, slot in slots.items()
    ]


_STATEMENTS: Final = tuple(_statements())

MIGRATION: Final = (TABLE, MARK, "INSERT INTO rolled_up VALUES (0)")
"""Brings a database without roll-ups to one that has them; `catch_up` fills them."""


def catch_up(connection: sqlite3.Connection) -> bool:
    """Add what was recorded since the last time, a bounded number of requests; say if any is left.

    Args:
        connection: may write, and is in no transaction.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        [done, newest] = connection.execute(
            "SELECT id, (SELECT max(id) FROM requests) FROM rolled_up"
        ).fetchone()
        last = min(newest or 0, done + STEP)
        if last > done:
            for statement in _STATEMENTS:
                connection.execute(statement, {"last": last})
            connection.execute("UPDATE rolled_up SET id = ?", (last,))
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return bool(last < (newest or 0))
