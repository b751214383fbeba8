# SPDX-License-Identifier: Apache-2.0
"""``/api/limits``: what stops requests that cost money, the provider's limits and our budgets.

Nothing in the answer changes by time alone, so whoever asks again and again mostly gets a 304.
"""

from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue

from cco.api import given
from cco.api.answers import tagged
from cco.api.services import Services
from cco.ledger import reports
from cco.ledger.pots import NANO


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("limits", __name__, url_prefix="/api")

    @routes.get("/limits")
    def limits() -> ResponseReturnValue:
        given.only_parameters()
        return tagged({"plan": _plan(services), "budgets": _budgets(services)})

    return routes


def _plan(services: Services) -> list[dict[str, Any]]:
    """Return what the provider last told of each credential, the latest first."""
    return [
        {
            "credential": each.credential,
            "upstream": each.upstream,
            "values": each.values,
            "toldAt": reports.rfc3339(each.told_ns),
        }
        for each in services.limits.told()
    ]


def _budgets(services: Services) -> list[dict[str, Any]]:
    """Return how each budget in use stands, in the order of the settings."""
    return [
        {
            "scope": state.budget.scope,
            "project": state.budget.project or None,
            "key": state.key,
            "action": state.budget.action,
            "limitUsd": state.limit_nano / NANO,
            "spentUsd": state.spent_nano / NANO,
            "reservedUsd": state.reserved_nano / NANO,
        }
        for state in services.budgets.states()
    ]
