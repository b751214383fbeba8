# SPDX-License-Identifier: Apache-2.0
"""What the statistics of requests must be, computed from the rows without CCO's own sums."""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

from tests.daemon import Daemon

Row = Mapping[str, Any]

NANO: Final = 10**9
HOUR_NS: Final = 3600 * NANO
KINDS: Final = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cacheRead": "cache_read_tokens",
    "cacheWrite5m": "cache_write_5m_tokens",
    "cacheWrite1h": "cache_write_1h_tokens",
}


def rows_of(served: Daemon) -> list[Row]:
    """Return all requests of the ledger, read past the daemon."""
    uri = f"{(served.state / 'cco.db').as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM requests ORDER BY id")]


def total(rows: Iterable[Row], column: str) -> int:
    return sum(row[column] for row in rows)


def is_error(row: Row) -> bool:
    return bool(row["status"] == 0 or row["status"] >= 400 or row["error"])


def tokens(rows: list[Row]) -> dict[str, int]:
    found = {kind: total(rows, column) for kind, column in KINDS.items()}
    return {**found, "total": sum(found.values())}


def group(rows: list[Row]) -> dict[str, Any]:
    return {
        "costUsd": total(rows, "cost_nano") / NANO,
        "savedUsd": total(rows, "saved_nano") / NANO,
        "requests": len(rows),
        "errors": sum(map(is_error, rows)),
        "tokens": tokens(rows),
    }


def rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def grouped(rows: list[Row], member: str, column: str) -> list[dict[str, Any]]:
    names = {row[column] for row in rows}
    return [{member: name} | group([row for row in rows if row[column] == name]) for name in names]


def day_of(row: Row) -> str:
    hour = datetime.fromtimestamp(row["started_ns"] // HOUR_NS * 3600, UTC)
    return hour.astimezone().date().isoformat()


def time_of(row: Row) -> str:
    moment = datetime.fromtimestamp(row["started_ns"] // NANO, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{row['started_ns'] // 10**6 % 1000:03d}Z"


def recent(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "requestId": row["request_id"],
        "time": time_of(row),
        "session": row["client_session"],
        "launch": row["session_id"],
        "project": row["project"],
        "agent": row["agent"],
        "model": row["model"],
        "upstream": row["upstream"],
        "status": row["status"],
        "error": row["error"],
        "partial": bool(row["partial"]),
        "cache": row["cache"],
        "inputTokens": row["input_tokens"],
        "outputTokens": row["output_tokens"],
        "cacheReadTokens": row["cache_read_tokens"],
        "cacheWriteTokens": row["cache_write_5m_tokens"] + row["cache_write_1h_tokens"],
        "costUsd": row["cost_nano"] / NANO if row["priced"] else None,
        "latencyMs": row["latency_ms"],
        "ttftMs": row["ttft_ms"],
    }


def figures(rows: list[Row]) -> dict[str, Any]:
    """Return what the statistics of these requests must be, in the shape of the API."""
    hits, misses = (sum(row["cache"] == kind for row in rows) for kind in ("hit", "miss"))
    used = tokens(rows)
    days = sorted({day_of(row) for row in rows})
    latest = sorted(rows, key=lambda row: (row["started_ns"], row["id"]), reverse=True)
    return {
        "cost": {
            "totalUsd": total(rows, "cost_nano") / NANO,
            "savedUsd": total(rows, "saved_nano") / NANO,
        },
        "tokens": used,
        "requests": {
            "total": len(rows),
            "errors": sum(map(is_error, rows)),
            "partial": total(rows, "partial"),
            "unpriced": sum(not row["priced"] for row in rows),
        },
        "cache": {"hits": hits, "misses": misses, "hitRate": rate(hits, hits + misses)},
        "promptCache": {
            "hitRate": rate(used["cacheRead"], used["total"] - used["output"]),
            "savedUsd": total(rows, "prompt_saved_nano") / NANO,
        },
        "byModel": grouped(rows, "model", "model"),
        "byAgent": grouped(rows, "agent", "agent"),
        "bySession": grouped(rows, "session", "client_session"),
        "byDay": [{"day": day} | group([r for r in rows if day_of(r) == day]) for day in days],
        "recent": [recent(row) for row in latest[:50]],
    }


def without_order(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return statistics with the groups that are told in the order of their cost by name."""
    found = dict(told)
    for by in ("model", "agent", "session"):
        found[f"by{by.capitalize()}"] = {one[by]: one for one in told[f"by{by.capitalize()}"]}
    return found
