# SPDX-License-Identifier: Apache-2.0
"""``/api/knowledge``: what is known of projects; storing, searching, forgetting."""

from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.routing import BaseConverter

from cco.api import given
from cco.api.services import Services
from cco.errors import RequestError
from cco.ledger import reports
from cco.orchestration import facts
from cco.orchestration.facts import Fact

DEFAULT_LIMIT = 20
MAX_LIMIT = 1000
DEFAULT_TYPE = "decision"


class _Id(BaseConverter):
    """A number that a database can have; what is none is no path of a fact."""

    regex = "[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value)


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("knowledge", __name__, url_prefix="/api/knowledge")
    routes.record_once(lambda state: state.app.url_map.converters.update(fact=_Id))

    @routes.post("")
    def store() -> ResponseReturnValue:
        told = given.payload()
        session = given.session(services)
        default = session.row.project if session else None
        project = given.project(given.text(told, "project", default))
        type_ = given.text(told, "type", DEFAULT_TYPE)
        text = facts.checked(given.text(told, "text"), type_)
        if not services.knowledge_settings(project).enabled:
            raise RequestError(
                "knowledge-off",
                "knowledge is switched off for this project",
                hint="Set enabled = true in the [knowledge] section of the settings",
            )
        fact = services.knowledge.store(
            project=project,
            type_=type_,
            text=text,
            source=facts.USER,
            session=session.id if session else "",
        )
        return jsonify(describe(fact)), 201

    @routes.get("")
    def search() -> ResponseReturnValue:
        given.only_parameters("q", "project", "type", "limit")
        query, type_ = request.args.get("q"), request.args.get("type")
        if type_ is not None:
            facts.check_type(type_)
        project, limit = _project(services), _limit()
        found = (
            services.knowledge.latest(project=project, type_=type_, limit=limit)
            if query is None
            else services.knowledge.search(query, project=project, type_=type_, limit=limit)
        )
        return jsonify({"project": project, "facts": [describe(fact) for fact in found]})

    @routes.get("/stats")
    def stats() -> ResponseReturnValue:
        given.only_parameters("project")
        project = _project(services)
        settings = services.knowledge_settings(project) if project else services.settings.knowledge
        return jsonify(
            {
                "project": project,
                "enabled": settings.enabled,
                "injectTokens": settings.inject_tokens,
                **services.knowledge.stats(project=project),
            }
        )

    @routes.delete("/<fact:fact_id>")
    def forget(fact_id: int) -> ResponseReturnValue:
        services.knowledge.forget(fact_id)
        return "", 204

    @routes.delete("")
    def forget_project() -> ResponseReturnValue:
        given.only_parameters("project")
        project = request.args.get("project")
        if not project:
            raise RequestError("missing-member", "the request has no 'project'", hint=given.SEE)
        return jsonify({"forgotten": services.knowledge.forget_project(given.project(project))})

    return routes


def describe(fact: Fact) -> dict[str, Any]:
    """Return a fact as the API shows it."""
    return {
        "id": fact.id,
        "project": fact.project,
        "type": fact.type,
        "text": fact.text,
        "source": fact.source,
        "session": fact.session or None,
        "time": reports.rfc3339(fact.created_ns),
    }


def _project(services: Services) -> str | None:
    """Return the project that is asked about: the caller's session's, or all."""
    wanted = request.args.get("project")
    if wanted is None and (session := given.session(services)):
        return session.row.project
    return given.project(wanted) if wanted else None


def _limit() -> int:
    told = request.args.get("limit", str(DEFAULT_LIMIT))
    if not (told.isascii() and told.isdigit() and 1 <= int(told[:9]) <= MAX_LIMIT):
        raise RequestError(
            "bad-parameter", f"'limit' must be a number from 1 to {MAX_LIMIT}", hint=given.SEE
        )
    return int(told)
