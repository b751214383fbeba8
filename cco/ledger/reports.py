# SPDX-License-Identifier: Apache-2.0
"""The statistics, computed from the ledger in the JSON shapes that the API serves.

All figures of one report come from one snapshot, so its groups add up to its totals. Sums are
taken in whole nano-dollars; only the finished figure becomes a JSON number of USD, the float
nearest to it, which gives back all nine decimals up to a million USD.

A day is a local day built from whole UTC hours: an hour belongs to the day in which it begins
(where the offset of the zone is not whole hours, that is not the same as the row's own day).
"""

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Final, TypeAlias

from cco.ledger.rollups import HOURS_A_DAY
from cco.ledger.store import Store
from cco.ledger.sums import HOUR_S, PROJECT, Scope, Sums, by_span, days, grouped, total

Json: TypeAlias = dict[str, Any]

RECENT_ROWS: Final = 50

_NANO: Final = 1_000_000_000

_GROUPS: Final = {"byModel": "model", "byAgent": "agent", "bySession": "session"}
_SHOWN: Final = {
    "requestId": "request_id",
    "session": "client_session",
    "launch": "session_id",
    "project": "project",
    "agent": "agent",
    "model": "model",
    "upstream": "upstream",
    "status": "status",
    "error": "error",
    "cache": "cache",
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cacheReadTokens": "cache_read_tokens",
    "cacheWriteTokens": "cache_write_5m_tokens + cache_write_1h_tokens",
    "latencyMs": "latency_ms",
    "ttftMs": "ttft_ms",
}
"""Members of a request that are as the ledger has them, and where they are from."""
_LATEST: Final = "started_ns DESC, id DESC"
"""The order of what is recent."""
_TOTALS: Final = frozenset({"cost", "tokens", "requests", "cache", "promptCache"})
MEMBERS: Final = frozenset({"project", "since", "until", *_TOTALS, *_GROUPS, "byDay", "recent"})
"""Members of a project's statistics."""


def project_stats(
    store: Store,
    *,
    project: str | None = None,
    client_session: str | None = None,
    since_ns: int | None = None,
    until_ns: int | None = None,
    members: Collection[str] = MEMBERS,
    recorded_after: int = 0,
    limit: int = RECENT_ROWS,
    zone: tzinfo | None = None,
) -> Json:
    """Return the statistics of a project, of all if None, in the shape of its endpoint.

    Args:
        store: where the rows are.
        project: canonical path.
        client_session: only this session of the client.
        since_ns: first moment, unix ns.
        until_ns: the moment after the last, unix ns.
        members: what is wanted of ``MEMBERS``; the rest is not computed.
        recorded_after: ``id`` of a recent request; only later ones are recent.
        limit: recent requests at most.
        zone: whose days are meant; None = the machine's.

    Raises:
        StoreError: the ledger can't be read.
    """
    scope = Scope(
        project=project, client_session=client_session, since_ns=since_ns, until_ns=until_ns
    )
    with store.reading() as connection:
        document = _project(connection, scope, members, zone)
        if "recent" in members:
            document["recent"] = _requests(
                connection, scope, after=recorded_after, limit=limit, order=_LATEST
            )
        return document


def requests_page(
    store: Store,
    *,
    project: str | None = None,
    since_ns: int | None = None,
    until_ns: int | None = None,
    after: int = 0,
    limit: int,
) -> Json:
    """Return requests in the order of recording, for who wants all of them page by page.

    Args:
        store: where the rows are.
        project: canonical path; None for all.
        since_ns: first moment, unix ns.
        until_ns: the moment after the last, unix ns.
        after: `next` of the page before; 0 for the first, which alone tells how many there are.
        limit: requests of a page.

    Raises:
        StoreError: the ledger can't be read.
    """
    scope = Scope(project=project, since_ns=since_ns, until_ns=until_ns)
    condition, values = scope.where()
    with store.reading() as connection:
        rows = _requests(connection, scope, after=after, limit=limit, order="id")
        (count,) = (
            connection.execute(
                f"SELECT count(*) FROM requests WHERE {condition}", values
            ).fetchone()
            if after == 0
            else (None,)
        )
    return {
        "total": count,
        "requests": rows,
        "next": rows[-1]["id"] if len(rows) == limit else None,
    }


def machine_totals(
    store: Store,
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
    members: Collection[str] = MEMBERS,
    zone: tzinfo | None = None,
) -> Json:
    """Return ``projects`` and ``totals`` of the machine's statistics; arguments as above."""
    scope = Scope(since_ns=since_ns, until_ns=until_ns)
    with store.reading() as connection:
        projects = [
            {"project": project, "costUsd": _usd(sums.cost_nano), "requests": sums.requests}
            for project, sums in grouped(connection, scope, PROJECT)
        ]
        totals = _project(connection, scope, members, zone)
        if "recent" in members:
            totals["recent"] = _requests(
                connection, scope, after=0, limit=RECENT_ROWS, order=_LATEST
            )
        return {"projects": projects, "totals": totals}


