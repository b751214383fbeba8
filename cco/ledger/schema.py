# SPDX-License-Identifier: Apache-2.0
"""The schema of the ledger: the one description of every table and column, and its migrations.

The comments stand inside the statements, so ``sqlite3 FILE .schema`` shows them. Kept to what
SQLite 3.34 knows, the oldest that a supported distribution ships (no ``STRICT``, no ``RETURNING``).
"""

from typing import Final

from cco.ledger import rollups
from cco.ledger.versions import Schema

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

_SESSION_AGENTS: Final = """
ALTER TABLE sessions ADD COLUMN
    agents TEXT NOT NULL DEFAULT '' /* groups of agents that it sees, a line each; '' = as the
                                       settings say */
"""
"""SQLite puts a bracket right behind it: a comment to the end of the line would swallow it."""

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
    (_SESSION_AGENTS,),
)

LEDGER: Final = Schema(
    name="ledger",
    application_id=0x63636F31,  # cco1
    migrations=MIGRATIONS,
    remedy="Name another file as database in the [ledger] section of the settings",
    # What runs at this moment: a session must not die of a broken page in old figures.
    lasting=("sessions", "agent_runs"),
)
