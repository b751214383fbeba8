# SPDX-License-Identifier: Apache-2.0
"""A ledger that has seen much: any number of requests over the same days, by the same few.

Only the number of requests differs between two of them: days, projects, models, agents and sessions
do not, so whatever takes longer in the larger one grows with its rows.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from cco.ledger import rollups
from cco.ledger.store import Store

DAYS: Final = 90
DAY_NS: Final = 24 * rollups.HOUR_NS
END_NS: Final = 20_700 * DAY_NS
"""The moment after the last request, a midnight in UTC."""
PROJECT: Final = "/home/me/project-3"
SESSIONS_A_DAY: Final = 12
LAUNCH: Final = "launch-40-3"
SESSION: Final = "session-40-3"

_COLUMNS: Final = {
    "request_id": "'r' || n",
    "started_ns": f"{END_NS} - {DAYS * DAY_NS} + n * ({DAYS * DAY_NS} / :rows)",
    "session_id": f"'launch-' || (n * {DAYS} / :rows) || '-' || (n % {SESSIONS_A_DAY})",
    "client_session": f"'session-' || (n * {DAYS} / :rows) || '-' || (n % {SESSIONS_A_DAY})",
    "project": "'/home/me/project-' || (n % 7)",
    "agent_id": "CASE n % 3 WHEN 0 THEN '' ELSE 'a' || n END",
    "agent": "CASE n % 3 WHEN 0 THEN 'main' ELSE 'Agent ' || (n % 17) END",
    "parent_agent_id": "''",
    "parent_agent": "''",
    "model": "'model-' || (n % 5)",
    "method": "'POST'",
    "path": "'/v1/messages'",
    "upstream": "'anthropic'",
    "attempts": "1",
    "status": "CASE n % 50 WHEN 0 THEN 529 ELSE 200 END",
    "error": "''",
    "cache": "'miss'",
    "stream": "1",
    "partial": "n % 101 = 0",
    "priced": "1",
    "input_tokens": "n * 7919 % 9000",
    "output_tokens": "n * 104729 % 3000",
    "cache_read_tokens": "n * 15485863 % 90000",
    "cache_write_5m_tokens": "n % 11 * 100",
    "cache_write_1h_tokens": "0",
    "web_searches": "0",
    "service_tier": "'standard'",
    "speed": "''",
    "usage_flawed": "0",
    "cost_nano": "n * 32452843 % 400000000",
    "saved_nano": "0",
    "prompt_saved_nano": "n * 49979687 % 90000000",
    "latency_ms": "1000.5",
    "ttft_ms": "500.25",
    "request_bytes": "50000",
    "response_bytes": "3000",
    "upstream_request_id": "'req_' || n",
}


def fill(path: Path, rows: int) -> None:
    """Make a ledger with so many requests, all of them summed up."""
    Store.open(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(
            "WITH RECURSIVE numbers(n) AS"
            " (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :rows)"
            f" INSERT INTO requests ({', '.join(_COLUMNS)})"
            f" SELECT {', '.join(_COLUMNS.values())} FROM numbers",
            {"rows": rows},
        )
        while rollups.catch_up(connection):
            pass
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
