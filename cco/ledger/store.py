# SPDX-License-Identifier: Apache-2.0
"""The ledger's database as the rest of CCO sees it: record, remember, read.

Threads: every method may be called from any. Writing is left to the one thread of
:mod:`cco.ledger.writer` and never raises; a future tells when it is durable. Reading borrows a
read-only connection that no other thread has meanwhile.

Forks: open it in the process that uses it, after the last fork.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path
from typing import Final, Self

from cco.errors import StoreError
from cco.ledger import rollups
from cco.ledger.database import is_damage, open_reader
from cco.ledger.retention import Retention
from cco.ledger.rows import AgentRun, RequestRow, SessionRow
from cco.ledger.writer import Health, SqlValue, Writer

_IDLE_READERS_MAX: Final = 4
_MAX_TEXT_LENGTH: Final = 4096

_USAGE_COLUMNS: Final = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cache_read",
    "cache_write_5m_tokens": "cache_write_5m",
    "cache_write_1h_tokens": "cache_write_1h",
    "web_searches": "web_searches",
    "service_tier": "service_tier",
    "speed": "speed",
    "usage_flawed": "flawed",
}
_OWN_COLUMNS: Final = tuple(f.name for f in fields(RequestRow) if f.name != "usage")
_SESSION_COLUMNS: Final = tuple(f.name for f in fields(SessionRow))
_RUN_COLUMNS: Final = tuple(f.name for f in fields(AgentRun))


def _insert(table: str, columns: Sequence[str]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"


_RECORD: Final = (
    _insert("requests", [*_OWN_COLUMNS, *_USAGE_COLUMNS]) + " ON CONFLICT (request_id) DO NOTHING"
)
_SAVE_SESSION: Final = (
    _insert("sessions", _SESSION_COLUMNS)
    + " ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in _SESSION_COLUMNS[1:])
)
_END_SESSION: Final = "UPDATE sessions SET ended_ns = ? WHERE id = ? AND ended_ns IS NULL"
# Start and end of a run may be told in either order, and twice: what is known is kept.
_SAVE_RUN: Final = (
    _insert("agent_runs", _RUN_COLUMNS)
    + """ ON CONFLICT (client_session, agent_id) DO UPDATE SET
        agent = excluded.agent,
        parent_agent_id = coalesce(nullif(excluded.parent_agent_id, ''), parent_agent_id),
        started_ns = min(excluded.started_ns, started_ns),
        ended_ns = coalesce(excluded.ended_ns, ended_ns)"""
)


class Store:
    """One open ledger. Use :meth:`open`, and :meth:`close` when done, or ``with``."""

    def __init__(self, path: Path, writer: Writer) -> None:
        self._path = path
        self._writer = writer
        self._lock = threading.Lock()
        self._idle: list[tuple[int, sqlite3.Connection]] = []
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, retention: Retention | None = None) -> Self:
        """Open or create the database at ``path`` and start its writer.

        Without a retention everything is kept.

        Where it can't be had at present (full disk, read-only directory), rows wait in memory
        and :meth:`health` says so.

        Raises:
            StoreError: it is of a newer CCO, or of another program.
        """

        def upkeep(connection: sqlite3.Connection) -> bool:
            has_more = rollups.catch_up(connection)
            return has_more or (retention is not None and retention(connection))

        return cls(path, Writer(path, upkeep=upkeep))

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Write everything that waits, then let go of the file."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()
        self._writer.close()

    def health(self) -> Health:
        """Return whether rows reach the disk, how many wait and how many are lost."""
        return self._writer.health()

    def record(self, row: RequestRow) -> Future[None]:
        """Record a request; done when committed. Of rows with one request id the first stands."""
        own = [getattr(row, name) for name in _OWN_COLUMNS]
        used = [getattr(row.usage, name) for name in _USAGE_COLUMNS.values()]
        return self._submit(_RECORD, [*own, *used])

    def save_session(self, session: SessionRow) -> Future[None]:
        """Remember a launch, or what has changed about it."""
        return self._submit(_SAVE_SESSION, astuple(session))

    def end_session(self, session_id: str, ended_ns: int) -> Future[None]:
        """Mark a launch as ended; the first end stands, an unknown id is ignored."""
        return self._submit(_END_SESSION, (ended_ns, session_id))

    def load_sessions(self) -> tuple[SessionRow, ...]:
        """Return the launches that have not ended, the oldest first."""
        columns = ", ".join(_SESSION_COLUMNS)
        with self.reading() as connection:
            found = connection.execute(
                f"SELECT {columns} FROM sessions WHERE ended_ns IS NULL ORDER BY created_ns, id"
            ).fetchall()
        return tuple(SessionRow(**dict(zip(_SESSION_COLUMNS, row, strict=True))) for row in found)

    def save_agent_run(self, run: AgentRun) -> Future[None]:
        """Remember the start or the end of a subagent's run."""
        return self._submit(_SAVE_RUN, [getattr(run, name) for name in _RUN_COLUMNS])

    def find_agent_run(self, client_session: str, agent_id: str) -> AgentRun | None:
        """Return what is known of a subagent's run."""
        with self.reading() as connection:
            row = connection.execute(
                f"SELECT {', '.join(_RUN_COLUMNS)} FROM agent_runs"
                " WHERE client_session = ? AND agent_id = ?",
                (client_session, agent_id),
            ).fetchone()
        return None if row is None else AgentRun(**dict(zip(_RUN_COLUMNS, row, strict=True)))

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a read-only connection inside one transaction: every SELECT sees the same rows.

        Raises:
            StoreError: the database can't be read.
        """
        generation = self._writer.generation
        try:
            connection = self._borrow(generation)
            try:
                connection.execute("BEGIN")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            if is_damage(error):
                self._writer.recheck()
            raise _unreadable(error) from error
        self._give_back(generation, connection)

    def _borrow(self, generation: int) -> sqlite3.Connection:
        with self._lock:
            while self._idle:
                opened_at, connection = self._idle.pop()
                if opened_at == generation:
                    return connection
                connection.close()
        return open_reader(self._path)

    def _give_back(self, generation: int, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < _IDLE_READERS_MAX:
                self._idle.append((generation, connection))
                return
        connection.close()

    def _submit(self, sql: str, values: Sequence[SqlValue]) -> Future[None]:
        return self._writer.submit(sql, [_storable(value) for value in values])


def _storable(value: SqlValue) -> SqlValue:
    """Make text that came from outside fit for SQLite: no lone surrogates, no bulk."""
    if not isinstance(value, str):
        return value
    return value[:_MAX_TEXT_LENGTH].encode(errors="replace").decode()


def _unreadable(error: sqlite3.Error) -> StoreError:
    if is_damage(error):
        return StoreError(
            "ledger-damaged",
            f"the ledger is damaged: {error}",
            hint="It is being set aside for a fresh one; see: cco daemon logs",
        )
    return StoreError(
        "ledger-unreadable",
        f"the ledger cannot be read: {error}",
        hint="See: cco daemon status",
    )