def session_cost_nano(store: Store, client_session: str) -> int:
    """Return what a session of the client has cost so far, in nano-dollars."""
    with store.reading() as connection:
        return total(connection, Scope(client_session=client_session)).cost_nano


def launch_costs(store: Store, session_ids: Iterable[str]) -> Mapping[str, float]:
    """Return what launches of cco have cost so far, in USD."""
    with store.reading() as connection:
        return {
            session_id: _usd(total(connection, Scope(session=session_id)).cost_nano)
            for session_id in session_ids
        }


def _project(
    connection: sqlite3.Connection, scope: Scope, members: Collection[str], zone: tzinfo | None
) -> Json:
    document: Json = {
        "project": scope.project,
        "since": rfc3339(scope.since_ns),
        "until": rfc3339(scope.until_ns),
    }
    if not _TOTALS.isdisjoint(members):
        document |= _totals(total(connection, scope))
    for member, name in _GROUPS.items():
        if member in members:
            groups = grouped(connection, scope, name)
            document[member] = [{name: key} | _group(sums) for key, sums in groups]
    if "byDay" in members:
        found = by_span(connection, scope, _midnights(days(connection), zone))
        document["byDay"] = [{"day": f"{_day(hour, zone)}"} | _group(sums) for hour, sums in found]
    return {member: value for member, value in document.items() if member in members}


def _midnights(utc_days: Iterable[int], zone: tzinfo | None) -> list[int]:
    """Return the hours in which the local days begin that UTC days have a part in."""
    found: list[int] = []
    for day in utc_days:
        hour = day * HOURS_A_DAY
        if found and hour < found[-1]:
            hour = found[-1]
        while hour < (day + 1) * HOURS_A_DAY:
            today = _day(hour, zone)
            tomorrow = max(_first_hour(today + timedelta(days=1), zone), hour + 1)
            found += [_first_hour(today, zone), tomorrow]
            hour = tomorrow
    return sorted(set(found))


def _day(hour: int, zone: tzinfo | None) -> date:
    return datetime.fromtimestamp(hour * HOUR_S, UTC).astimezone(zone).date()


def _first_hour(day: date, zone: tzinfo | None) -> int:
    """Return the first hour that begins in a local day."""
    return -(-int(datetime.combine(day, time.min, zone).timestamp()) // HOUR_S)


def _requests(
    connection: sqlite3.Connection, scope: Scope, *, after: int, limit: int, order: str
) -> list[Json]:
    condition, values = scope.where()
    rows = connection.execute(
        f"SELECT id, started_ns, priced, cost_nano, partial, {', '.join(_SHOWN.values())}"
        f" FROM requests WHERE id > ? AND {condition} ORDER BY {order} LIMIT ?",
        [after, *values, limit],
    )
    return [
        {
            "id": row_id,
            "time": rfc3339(started_ns),
            "costUsd": _usd(cost_nano) if priced else None,  # unknown, which is not zero
            "partial": bool(partial),
            **dict(zip(_SHOWN, shown, strict=True)),
        }
        for row_id, started_ns, priced, cost_nano, partial, *shown in rows
    ]


def _totals(sums: Sums) -> Json:
    given = sums.input + sums.cache_read + sums.cache_write_5m + sums.cache_write_1h
    return {
        "cost": {"totalUsd": _usd(sums.cost_nano), "savedUsd": _usd(sums.saved_nano)},
        "tokens": _tokens(sums),
        "requests": {
            "total": sums.requests,
            "errors": sums.errors,
            "partial": sums.partial,
            "unpriced": sums.unpriced,
        },
        "cache": {
            "hits": sums.hits,
            "misses": sums.misses,
            "hitRate": _rate(sums.hits, sums.hits + sums.misses),
        },
        "promptCache": {
            "hitRate": _rate(sums.cache_read, given),
            "savedUsd": _usd(sums.prompt_saved_nano),
        },
    }


def _group(sums: Sums) -> Json:
    return {
        "costUsd": _usd(sums.cost_nano),
        "savedUsd": _usd(sums.saved_nano),
        "requests": sums.requests,
        "errors": sums.errors,
        "tokens": _tokens(sums),
    }


def _tokens(sums: Sums) -> Json:
    counts = {
        "input": sums.input,
        "output": sums.output,
        "cacheRead": sums.cache_read,
        "cacheWrite5m": sums.cache_write_5m,
        "cacheWrite1h": sums.cache_write_1h,
    }
    return counts | {"total": sum(counts.values())}


def _usd(nano: int) -> float:
    # Division of integers rounds once, to the nearest float.
    return nano / _NANO


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def rfc3339(moment_ns: int | None) -> str | None:
    """Return a moment in UTC, cut to whole milliseconds."""
    if moment_ns is None:
        return None
    seconds, nanos = divmod(moment_ns, _NANO)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1_000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
