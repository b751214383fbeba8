# SPDX-License-Identifier: Apache-2.0
"""``/api/sessions``: the launches of `cco` that are alive."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from cco.api import given
from cco.api.answers import tagged
from cco.api.services import Services
from cco.catalog import render
from cco.catalog.catalog import Catalog
from cco.errors import ConfigError, RequestError, StoreError
from cco.ledger import lately, reports
from cco.orchestration.sessions import Session


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("sessions", __name__, url_prefix="/api/sessions")

    @routes.post("")
    def register() -> ResponseReturnValue:
        given.require_local_socket()
        told = given.payload()
        upstream = given.text(told, "upstream", "")
        if upstream and not _is_http(upstream):
            raise RequestError(
                "bad-member", "'upstream' must be an http or https URL", hint=given.SEE
            )
        groups = given.texts(told, "agents")
        team = _team(services, groups)
        session, token = services.sessions.register(
            pid=given.number(told, "pid"),
            cwd=given.text(told, "cwd"),
            project=given.text(told, "project"),
            upstream=upstream.rstrip("/"),
            groups=groups,
        )
        services.prepare(session)
        seen = {
            "agents": len(team.agents),
            "contextTokens": team.context_tokens,
            "hooks": render.session_hooks(services.catalog),
        }
        return jsonify({"id": session.id, "token": token, **seen}), 201

    @routes.get("")
    def listing() -> ResponseReturnValue:
        live = services.sessions.live()
        costs, running = _recorded(services, live)
        return tagged(
            {
                "sessions": [
                    describe(one, cost=costs.get(one.id), running=running.get(one.id))
                    for one in live
                ]
            }
        )

    @routes.delete("/<session_id>")
    def end(session_id: str) -> ResponseReturnValue:
        services.sessions.end(session_id)
        return "", 204

    return routes


def _team(services: Services, groups: Sequence[str]) -> Catalog:
    """Return what a session of these groups will see.

    Raises:
        RequestError: `unknown-group`, with the nearest names in the hint.
    """
    try:
        return (services.teams.of(groups) if groups else services.teams.default).catalog
    except ConfigError as error:
        raise RequestError(error.code, error.message, hint=error.hint) from error


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets without an address between them, a port above 65535
        return False


def _recorded(
    services: Services, live: Sequence[Session]
) -> tuple[Mapping[str, float], Mapping[str, list[str]]]:
    """Return what the ledger knows of sessions: their cost, their running agents."""
    ids = [session.id for session in live]
    try:
        return (
            reports.launch_costs(services.store, ids),
            lately.running_agents(services.store, ids),
        )
    except StoreError:  # whoever asks wants to know the sessions all the same
        return {}, {}


def describe(session: Session, *, cost: float | None, running: list[str] | None) -> dict[str, Any]:
    """Return a session as the API shows it.

    Args:
        session: which.
        cost: of its requests, in USD; None where the ledger cannot tell.
        running: names of its subagents that run; None likewise.
    """
    row = session.row
    return {
        "id": row.id,
        "pid": row.pid,
        "project": row.project,
        "cwd": row.cwd,
        "upstream": row.upstream or None,
        "agents": list(session.groups) or None,
        "startedAt": reports.rfc3339(row.created_ns),
        "costUsd": cost,
        "runningAgents": running,
    }
