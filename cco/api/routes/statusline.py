# SPDX-License-Identifier: Apache-2.0
"""``GET /api/statusline``: the few figures of Claude Code's status line, in one answer."""

import time
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from cco.api import given
from cco.api.services import Services
from cco.ledger import reports
from cco.ledger.pots import NANO, State
from cco.orchestration.sessions import Session

MEMBERS = ("cost", "promptCache")


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("statusline", __name__, url_prefix="/api")

    @routes.get("/statusline")
    def statusline() -> ResponseReturnValue:
        given.only_parameters("session")
        session = request.args.get("session", "")
        launch = given.session(services)
        budgets = [state for state in services.budgets.states() if _is_for(state, launch)]
        return jsonify(
            {
                "session": _figures(services, client_session=session) if session else None,
                "today": _figures(services, since_ns=_midnight_ns()),
                "budget": _budget(max(budgets, key=_share)) if budgets else None,
            }
        )

    return routes


def _figures(services: Services, **scope: Any) -> dict[str, Any]:
    told = reports.project_stats(services.store, members=MEMBERS, **scope)
    return {
        "costUsd": told["cost"]["totalUsd"],
        "promptCacheHitRate": told["promptCache"]["hitRate"],
    }


def _midnight_ns() -> int:
    now = datetime.fromtimestamp(time.time_ns() // NANO, UTC).astimezone()
    midnight = now.replace(hour=0, minute=0, second=0, tzinfo=None)  # a day may have 25 hours
    return int(midnight.timestamp()) * NANO


def _is_for(state: State, launch: Session | None) -> bool:
    """Say whether a budget counts what a launch spends."""
    project = launch.row.project if launch else ""
    if state.budget.project not in ("", project):
        return False
    return state.budget.scope == "day" or (launch is not None and state.key in (launch.id, project))


def _share(state: State) -> float:
    return state.spent_nano / state.limit_nano if state.limit_nano else 1.0


def _budget(state: State) -> dict[str, Any]:
    """Return the budget of which the largest part is spent."""
    return {
        "scope": state.budget.scope,
        "action": state.budget.action,
        "limitUsd": state.limit_nano / NANO,
        "spentUsd": state.spent_nano / NANO,
    }
