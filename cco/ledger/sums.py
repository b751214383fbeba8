# SPDX-License-Identifier: Apache-2.0
"""Sums over the ledger's rows: the only place that knows where the reports' figures come from."""

import sqlite3
from dataclasses import astuple, dataclass
from typing import Any, Final, Self

HOUR_S: Final = 3_600
HOUR: Final = f"started_ns / {HOUR_S * 1_000_000_000}"
"""Expression for :func:`grouped`: the UTC hour a row belongs to, in hours since the epoch."""

_SUMS: Final = """
    count(*),
    coalesce(sum(status = 0 OR status >= 400 OR error <> ''), 0),
    coalesce(sum(partial), 0),
    coalesce(sum(NOT priced), 0),
    coalesce(sum(cache = 'hit'), 0),
    coalesce(sum(cache = 'miss'), 0),
    coalesce(sum(cost_nano), 0),
    coalesce(sum(saved_nano), 0),
    coalesce(sum(prompt_saved_nano), 0),
    coalesce(sum(input_tokens), 0),
    coalesce(sum(output_tokens), 0),
    coalesce(sum(cache_read_tokens), 0),
    coalesce(sum(cache_write_5m_tokens), 0),
    coalesce(sum(cache_write_1h_tokens), 0)
"""


@dataclass(frozen=True, slots=True)
class Sums:
    """One row of ``_SUMS``, in its order."""

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

    def __add__(self, other: Self) -> Self:
        return type(self)(*map(sum, zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which rows are meant; None = no bound."""

    project: str | None = None
    client_session: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None

    def where(self) -> tuple[str, list[str | int]]:
        """Return the condition and its values; the time is half open."""
        bounds: dict[str, str | int | None] = {
            "project = ?": self.project,
            "client_session = ?": self.client_session,
            "started_ns >= ?": self.since_ns,
            "started_ns < ?": self.until_ns,
        }
        given = {condition: value for condition, value in bounds.items() if value is not None}
        return " AND ".join(given) or "TRUE", list(given.values())


def total(connection: sqlite3.Connection, scope: Scope) -> Sums:
    """Return the sums over all rows in scope."""
    condition, values = scope.where()
    row = connection.execute(f"SELECT {_SUMS} FROM requests WHERE {condition}", values).fetchone()
    return Sums(*row)


def grouped(connection: sqlite3.Connection, scope: Scope, key: str) -> list[tuple[Any, Sums]]:
    """Return sums by a column or expression of ours, the dearest first."""
    condition, values = scope.where()
    rows = connection.execute(
        f"SELECT {key}, {_SUMS} FROM requests WHERE {condition} GROUP BY 1"
        " ORDER BY sum(cost_nano) DESC, count(*) DESC, 1",
        values,
    )
    return [(found, Sums(*sums)) for found, *sums in rows]
