# SPDX-License-Identifier: Apache-2.0
"""The schema of knowledge explains itself."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from cco.ledger.schema import LEDGER
from cco.orchestration.facts import TYPES
from cco.orchestration.knowledge_schema import SCHEMA


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        SCHEMA.migrate(opened)
        yield opened


@pytest.mark.parametrize("table", ["facts", "memories", "places"])
def test_every_column_is_commented(connection: sqlite3.Connection, table: str) -> None:
    [sql] = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    columns = connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()

    for (column,) in columns:
        assert re.search(rf"^ +{column} [^\n]*-- \S", sql, re.MULTILINE), column


def test_types_of_the_comment_are_those_of_the_code(connection: sqlite3.Connection) -> None:
    sql = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'facts'").fetchone()[0]

    assert re.findall(r"[a-z]+", sql.split("type TEXT NOT NULL,")[1].split("text TEXT")[0]) == [
        *TYPES
    ]


def test_it_is_never_taken_for_the_ledger() -> None:
    assert SCHEMA.application_id != LEDGER.application_id
    assert SCHEMA.name != LEDGER.name
