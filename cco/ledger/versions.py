# SPDX-License-Identifier: Apache-2.0
"""Tells a database of ours from somebody else's, and brings an older one up to date.

The version lies in ``PRAGMA user_version``, the mark in ``PRAGMA application_id``. Step n of the
migrations brings a database from version n to n + 1; a fresh one goes through all of them. A step
that was released is never edited: what changes is appended.
"""

import sqlite3
from dataclasses import dataclass

from cco.errors import StoreError


@dataclass(frozen=True, slots=True)
class Schema:
    """One kind of database."""

    name: str
    """What it is called in messages and codes, such as ``ledger``."""
    application_id: int
    """Marks its files; four ASCII letters."""
    migrations: tuple[tuple[str, ...], ...]
    """Statements of each step."""
    remedy: str
    """What to do about a file in its place that is not to be used."""
    lasting: tuple[str, ...] = ()
    """Tables with `ended_ns` whose rows without one are saved from a damaged file."""

    @property
    def version(self) -> int:
        """The newest version."""
        return len(self.migrations)

    def migrate(self, connection: sqlite3.Connection) -> None:
        """Bring a database to the newest version: all of the missing steps, or none of them.

        Raises:
            StoreError: the database is of a newer CCO, or is not ours.
        """
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = self.read_version(connection)
            for statements in self.migrations[version:]:
                for statement in statements:
                    connection.execute(statement)
            if version < self.version:
                connection.execute(f"PRAGMA application_id = {self.application_id}")
                connection.execute(f"PRAGMA user_version = {self.version}")
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def read_version(self, connection: sqlite3.Connection) -> int:
        """Return the version of a database, 0 for an empty one.

        Raises:
            StoreError: the database is of a newer CCO, or is not ours.
        """
        [application] = connection.execute("PRAGMA application_id").fetchone()
        [version] = connection.execute("PRAGMA user_version").fetchone()
        [objects] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if application != self.application_id and (application or version or objects):
            raise StoreError(
                f"{self.name}-foreign",
                f"the {self.name}'s file is a database of another program",
                hint=self.remedy,
            )
        if version > self.version:
            raise StoreError(
                f"{self.name}-newer",
                f"the {self.name} has schema version {version}, this CCO knows"
                f" {self.version} at most",
                hint=f"Install the newer CCO again, or else: {self.remedy}",
            )
        return int(version)
