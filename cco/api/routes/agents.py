# SPDX-License-Identifier: Apache-2.0
"""``/api/agents`` and ``/api/unseal``: the catalogue, and the sealed files in the clear."""

from typing import Any

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue

from cco.api import given
from cco.api.published import SEALED
from cco.api.services import Services
from cco.catalog.definition import Agent
from cco.errors import NotFound


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("agents", __name__, url_prefix="/api")

    @routes.get("/agents")
    def listing() -> ResponseReturnValue:
        catalog = services.catalog
        agents = [describe(one, services) for one in catalog.agents]
        groups = {name: list(members) for name, members in catalog.rules.groups.items()}
        return jsonify({"agents": agents, "groups": groups})

    @routes.get("/agents/<name>")
    def show(name: str) -> ResponseReturnValue:
        agent = services.catalog.find(name)
        return jsonify({**describe(agent, services), "instructions": agent.body})

    @routes.get("/unseal/<name>")
    def unseal(name: str) -> ResponseReturnValue:
        given.require_local_socket()
        if name not in SEALED:
            raise NotFound(
                "unknown-file",
                f"there is no sealed file '{name}'",
                hint=f"Known: {', '.join(SEALED)}",
            )
        file = f"{name}.sealed"
        data = services.vault.unseal(file, services.published.read(file).data)
        return Response(data, mimetype="application/json")

    return routes


def describe(agent: Agent, services: Services) -> dict[str, Any]:
    """Return an agent as the API shows it, without its instructions."""
    return {
        "name": agent.name,
        "slug": agent.slug,
        "category": agent.category,
        "type": agent.type,
        "model": agent.model,
        "modelId": services.settings.models.get(agent.model),
        "capabilities": list(agent.capabilities),
        "tools": list(agent.tools),
        "description": agent.description,
        "origin": agent.origin,
        "source": agent.source,
    }
