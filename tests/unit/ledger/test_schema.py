# SPDX-License-Identifier: Apache-2.0
"""The schema, its comments and its migrations."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from cco.errors import StoreError
from cco.ledger import schema

TABLES = ("requests", "sessions", "agent_runs", "rollups", "rolled_up")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        yield opened


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_fresh_database_gets_the_current_schema(connection: sqlite3.Connection) -> None:
    schema.migrate(connection)

    assert version(connection) == schema.SCHEMA_VERSION
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    assert {name for (name,) in names} == set(TABLES)


def test_current_database_is_left_alone(connection: sqlite3.Connection) -> None:
    schema.migrate(connection)
    before = list(connection.iterdump())
    schema.migrate(connection)

    assert list(connection.iterdump()) == before


@pytest.mark.parametrize("table", TABLES)
def test_every_column_of_a_first_kind_is_commented(
    connection: sqlite3.Connection, table: str
) -> None:
    """Each column has a comment, but for those that continue the one above them."""
    schema.migrate(connection)
    [sql] = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    columns = connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()

    spoken_for = {"output_tokens", "cache_read_tokens", "cache_write_5m_tokens"}
    spoken_for |= {"cache_write_1h_tokens", "web_searches"}
    for (column,) in columns:
        if column not in spoken_for:
            assert re.search(rf"^ +{column} [^\n]*-- \S", sql, re.MULTILINE), column


def test_migrations_run_from_the_version_found(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema.migrate(connection)
    added = (*schema.MIGRATIONS, ("ALTER TABLE sessions ADD COLUMN note TEXT",))
    monkeypatch.setattr(schema, "MIGRATIONS", added)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", len(added))
    schema.migrate(connection)

    assert version(connection) == len(added)
    assert connection.execute("SELECT note FROM sessions").fetchall() == []


def test_migration_that_fails_leaves_everything_as_it_was(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema.migrate(connection)
    before = list(connection.iterdump())
    broken = (*schema.MIGRATIONS, ("DROP TABLE agent_runs", "ALTER TABLE nowhere ADD COLUMN x"))
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", len(broken))

    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection)

    assert not connection.in_transaction
    assert list(connection.iterdump()) == before
    assert version(connection) == len(broken) - 1


def test_newer_database_is_refused_with_remedy(connection: sqlite3.Connection) -> None:
    schema.migrate(connection)
    connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")

    with pytest.raises(StoreError) as caught:
        schema.migrate(connection)

    assert caught.value.code == "ledger-newer"
    assert caught.value.hint
    assert not connection.in_transaction


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE bookmarks (url)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"],
)
def test_database_of_another_program_is_refused(
    connection: sqlite3.Connection, statement: str
) -> None:
    connection.execute(statement)

    with pytest.raises(StoreError) as caught:
        schema.migrate(connection)

    assert caught.value.code == "ledger-foreign"
