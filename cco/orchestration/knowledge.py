# SPDX-License-Identifier: Apache-2.0
"""What is known of each project, and what a compaction must not take from a session.

The one place where CCO keeps text of a session: facts that the user stores, results that agents
report, and of each compacted session the user's requests, decisions, open tasks and changed files;
of the others, where their transcripts are. It lies in `knowledge.db` beside the ledger, 0600; log
and ledger hold none of it. Nothing in it was made by a model call of ours, and what looks like a
secret is never in it.

Kept is, of each project, at most `MAX_FACTS` facts and `MAX_BYTES` of text. What is too much goes:
what was gathered before what the user stored, the least valuable type first, the oldest first. What
was gathered goes after `GATHERED_DAYS`, memories after `MEMORY_DAYS`; looked at when something is
written. What is forgotten is gone from the file, not only from the lists.

Threading: all methods may be called from any thread; one at a time has the connection.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from cco.errors import NotFound, StoreError
from cco.ledger.database import is_damage, open_writer
from cco.orchestration.facts import TYPES, USER, Fact, match_expression, unspaced_parts
from cco.orchestration.knowledge_schema import SCHEMA

MAX_FACTS: Final = 1_000
MAX_BYTES: Final = 1_000_000
GATHERED_DAYS: Final = 90
MEMORY_DAYS: Final = 30
_BUSY_MS: Final = 500
_DAY_NS: Final = 86_400_000_000_000

_COLUMNS: Final = "f.id, f.project, f.type, f.text, f.source, f.session, f.created_ns"
_ADD: Final = (
    "INSERT INTO facts (project, type, text, source, session, created_ns) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (project, text) DO UPDATE SET type = excluded.type, session = excluded.session,"
    " created_ns = excluded.created_ns,"
    f" source = CASE source WHEN '{USER}' THEN source ELSE excluded.source END"
)
_RANK: Final = f"CASE type {' '.join(f'WHEN {t!r} THEN {n}' for n, t in enumerate(TYPES))} END"
"""0 is the most valuable type."""
_EXCESS: Final = f"""
DELETE FROM facts WHERE id IN (SELECT id FROM (
    SELECT id, count(*) OVER kept AS facts, sum(length(CAST(text AS BLOB))) OVER kept AS bytes
    FROM facts WHERE project = ?
    WINDOW kept AS (ORDER BY source <> '{USER}', id <> ?, {_RANK}, created_ns DESC, id DESC
                    ROWS UNBOUNDED PRECEDING)
) WHERE facts > {MAX_FACTS} OR bytes > {MAX_BYTES})
"""

_T = TypeVar("_T")


class Memory(NamedTuple):
    """What was saved of a session at its last compaction."""

    launch: str
    client_session: str
    project: str
    text: str


class Place(NamedTuple):
    """Where the conversation of a launch is written down."""

    launch: str
    client_session: str
    project: str
    path: str


class Knowledge:
    """The database, opened when first needed.

    Args:
        path: of the file.
        now_ns: the clock, Unix time in nanoseconds.
    """

    def __init__(self, path: Path, *, now_ns: Callable[[], int]) -> None:
        self._path = path
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._is_in_log = False
        """Whether the write-ahead log still has what was removed: another process was reading."""

    def close(self) -> None:
        """Let go of the file; what is asked for afterwards opens it again."""
        with self._lock:
            self._drop()

    def store(self, *, project: str, type_: str, text: str, source: str, session: str) -> Fact:
        """Keep a checked text; make room for it if need be.

        Raises:
            StoreError: the database cannot be used.
        """
        now_ns = self._now_ns()

        def add(connection: sqlite3.Connection) -> Fact:
            with _transaction(connection):
                connection.execute(_ADD, (project, type_, text, source, session, now_ns))
                [row] = connection.execute(
                    f"SELECT {_COLUMNS} FROM facts f WHERE project = ? AND text = ?",
                    (project, text),
                ).fetchall()
                fact = Fact(*row)
                connection.execute(
                    "DELETE FROM facts WHERE source <> ? AND created_ns < ?",
                    (USER, now_ns - GATHERED_DAYS * _DAY_NS),
                )
                # What was stored just now stays, or nothing would be true of the answer.
                connection.execute(_EXCESS, (project, fact.id))
            return fact

        return self._do(add)

    def search(
        self, query: str, *, project: str | None = None, type_: str | None = None, limit: int
    ) -> list[Fact]:
        """Return the facts that a query fits, the best first; none where it has no word.

        Raises:
            StoreError: the database cannot be used.
        """
        where, values = _where(project, type_)
        found: list[Fact] = []
        if expression := match_expression(query):
            found = self._facts(
                f"SELECT {_COLUMNS} FROM facts_search JOIN facts f ON f.id = facts_search.rowid"
                f" WHERE facts_search MATCH ? AND {where}"
                " ORDER BY bm25(facts_search), f.created_ns DESC LIMIT ?",
                (expression, *values, limit),
            )
        if parts := unspaced_parts(query):
            hits = " + ".join(["(instr(f.text, ?) > 0)"] * len(parts))
            found += self._facts(
                f"SELECT {_COLUMNS} FROM facts f WHERE {where} AND {hits} > 0"
                f" ORDER BY {hits} DESC, f.created_ns DESC LIMIT ?",
                (*values, *parts, *parts, limit),
            )
        return list(dict.fromkeys(found))[:limit]

    def latest(
        self,
        *,
        project: str | None = None,
        type_: str | None = None,
        limit: int,
        by_value: bool = False,
    ) -> list[Fact]:
        """Return facts, the newest first; by value: of the most valuable type first.

        Raises:
            StoreError: the database cannot be used.
        """
        where, values = _where(project, type_)
        order = f"{_RANK}, " if by_value else ""
        return self._facts(
            f"SELECT {_COLUMNS} FROM facts f WHERE {where}"
            f" ORDER BY {order} f.created_ns DESC, f.id DESC LIMIT ?",
            (*values, limit),
        )

    def forget(self, fact_id: int) -> None:
        """Remove one fact for good.

        Raises:
            NotFound: there is none of this id.
            StoreError: the database cannot be used.
        """
        if not self._remove(("DELETE FROM facts WHERE id = ?",), fact_id):
            raise NotFound(
                "unknown-fact",
                f"there is no fact {fact_id}",
                hint="List them: cco knowledge list",
            )

    def forget_project(self, project: str) -> int:
        """Remove all facts of a project for good, and what is remembered of its sessions.

        Returns:
            How many facts went.

        Raises:
            StoreError: the database cannot be used.
        """
        tables = ("memories", "places", "facts")
        return self._remove([f"DELETE FROM {table} WHERE project = ?" for table in tables], project)

    def stats(self, *, project: str | None = None) -> dict[str, Any]:
        """Return how much there is, as `GET /api/knowledge/stats` gives it.

        Raises:
            StoreError: the database cannot be used.
        """
        where, values = _where(project, None)

        def count(connection: sqlite3.Connection) -> dict[str, Any]:
            rows = connection.execute(
                "SELECT project, type, count(*), sum(length(CAST(text AS BLOB))) FROM facts f"
                f" WHERE {where} GROUP BY project, type",
                values,
            ).fetchall()
            [memories] = connection.execute(
                f"SELECT count(*) FROM memories f WHERE {where}", values
            ).fetchone()
            projects: dict[str, int] = {}
            types = dict.fromkeys(TYPES, 0)
            for name, type_, number, _ in rows:
                projects[name] = projects.get(name, 0) + number
                types[type_] += number
            return {
                "facts": sum(types.values()),
                "textBytes": sum(row[3] for row in rows),
                "byType": types,
                "byProject": [{"project": name, "facts": n} for name, n in projects.items()],
                "memories": memories,
                "limits": {"factsPerProject": MAX_FACTS, "bytesPerProject": MAX_BYTES},
            }

        return self._do(count)

    def save_memory(self, memory: Memory) -> None:
        """Keep what a compaction must not take, in the place of what was kept before.

        Raises:
            StoreError: the database cannot be used.
        """
        self._save("memories", "saved_ns", memory)

    def save_place(self, place: Place) -> None:
        """Keep where a conversation is written down, for as long as a memory.

        Raises:
            StoreError: the database cannot be used.
        """
        self._save("places", "noted_ns", place)

    def memory(self, launch: str) -> Memory | None:
        """Return what was saved of a launch's conversation.

        Raises:
            StoreError: the database cannot be used.
        """
        row = self._find("SELECT launch, client_session, project, text FROM memories", launch)
        return Memory(*row) if row else None

    def place(self, launch: str) -> Place | None:
        """Return where a launch's conversation is written down.

        Raises:
            StoreError: the database cannot be used.
        """
        row = self._find("SELECT launch, client_session, project, path FROM places", launch)
        return Place(*row) if row else None

    def _save(self, table: str, moment: str, row: Memory | Place) -> None:
        now_ns = self._now_ns()

        def save(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                connection.execute(
                    f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?, ?)", (*row, now_ns)
                )
                connection.execute(
                    f"DELETE FROM {table} WHERE {moment} < ?", (now_ns - MEMORY_DAYS * _DAY_NS,)
                )

        self._do(save)

    def _find(self, select: str, launch: str) -> Sequence[str] | None:
        sql = f"{select} WHERE launch = ?"
        rows = self._do(lambda connection: connection.execute(sql, (launch,)).fetchall())
        return rows[0] if rows else None

    def _facts(self, sql: str, values: tuple[object, ...]) -> list[Fact]:
        rows = self._do(lambda connection: connection.execute(sql, values).fetchall())
        return [Fact(*row) for row in rows]

    def _remove(self, statements: Sequence[str], value: object) -> int:
        """Run statements that remove, for good; return how many rows the last one took."""

        def remove(connection: sqlite3.Connection) -> int:
            with _transaction(connection):
                removed = 0
                for statement in statements:
                    removed = connection.execute(statement, (value,)).rowcount
                # The index keeps words of what it was told to remove until it is written anew.
                connection.execute("INSERT INTO facts_search (facts_search) VALUES ('optimize')")
            connection.execute("PRAGMA incremental_vacuum").fetchall()
            self._is_in_log = True
            return removed

        return self._do(remove)

    def _do(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do something with the connection; a damaged file is set aside and it is done again."""
        with self._lock:
            for is_last in (False, True):
                try:
                    if self._connection is None:
                        self._connection = open_writer(self._path, SCHEMA)
                        self._connection.execute("PRAGMA secure_delete = ON").fetchall()
                        # A session waits meanwhile, and can do without.
                        self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}").fetchall()
                    done = work(self._connection)
                    if self._is_in_log:
                        emptied = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                        self._is_in_log = any(is_busy for is_busy, *_ in emptied)
                    return done
                except (sqlite3.Error, OSError) as error:
                    self._drop()
                    if is_last or not (isinstance(error, sqlite3.Error) and is_damage(error)):
                        raise StoreError(
                            "knowledge-unavailable",
                            f"the knowledge database cannot be used ({error})",
                            hint=f"Make room on the disk and {self._path.parent} writable for you",
                        ) from error
        raise AssertionError("unreachable")

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None


def _where(project: str | None, type_: str | None) -> tuple[str, tuple[str, ...]]:
    wanted = {"f.project": project, "f.type": type_}
    given = {column: value for column, value in wanted.items() if value is not None}
    return " AND ".join(["1", *(f"{column} = ?" for column in given)]), tuple(given.values())


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
