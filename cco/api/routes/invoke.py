# SPDX-License-Identifier: Apache-2.0
"""``POST /api/agent/invoke``: one agent, one answer."""

import json

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from cco.api import given
from cco.api.services import Services
from cco.errors import RequestError
from cco.gateway.call import SessionRef
from cco.orchestration.invoke import DEFAULT_MAX_TOKENS, Invocation

MAX_MAX_TOKENS = 1_000_000
"""More than any model gives."""


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("invoke", __name__, url_prefix="/api/agent")

    @routes.post("/invoke")
    def invoke() -> ResponseReturnValue:
        told = given.payload()
        session = given.session(services)
        context = told.get("context", "")
        if not isinstance(context, str | dict):
            raise RequestError("bad-member", "'context' must be a text or an object")
        if isinstance(context, str):
            context = given.text(told, "context", "")
        asked = Invocation(
            agent=services.catalog.find(given.text(told, "agent")),
            task=given.text(told, "task"),
            context=context if isinstance(context, str) else json.dumps(context, indent=1),
            max_tokens=given.number(
                told, "maxTokens", DEFAULT_MAX_TOKENS, low=1, high=MAX_MAX_TOKENS
            ),
        )
        answer = services.invoker.invoke(
            asked,
            api_key=request.headers.get("x-api-key", ""),
            request_id=request.environ["cco.request_id"],
            session=SessionRef(session.id, session.row.project, session.row.upstream)
            if session
            else None,
            is_fresh="no-cache" in given.directives(),
        )
        return jsonify(answer)

    return routes
