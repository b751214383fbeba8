# SPDX-License-Identifier: Apache-2.0
"""The records that the ledger keeps, as plain values.

Pure. What each field means, its sentinel and its invariants are written once, at the column of
the same name in :mod:`cco.ledger.schema`; the defaults here are those sentinels. No record holds
prompt or answer text, or a credential.
"""

from dataclasses import dataclass, field

from cco.ledger.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """One client request and what became of it."""

    request_id: str
    started_ns: int
    session_id: str = ""
    client_session: str = ""
    project: str = ""
    agent_id: str = ""
    agent: str = "main"
    parent_agent_id: str = ""
    parent_agent: str = ""
    model: str = ""
    method: str = ""
    path: str = ""
    upstream: str = ""
    attempts: int = 0
    status: int = 0
    error: str = ""
    cache: str = "bypass"
    stream: bool = False
    partial: bool = False
    priced: bool = True
    usage: Usage = field(default_factory=Usage)
    cost_nano: int = 0
    saved_nano: int = 0
    prompt_saved_nano: int = 0
    latency_ms: float = 0.0
    ttft_ms: float | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    upstream_request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """One launch of ``cco``; it outlives the daemon."""

    id: str
    token_hash: str
    pid: int
    start_ticks: int
    project: str
    cwd: str
    upstream: str
    created_ns: int
    ended_ns: int | None = None
    agents: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRun:
    """One run of a subagent, as the client's hooks told it."""

    client_session: str
    agent_id: str
    agent: str
    parent_agent_id: str = ""
    started_ns: int
    ended_ns: int | None = None
