# SPDX-License-Identifier: Apache-2.0
"""What happened lately: requests and cost over time, how quick upstreams are, which agents run.

All of it is bounded by time, so it costs the same however long the history is. Of one call all
figures come from one snapshot.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from cco.ledger.reports import rfc3339
from cco.ledger.store import Store
from cco.ledger.sums import Scope, by_span

Json: TypeAlias = dict[str, Any]

MINUTES: Final = 60
HOURS: Final = 24

_NANO: Final = 1_000_000_000
_MINUTE_NS: Final = 60 * _NANO
_HOUR_NS: Final = 60 * _MINUTE_NS


def activity(store: Store, *, now_ns: int, project: str | None = None) -> Json:
    """Return requests and cost of each of the last minutes and hours, the oldest first.

    ::

        {"project", "minutes": {"from": time, "requests": [60], "costUsd": [60]},
                    "hours":   {"from": time, "requests": [24], "costUsd": [24]}}

    The last of each has just begun.
    """
    minute, hour = now_ns // _MINUTE_NS - MINUTES + 1, now_ns // _HOUR_NS - HOURS + 1
    with store.reading() as connection:
        minutes = _by_minute(connection, Scope(project=project, since_ns=minute * _MINUTE_NS))
        scope = Scope(project=project, since_ns=hour * _HOUR_NS)
        hours = {
            begin: (sums.requests, sums.cost_nano)
            for begin, sums in by_span(connection, scope, range(hour, hour + HOURS + 1))
        }
    return {
        "project": project,
        "minutes": _series(minutes, first=minute, length=MINUTES, step_ns=_MINUTE_NS),
        "hours": _series(hours, first=hour, length=HOURS, step_ns=_HOUR_NS),
    }


def upstreams(store: Store, *, now_ns: int) -> Mapping[str, Json]:
    """Return what the requests of the last hour tell of each upstream, by its name.

    ::

        {"requests", "errors", "latencyMs": {"p50", "p95"}, "ttftMs": {"p50", "p95"}}

    Latency and first byte are those of answers with success.
    """
    scope = Scope(since_ns=now_ns - _HOUR_NS)
    condition, values = scope.where()
    found: dict[str, list[tuple[int, str, float, float | None]]] = {}
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT upstream, status, error, latency_ms, ttft_ms FROM requests"
            f" WHERE upstream <> '' AND {condition}",
            values,
        )
        for name, *told in rows:
            found.setdefault(name, []).append((told[0], told[1], told[2], told[3]))
    return {name: _upstream(told) for name, told in found.items()}


def running_agents(store: Store, session_ids: Iterable[str]) -> Mapping[str, list[str]]:
    """Return the names of the subagents that run in each launch of cco, by its id."""
    with store.reading() as connection:
        return {
            session_id: [
                agent
                for (agent,) in connection.execute(
                    "SELECT agent FROM agent_runs WHERE ended_ns IS NULL AND client_session IN"
                    " (SELECT DISTINCT client_session FROM requests"
                    # The index on session_id is partial: see `Scope.where`.
                    " WHERE session_id <> '' AND session_id = ? AND client_session <> '')"
                    " ORDER BY started_ns, agent_id",
                    (session_id,),
                )
            ]
            for session_id in session_ids
        }


def _by_minute(connection: sqlite3.Connection, scope: Scope) -> dict[int, tuple[int, int]]:
    condition, values = scope.where()
    rows = connection.execute(
        f"SELECT started_ns / {_MINUTE_NS}, count(*), sum(cost_nano) FROM requests"
        f" WHERE {condition} GROUP BY 1",
        values,
    )
    return {minute: (requests, cost_nano) for minute, requests, cost_nano in rows}


def _series(found: Mapping[int, tuple[int, int]], *, first: int, length: int, step_ns: int) -> Json:
    slots = [found.get(slot, (0, 0)) for slot in range(first, first + length)]
    return {
        "from": rfc3339(first * step_ns),
        "requests": [requests for requests, _ in slots],
        "costUsd": [cost_nano / _NANO if cost_nano else 0 for _, cost_nano in slots],
    }


def _upstream(told: Sequence[tuple[int, str, float, float | None]]) -> Json:
    good = [(took, first) for status, error, took, first in told if 0 < status < 400 and not error]
    return {
        "requests": len(told),
        "errors": len(told) - len(good),
        "latencyMs": _percentiles([took for took, _ in good]),
        "ttftMs": _percentiles([first for _, first in good if first is not None]),
    }


def _percentiles(values: Sequence[float]) -> Json:
    """Return the value that half, and that 95 of 100, are not above; null where there is none."""
    ordered = sorted(values)

    def rank(percent: int) -> float | None:
        return ordered[-(-percent * len(ordered) // 100) - 1] if ordered else None

    return {"p50": rank(50), "p95": rank(95)}
