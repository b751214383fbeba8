# SPDX-License-Identifier: Apache-2.0
"""Migrations run whole or not at all, and what is not ours is left alone."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from cco.errors import StoreError
from cco.ledger.versions import Schema

NOTES = Schema(
    name="notebook",
    application_id=0x6E6F7465,
    migrations=(("CREATE TABLE notes (text)",), ("CREATE TABLE marks (note)",)),
    remedy="Move it away",
)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        yield opened


def test_fresh_database_goes_through_all_migrations(connection: sqlite3.Connection) -> None:
    NOTES.migrate(connection)

    assert NOTES.read_version(connection) == NOTES.version == 2
    assert connection.execute("SELECT * FROM notes, marks").fetchall() == []


def test_migrations_run_from_the_version_found(connection: sqlite3.Connection) -> None:
    NOTES.migrate(connection)
    more = replace(
        NOTES, migrations=(*NOTES.migrations, ("ALTER TABLE notes ADD COLUMN moment INTEGER",))
    )
    more.migrate(connection)

    assert more.read_version(connection) == 3
    assert connection.execute("SELECT moment FROM notes").fetchall() == []


def test_migration_that_fails_leaves_everything_as_it_was(connection: sqlite3.Connection) -> None:
    NOTES.migrate(connection)
    before = list(connection.iterdump())
    steps = ("DROP TABLE notes", "ALTER TABLE nowhere ADD COLUMN x")
    broken = replace(NOTES, migrations=(*NOTES.migrations, steps))

    with pytest.raises(sqlite3.OperationalError):
        broken.migrate(connection)

    assert not connection.in_transaction
    assert list(connection.iterdump()) == before
    assert NOTES.read_version(connection) == 2


def test_newer_database_is_refused_with_remedy(connection: sqlite3.Connection) -> None:
    NOTES.migrate(connection)
    connection.execute("PRAGMA user_version = 3")

    with pytest.raises(StoreError) as caught:
        NOTES.migrate(connection)

    assert caught.value.code == "notebook-newer"
    assert caught.value.hint == "Install the newer CCO again, or else: Move it away"
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
        NOTES.migrate(connection)

    assert caught.value.code == "notebook-foreign"
