# SPDX-License-Identifier: Apache-2.0
"""Opening a database of ours: modes, durability, integrity check, setting a damaged one aside.

The file is 0600, a directory made for it 0700. Whoever opens it for writing holds an exclusive
lock on the directory while checking, setting aside and migrating, so that of two processes that
find the same damage the second finds the fresh database.
"""

import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from cco.ledger.schema import LEDGER
from cco.ledger.versions import Schema

log = logging.getLogger(__name__)

_BUSY_TIMEOUT_S: Final = 5.0
"""How long one process waits for the other's transaction; ours take milliseconds."""

_PRAGMAS: Final = (
    # Readers never wait for the writer, nor it for them.
    "PRAGMA journal_mode = WAL",
    # A commit is in the kernel's hands when it returns, so no kill of this process loses it. What
    # NORMAL leaves out is a flush to the disk for each commit: a power cut may take the last
    # moments (never the integrity), which buys commits of microseconds instead of milliseconds.
    "PRAGMA synchronous = NORMAL",
    # After a checkpoint the write-ahead log shrinks to this again.
    "PRAGMA journal_size_limit = 16777216",
)

_WAL_PARTS: Final = ("-wal", "-shm")


def open_writer(path: Path, schema: Schema = LEDGER) -> sqlite3.Connection:
    """Open the database for writing: sound, private, of the current version.

    A damaged file is renamed to ``<name>.damaged-<UTC stamp>``, with that name in the log, and a
    fresh one begun; what is lasting is carried over if it can be read.

    Raises:
        StoreError: newer than this CCO, or not ours.
        sqlite3.Error, OSError: not to be had at present; worth trying again.
    """
    if not path.parent.exists():
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
    with _locked(path.parent):
        try:
            return _open_sound(path, schema)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            damaged = _set_aside(path)
            log.error("The %s was damaged (%s); set aside as %s", schema.name, error, damaged)
        connection = _open_sound(path, schema)
        _carry_over(damaged, connection, schema.lasting)
        return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the database read-only, for one thread at a time."""
    return _connect(path, mode="ro")


def is_damage(error: sqlite3.Error) -> bool:
    """Say whether an error means that the file's content is broken."""
    # The low byte is the primary code; errors raised by the module itself have none.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _connect(path: Path, *, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,  # transactions are ours to begin
        check_same_thread=False,  # handed from thread to thread, never used by two at once
    )


def _open_sound(path: Path, schema: Schema) -> sqlite3.Connection:
    # SQLite gives the -wal and -shm files the mode of the database.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = _connect(path, mode="rw")
    try:
        _check(connection)
        schema.read_version(connection)  # nothing is changed in a file that is not ours
        path.chmod(0o600)
        # Takes effect on an empty file only, and lets retention give pages back later.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        schema.migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection) -> None:
    [finding] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        error = sqlite3.DatabaseError(" ".join(finding.split()))
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _set_aside(path: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    # The log goes first: left behind, it would be played into the fresh database.
    for part in _WAL_PARTS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + part).rename(target.with_name(target.name + part))
    path.rename(target)
    return target


def _carry_over(damaged: Path, fresh: sqlite3.Connection, tables: Iterable[str]) -> None:
    for table in tables:
        try:
            with closing(_connect(damaged, mode="ro")) as old:
                rows = old.execute(f"SELECT * FROM {table} WHERE ended_ns IS NULL").fetchall()
            if rows:
                marks = ", ".join("?" * len(rows[0]))
                fresh.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)
        except sqlite3.DatabaseError as error:
            log.warning("Nothing could be carried over from %s of %s: %s", table, damaged, error)
