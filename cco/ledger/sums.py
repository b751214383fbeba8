# SPDX-License-Identifier: Apache-2.0
"""Sums over what was recorded: the only place that knows where the reports' figures come from.

A span of time is read in as few rows as there can be: whole days and hours from the roll-ups, and
what sticks out of whole hours at either end from the requests themselves, as long as retention
keeps them; beyond that the span is widened to whole hours.

::

    since                                                              until
      |··|--hours--|=============== days ===============|--hours--|···|
      requests                                                    requests

To the hours and days come the requests that are not rolled up yet.
"""

import sqlite3
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import add
from typing import Any, Final, NamedTuple

from cco.ledger.rollups import ALL, DIMENSIONS, FIGURES, HOUR_NS, HOURS_A_DAY

HOUR_S: Final = HOUR_NS // 1_000_000_000

HOUR_OF: Final = f"started_ns / {HOUR_NS}"
"""The UTC hour that a request belongs to, in hours since the epoch."""

PROJECT: Final = "project"

_END: Final = 2**40 * HOURS_A_DAY
"""An hour that no request reaches."""

_NEVER_NS: Final = 2**63 - 1

# They are few, and their ids are the quickest way to them: the planner would take the time.
_NOT_ROLLED_UP: Final = "requests NOT INDEXED WHERE id > (SELECT id FROM rolled_up)"

_OF_REQUESTS: Final = ", ".join(f"coalesce(sum({source}), 0)" for source in FIGURES.values())
_OF_ROLLUPS: Final = ", ".join(f"coalesce(sum({name}), 0)" for name in FIGURES)
_COLUMNS: Final = {**DIMENSIONS, PROJECT: "project"}
_DAYS: Final = (
    f"SELECT slot FROM rollups WHERE project = '{ALL}' AND dimension = 'total' AND period = 'day'"
    f" UNION SELECT {HOUR_OF} / {HOURS_A_DAY} FROM {_NOT_ROLLED_UP} ORDER BY 1"
)


