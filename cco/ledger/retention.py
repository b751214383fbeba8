# SPDX-License-Identifier: Apache-2.0
"""Removes what is older than the user wants to keep, or more than they have room for.

Requests, ended sessions and finished runs go; their sums stay. Space given up goes back to the disk
in small steps. The writer does it in idle moments, at most once in `EVERY_NS`.
"""

import logging
import sqlite3
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

EVERY_NS: Final = 3_600_000_000_000
STEP: Final = 5_000
"""Requests removed in one transaction, and pages given back: milliseconds for other writers."""

_DAY_NS: Final = 86_400_000_000_000

_OLDEST: Final = (
    "DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE started_ns < ?"
    " AND id <= (SELECT id FROM rolled_up) ORDER BY started_ns LIMIT ?)"
)


class Retention:
    """Decides what goes.

    Args:
        days: how long requests are kept.
        max_bytes: size of the database, free pages not counted, above which the oldest go too.
        now_ns: the clock, Unix time in nanoseconds.
    """

    def __init__(self, *, days: int, max_bytes: int, now_ns: Callable[[], int]) -> None:
        self._days = days
        self._max_bytes = max_bytes
        self._now_ns = now_ns
        self._due_ns = 0

    def __call__(self, connection: sqlite3.Connection) -> bool:
        """Do one step if it is time; say whether there is more to do at once."""
        now_ns = self._now_ns()
        if now_ns < self._due_ns:
            return False
        before_ns = now_ns - self._days * _DAY_NS
        removed = _remove(connection, before_ns)
        if removed < STEP and _used_bytes(connection) > self._max_bytes:
            removed += _remove_oldest(connection)
        # Every row of the answer is one page given back.
        connection.execute(f"PRAGMA incremental_vacuum({STEP})").fetchall()
        has_more = removed >= STEP
        if not has_more:
            self._due_ns = now_ns + EVERY_NS
        return has_more


def _remove(connection: sqlite3.Connection, before_ns: int) -> int:
    """Remove what began, or ended, before a moment; return how many requests went."""
    connection.execute("BEGIN IMMEDIATE")
    removed = connection.execute(_OLDEST, (before_ns, STEP)).rowcount
    connection.execute("DELETE FROM sessions WHERE ended_ns < ?", (before_ns,))
    connection.execute("DELETE FROM agent_runs WHERE started_ns < ?", (before_ns,))
    connection.execute("COMMIT")
    return removed


def _remove_oldest(connection: sqlite3.Connection) -> int:
    connection.execute("BEGIN IMMEDIATE")
    removed = connection.execute(_OLDEST, (2**63 - 1, STEP)).rowcount
    connection.execute("COMMIT")
    log.info("the ledger is larger than [ledger] max_bytes: %d requests removed", removed)
    return removed


def _used_bytes(connection: sqlite3.Connection) -> int:
    [pages] = connection.execute("PRAGMA page_count").fetchone()
    [free] = connection.execute("PRAGMA freelist_count").fetchone()
    [size] = connection.execute("PRAGMA page_size").fetchone()
    return int(pages - free) * int(size)
