# SPDX-License-Identifier: Apache-2.0
"""The schema, its comments and its migrations."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from cco.ledger.schema import LEDGER

TABLES = ("requests", "sessions", "agent_runs", "rollups", "rolled_up")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        yield opened


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_fresh_database_gets_the_current_schema(connection: sqlite3.Connection) -> None:
    LEDGER.migrate(connection)

    assert version(connection) == LEDGER.version
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    assert {name for (name,) in names} == set(TABLES)


def test_current_database_is_left_alone(connection: sqlite3.Connection) -> None:
    LEDGER.migrate(connection)
    before = list(connection.iterdump())
    LEDGER.migrate(connection)

    assert list(connection.iterdump()) == before


@pytest.mark.parametrize("table", TABLES)
def test_every_column_of_a_first_kind_is_commented(
    connection: sqlite3.Connection, table: str
) -> None:
    """Each column has a comment, but for those that continue the one above them."""
    LEDGER.migrate(connection)
    [sql] = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    columns = connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()

    spoken_for = {"output_tokens", "cache_read_tokens", "cache_write_5m_tokens"}
    spoken_for |= {"cache_write_1h_tokens", "web_searches"}
    for (column,) in columns:
        if column not in spoken_for:
            assert re.search(rf"^[ ,]+{column} [^\n]*(?:--|/\*) \S", sql, re.MULTILINE), column
