# SPDX-License-Identifier: Apache-2.0
"""The schema of the ledger: the one description of every table and column, and its migrations.

``MIGRATIONS[n]`` brings a database from version n to n + 1; a fresh one goes through all of them.
An entry that was released is never edited: what changes is appended. The version lies in
``PRAGMA user_version``, and ``PRAGMA application_id`` tells our file from somebody else's. The
comments stand inside the statements, so ``sqlite3 FILE .schema`` shows them.

Kept to what SQLite 3.34 knows, the oldest that a supported distribution ships (no ``STRICT``, no
``RETURNING``).
"""

import sqlite3
from typing import Final

from cco.errors import StoreError
from cco.ledger import rollups

APPLICATION_ID: Final = 0x63636F31
"""``cco1`` in ASCII."""

_REQUESTS: Final = """
CREATE TABLE requests (
    -- One row a client request, cache hits and refusals included. Rows are only ever added, and
    -- removed by retention; times are UTC, money is whole nano-dollars (10^-9 USD).
    id INTEGER PRIMARY KEY,              -- order of recording, nothing more
    request_id TEXT NOT NULL UNIQUE,     -- ours (x-cco-request-id); a write repeated is ignored
    started_ns INTEGER NOT NULL,         -- unix time in ns at which the request had been read
    session_id TEXT NOT NULL,            -- launch of cco (sessions.id); '' = came without a prefix.
                                         -- No foreign key: each may outlive the other
    client_session TEXT NOT NULL,        -- x-claude-code-session-id; '' = none sent
    project TEXT NOT NULL,               -- canonical path; '' = unknown
    agent_id TEXT NOT NULL,              -- x-claude-code-agent-id; '' = the main conversation
    agent TEXT NOT NULL,                 -- name in the catalogue; 'main', 'unattributed'
    parent_agent_id TEXT NOT NULL,       -- x-claude-code-parent-agent-id; '' = spawned by main
    parent_agent TEXT NOT NULL,          -- its name; 'main' = spawned by main; '' = itself main
    model TEXT NOT NULL,                 -- as the request named it, or, if another of another price
                                         -- answered, that one; '' = none named
    method TEXT NOT NULL,                -- GET, POST, ...
    path TEXT NOT NULL,                  -- without session prefix and query: /v1/messages
    upstream TEXT NOT NULL,              -- name in the settings; '' = none was asked
    attempts INTEGER NOT NULL,           -- upstream requests made for it; 0 = answered by ourselves
    status INTEGER NOT NULL,             -- HTTP status the client got; 0 = it got none
    error TEXT NOT NULL,                 -- our code, or the type the upstream named; '' = none
    cache TEXT NOT NULL,                 -- miss, hit, coalesced, bypass (not looked up)
    stream INTEGER NOT NULL,             -- 1 = answered as an event stream
    partial INTEGER NOT NULL,            -- 1 = ended before the answer was whole; usage may be low
    priced INTEGER NOT NULL,             -- 0 = what it cost is unknown, for the model has no price
                                         -- or the usage was not told; cost_nano means nothing
    input_tokens INTEGER NOT NULL,       -- neither read from nor written to the prompt cache.
                                         -- All counts are as the upstream reported them for this
                                         -- very request: 0 on a hit, which used nothing
    output_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_5m_tokens INTEGER NOT NULL,
    cache_write_1h_tokens INTEGER NOT NULL,
    web_searches INTEGER NOT NULL,
    service_tier TEXT NOT NULL,          -- '' = not reported
    speed TEXT NOT NULL,                 -- '' = not reported
    usage_flawed INTEGER NOT NULL,       -- 1 = a reported figure was unusable and counts as 0
    cost_nano INTEGER NOT NULL,          -- at the prices of that moment; never recomputed
    saved_nano INTEGER NOT NULL,         -- what the answer from our cache would have cost
    prompt_saved_nano INTEGER NOT NULL,  -- cache_read_tokens at the input price, less their cost
    latency_ms REAL NOT NULL,            -- from started_ns to the last byte, or the end of it
    ttft_ms REAL,                        -- to the first byte of the body; NULL = there was none
    request_bytes INTEGER NOT NULL,      -- body only
    response_bytes INTEGER NOT NULL,     -- body only, as sent to the client
    upstream_request_id TEXT NOT NULL    -- its request-id header; '' = none
)
"""

_SESSIONS: Final = """
CREATE TABLE sessions (
    -- Launches of cco, so that a restarted daemon knows the sessions that still run.
    id TEXT PRIMARY KEY,                 -- the <id> of /s/<id>; no secret
    token_hash TEXT NOT NULL,            -- of CCO_SESSION; the token itself is never stored
    pid INTEGER NOT NULL,                -- of Claude Code
    start_ticks INTEGER NOT NULL,        -- its start time in /proc, for pids are used again
    project TEXT NOT NULL,               -- canonical path
    cwd TEXT NOT NULL,                   -- directory it was launched in
    upstream TEXT NOT NULL,              -- base URL of this session; '' = as the settings say
    created_ns INTEGER NOT NULL,         -- unix ns
    ended_ns INTEGER                     -- unix ns; NULL = alive as far as we know
)
"""

_AGENT_RUNS: Final = """
CREATE TABLE agent_runs (
    -- Which agent hides behind an agent id, as told by SubagentStart and SubagentStop.
    client_session TEXT NOT NULL,        -- session_id of the hook
    agent_id TEXT NOT NULL,              -- fresh for every run
    agent TEXT NOT NULL,                 -- name in the catalogue, or as the client called it
    parent_agent_id TEXT NOT NULL,       -- '' = spawned by main, or not known yet
    started_ns INTEGER NOT NULL,         -- unix ns
    ended_ns INTEGER,                    -- unix ns; NULL = running as far as we know
    PRIMARY KEY (client_session, agent_id)
) WITHOUT ROWID
"""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        _REQUESTS,
        # Every report is bounded by time; most by project or session as well.
        "CREATE INDEX requests_by_time ON requests (started_ns)",
        "CREATE INDEX requests_by_project ON requests (project, started_ns)",
        "CREATE INDEX requests_by_client_session ON requests (client_session, started_ns)",
        _SESSIONS,
        # Live sessions are few, ended ones many.
        "CREATE INDEX sessions_alive ON sessions (created_ns) WHERE ended_ns IS NULL",
        _AGENT_RUNS,
    ),
    (
        *rollups.MIGRATION,
        # For the budget of a launch.
        "CREATE INDEX requests_by_session ON requests (session_id) WHERE session_id <> ''",
    ),
)

SCHEMA_VERSION: Final = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database to ``SCHEMA_VERSION``: all of the missing steps, or none of them.

    Raises:
        StoreError: the database is of a newer CCO, or is not ours.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = read_version(connection)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        if version < SCHEMA_VERSION:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def read_version(connection: sqlite3.Connection) -> int:
    """Return the schema version of a database, 0 for an empty one.

    Raises:
        StoreError: the database is of a newer CCO, or is not ours.
    """
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    [objects] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or version or objects):
        raise StoreError(
            "ledger-foreign",
            "The ledger's file is a database of another program",
            hint="Name another file as database in the [ledger] section of the settings.",
        )
    if version > SCHEMA_VERSION:
        raise StoreError(
            "ledger-newer",
            f"The ledger has schema version {version}, this CCO knows {SCHEMA_VERSION} at most",
            hint="Install the newer CCO again, or name another database in the [ledger] settings.",
        )
    return int(version)
