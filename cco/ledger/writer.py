# SPDX-License-Identifier: Apache-2.0
"""The one thread that writes to the ledger.

Anyone may submit; only the thread touches the write connection. Commits are grouped: what was
submitted while one transaction was being written goes into the next, and a submitter's future is
done when its transaction is. Where the database cannot be written (full disk, read-only
directory, another process that holds it), the writes wait here, at most ``PENDING_MAX`` of them,
and are tried again; what comes on top of that is lost and counted. A write may be tried twice, so
every statement must come to the same when repeated. Callbacks of a future run on the thread.

Start it after a fork, never before: a thread and a SQLite connection do not survive one.
"""

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias, TypedDict

from cco.errors import StoreError
from cco.ledger.database import open_writer

log = logging.getLogger(__name__)

PENDING_MAX: Final = 10_000
"""Writes that may wait, 27 MB of requests (measured); hours of one user's work."""

_BATCH_MAX: Final = 1_000
_RETRY_S: Final = 1.0

_IDLE_S: Final = 0.2
"""Without a write for so long, the moment is idle."""

_UPKEEP_EVERY: Final = 2_000
"""Writes after which upkeep waits for no idle moment."""

_PASSING: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR}
)
"""Errors after which the connection is as good as before; after others it is opened anew, which
checks the file and sets it aside if it is damaged."""

_REFUSALS: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    ValueError,
)
"""A statement that fails with one of these would always fail: it alone is given up."""

Upkeep: TypeAlias = Callable[[sqlite3.Connection], bool]

SqlValue: TypeAlias = str | int | float | None


class Health(TypedDict):
    """How recording fares."""

    status: Literal["ok", "degraded", "closed"]
    pending: int
    """Writes not yet committed."""
    lost: int
    """Writes given up since the start."""
    reason: str | None
    """Why writes wait; null when all is well."""


class _Write(NamedTuple):
    sql: str
    values: Sequence[SqlValue]
    done: Future[None]


class Writer:
    """Owns the write connection and its thread.

    Args:
        path: of the database.
        upkeep: called in idle moments after writing; says whether there is more to do.

    Raises:
        StoreError: the database is newer than this CCO, or not ours. Every other obstacle only
            delays the writing.
    """

    def __init__(self, path: Path, *, upkeep: Upkeep) -> None:
        self._path = path
        self._upkeep = upkeep
        self._since_upkeep = 1  # a database may come with work left over
        self._changed = threading.Condition()
        self._pending: deque[_Write] = deque()
        self._problem: str | None = None
        self._lost = 0
        self._closing = False
        self._suspect = False
        self._connection: sqlite3.Connection | None = None
        self.generation = 0
        """Grows with each opening; readers of an earlier one look at a file set aside."""
        try:
            self._open()
        except (sqlite3.Error, OSError) as error:
            self._fail(error)
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, sql: str, values: Sequence[SqlValue]) -> Future[None]:
        """Queue one statement; never raises. The future tells a loss by a StoreError."""
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # what was submitted cannot be called back
        with self._changed:
            accepted = not self._closing and len(self._pending) < PENDING_MAX
            if accepted:
                self._pending.append(_Write(sql, values, done))
                self._changed.notify()
        if not accepted:
            self._lose([done], StoreError("ledger-lost", "The ledger takes no more writes"))
        return done

    def recheck(self) -> None:
        """Have the file opened and checked anew: somebody met damage in it while reading."""
        with self._changed:
            self._suspect = True
            self._changed.notify()

    def health(self) -> Health:
        """Return the state of recording at this moment."""
        with self._changed:
            status: Literal["ok", "degraded", "closed"] = "degraded" if self._problem else "ok"
            return {
                "status": "closed" if self._closing else status,
                "pending": len(self._pending),
                "lost": self._lost,
                "reason": self._problem,
            }

    def close(self) -> None:
        """Write what waits, once more if need be, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            if self._suspect:
                self._suspect = False
                self._drop_connection()
            try:
                connection = self._connection or self._open()
                self._settle(batch, _commit(connection, batch))
                if not batch or self._since_upkeep > _UPKEEP_EVERY:
                    self._since_upkeep = 1 if self._upkeep(connection) else 0
            except (sqlite3.Error, OSError, StoreError) as error:
                self._fail(error)
        self._drop_connection()
        left = [write.done for write in self._pending]
        self._pending.clear()
        self._lose(left, StoreError("ledger-lost", "The ledger closed before it could be written"))

    def _next_batch(self) -> Sequence[_Write] | None:
        """Wait for something to do, which may be to open the file only; None: time to go."""
        with self._changed:
            if self._problem and not self._closing:
                self._changed.wait_for(lambda: self._closing, _RETRY_S)
            elif self._problem:
                return None
            else:
                idle_s = _IDLE_S if self._since_upkeep else None
                self._changed.wait_for(
                    lambda: self._pending or self._closing or self._suspect, idle_s
                )
                if not self._pending and self._closing:
                    return None
            return list(islice(self._pending, _BATCH_MAX))

    def _open(self) -> sqlite3.Connection:
        self._connection = open_writer(self._path)
        self.generation += 1
        return self._connection

    def _drop_connection(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def _settle(self, batch: Sequence[_Write], refused: Mapping[int, Exception]) -> None:
        with self._changed:
            self._since_upkeep += len(batch)
            for _ in batch:
                self._pending.popleft()
            recovered, self._problem = self._problem, None
        if recovered:
            log.info("The ledger is written again")
        for index, write in enumerate(batch):
            if index not in refused:
                write.done.set_result(None)
        for index, error in refused.items():
            loss = StoreError("ledger-lost", f"The ledger cannot hold this: {error}")
            self._lose([batch[index].done], loss)

    def _fail(self, error: Exception) -> None:
        """Keep the batch where it is, at the head of the queue, and say why, once."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _PASSING:
            self._drop_connection()
        elif self._connection is not None and self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
        with self._changed:
            news, self._problem = self._problem != str(error), str(error)
        if news:
            log.error("The ledger cannot be written, requests go on: %s (%s)", error, self._path)

    def _lose(self, futures: Sequence[Future[None]], error: StoreError) -> None:
        if not futures:
            return
        with self._changed:
            first = not self._lost
            self._lost += len(futures)
        # After the first the count in health() tells the rest.
        log.log(logging.ERROR if first else logging.DEBUG, "%s; %d lost", error, len(futures))
        for future in futures:
            future.set_exception(error)


def _commit(connection: sqlite3.Connection, batch: Sequence[_Write]) -> dict[int, Exception]:
    """Write a batch in one transaction; return what can never be written, by its index."""
    refused: dict[int, Exception] = {}
    if not batch:
        return refused
    connection.execute("BEGIN IMMEDIATE")
    try:
        for index, write in enumerate(batch):
            try:
                connection.execute(write.sql, write.values)
            except _REFUSALS as error:
                refused[index] = error
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
    return refused