class Sums(NamedTuple):
    """One set of sums, in the order of `rollups.FIGURES`."""

    requests: int = 0
    errors: int = 0
    partial: int = 0
    unpriced: int = 0
    hits: int = 0
    misses: int = 0
    cost_nano: int = 0
    saved_nano: int = 0
    prompt_saved_nano: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0

    def plus(self, other: "Sums") -> "Sums":
        """Return both together."""
        return Sums(*map(add, self, other))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which requests are meant; None = no bound."""

    project: str | None = None
    client_session: str | None = None
    session: str | None = None
    """Launch of cco."""
    since_ns: int | None = None
    until_ns: int | None = None

    def where(self) -> tuple[str, list[str | int]]:
        """Return the condition on requests and its values; the time is half open."""
        bounds: dict[str, str | int | None] = {
            "project = ?": self.project,
            "client_session = ?": self.client_session,
            # The index on it is partial, and SQLite must see that it may be used.
            "session_id <> '' AND session_id = ?": self.session,
            "started_ns >= ?": self.since_ns,
            "started_ns < ?": self.until_ns,
        }
        given = {condition: value for condition, value in bounds.items() if value is not None}
        return " AND ".join(given) or "TRUE", list(given.values())


def total(connection: sqlite3.Connection, scope: Scope) -> Sums:
    """Return the sums over all requests in scope."""
    found = grouped(connection, scope, "total")
    return found[0][1] if found else Sums()


def grouped(connection: sqlite3.Connection, scope: Scope, key: str) -> list[tuple[Any, Sums]]:
    """Return sums by model, agent, session or project, the dearest first."""
    found: dict[Any, Sums] = {}
    for name, sums in _parts(connection, scope, key):
        found[name] = found[name].plus(sums) if name in found else sums
    return sorted(
        ((name, sums) for name, sums in found.items() if sums.requests),
        key=lambda item: (-item[1].cost_nano, -item[1].requests, item[0]),
    )


def days(connection: sqlite3.Connection) -> list[int]:
    """Return the UTC days of which anything is known, in days since the epoch."""
    return [day for (day,) in connection.execute(_DAYS)]


def by_span(
    connection: sqlite3.Connection, scope: Scope, borders: Sequence[int]
) -> list[tuple[int, Sums]]:
    """Return the sums between any two successive borders, by the first of them.

    Args:
        connection: of one snapshot.
        scope: which requests are meant.
        borders: in hours since the epoch, ascending; what is outside of them all is left out.
    """
    found: dict[int, Sums] = {}
    for hour, sums in _parts(connection, scope, HOUR_OF, borders):
        place = bisect_right(borders, hour)
        if 0 < place < len(borders):
            begin = borders[place - 1]
            found[begin] = found[begin].plus(sums) if begin in found else sums
    return sorted((begin, sums) for begin, sums in found.items() if sums.requests)


def _parts(
    connection: sqlite3.Connection, scope: Scope, key: str, borders: Sequence[int] = ()
) -> Iterator[tuple[Any, Sums]]:
    """Yield sums of parts of the scope, by `key`; by `HOUR_OF` an hour between two borders each."""
    if scope.client_session is not None or scope.session is not None:  # their requests are few
        yield from _of_requests(connection, scope, key)
        return
    oldest_ns = _oldest_ns(connection)
    since_ns, until_ns = scope.since_ns, scope.until_ns
    first = 0 if since_ns is None else -(-since_ns // HOUR_NS)
    last = _END if until_ns is None else until_ns // HOUR_NS
    if since_ns is not None and since_ns % HOUR_NS:
        if _is_cut(connection, first - 1, oldest_ns):
            first -= 1
        else:
            end_ns = min(first * HOUR_NS, until_ns or first * HOUR_NS)
            yield from _of_requests(connection, replace(scope, until_ns=end_ns), key)
    if until_ns is not None and until_ns % HOUR_NS and last >= first:
        if _is_cut(connection, last, oldest_ns):
            last += 1
        else:
            yield from _of_requests(connection, replace(scope, since_ns=last * HOUR_NS), key)
    for period, low, high in _periods(first, last, borders):
        yield from _of_rollups(connection, scope, key, period=period, low=low, high=high)
    if first < last:
        whole = replace(scope, since_ns=first * HOUR_NS, until_ns=min(last * HOUR_NS, _NEVER_NS))
        yield from _of_requests(connection, whole, key, source=_NOT_ROLLED_UP)


def _periods(first: int, last: int, borders: Sequence[int]) -> Iterator[tuple[str, int, int]]:
    """Cut the hours from `first` up to `last` into whole days and what sticks out of them.

    With borders they are cut there.
    """
    for low, high in pairwise(borders):
        yield "hour", max(low, first), min(high, last)
    if borders:
        return
    first_day, last_day = -(-first // HOURS_A_DAY), last // HOURS_A_DAY
    if first_day >= last_day:
        yield "hour", first, last
        return
    yield "hour", first, first_day * HOURS_A_DAY
    yield "day", first_day, last_day
    yield "hour", last_day * HOURS_A_DAY, last


def _of_rollups(
    connection: sqlite3.Connection, scope: Scope, key: str, *, period: str, low: int, high: int
) -> Iterator[tuple[Any, Sums]]:
    if low >= high:
        return
    project = ALL if scope.project is None else scope.project
    dimension, column, group = (key, "key", "key")
    if key == HOUR_OF:
        dimension, column, group = "total", "min(slot)", "project"
    if key == PROJECT and scope.project is not None:
        dimension, column, group = "total", "project", "project"
    rows = connection.execute(
        f"SELECT {column}, {_OF_ROLLUPS} FROM rollups WHERE project = ? AND dimension = ?"
        f" AND period = ? AND slot >= ? AND slot < ? GROUP BY {group}",
        (project, dimension, period, low, high),
    )
    for name, *sums in rows:
        yield name, Sums(*sums)


def _of_requests(
    connection: sqlite3.Connection, scope: Scope, key: str, *, source: str = "requests WHERE TRUE"
) -> Iterator[tuple[Any, Sums]]:
    condition, values = scope.where()
    rows = connection.execute(
        f"SELECT {_COLUMNS.get(key, key)}, {_OF_REQUESTS} FROM {source} AND {condition} GROUP BY 1",
        values,
    )
    for name, *sums in rows:
        yield name, Sums(*sums)


def _oldest_ns(connection: sqlite3.Connection) -> int:
    """Return when the oldest request began that retention has left; before it only sums are."""
    [oldest] = connection.execute("SELECT min(started_ns) FROM requests").fetchone()
    return int(oldest) if oldest is not None else _NEVER_NS


def _is_cut(connection: sqlite3.Connection, hour: int, oldest_ns: int) -> bool:
    """Say whether retention has removed requests of an hour."""
    begin_ns = hour * HOUR_NS
    if begin_ns >= oldest_ns:
        return False
    [summed, left] = connection.execute(
        "SELECT (SELECT coalesce(sum(requests), 0) FROM rollups WHERE project = ?"
        " AND dimension = 'total' AND period = 'hour' AND slot = ?),"
        " (SELECT count(*) FROM requests WHERE started_ns >= ? AND started_ns < ?"
        " AND id <= (SELECT id FROM rolled_up))",
        (ALL, hour, begin_ns, min(begin_ns + HOUR_NS, _NEVER_NS)),
    ).fetchone()
    return bool(summed != left)
