# SPDX-License-Identifier: Apache-2.0
"""The catalogue over HTTP, and the sealed files in the clear."""

import json

import pytest

from cco.api.published import SEALED
from cco.catalog import render
from tests.unit.api.house import House, error_of

MEMBERS = {
    *("name", "slug", "category", "type", "model", "modelId"),
    *("capabilities", "tools", "description", "origin", "source"),
}


def test_all_agents_are_listed_without_their_instructions(shared_house: House) -> None:
    agents = shared_house.ask("GET", "/api/agents").get_json()["agents"]

    assert [one["slug"] for one in agents] == [
        one.slug for one in shared_house.services.catalog.agents
    ]
    assert all(set(one) == MEMBERS for one in agents)


def test_groups_are_those_that_a_session_may_be_limited_to(shared_house: House) -> None:
    told = shared_house.ask("GET", "/api/agents").get_json()

    assert "Python Specialist" in told["groups"]["Language Specialists"]
    assert set(told["groups"]) == set(shared_house.services.catalog.rules.groups)
    names = {one["name"] for one in told["agents"]}
    assert all(name in names for members in told["groups"].values() for name in members)


def test_model_is_told_as_both_resolve_it(shared_house: House) -> None:
    for one in shared_house.ask("GET", "/api/agents").get_json()["agents"]:
        assert one["modelId"] == shared_house.services.settings.models[one["model"]]


@pytest.mark.parametrize(
    "name", ["chief-architect", "Chief%20Architect", "CHIEF%20architect", "cco:chief-architect"]
)
def test_one_agent_is_found_by_every_name(name: str, shared_house: House) -> None:
    answer = shared_house.ask("GET", f"/api/agents/{name}")

    told = answer.get_json()
    assert answer.status_code == 200
    assert set(told) == {*MEMBERS, "instructions"}
    assert told["instructions"] == shared_house.services.catalog.find("chief-architect").body


def test_unknown_agent_is_answered_with_the_nearest(shared_house: House) -> None:
    answer = shared_house.ask("GET", "/api/agents/chief-architekt")

    assert error_of(answer) == (404, "unknown-agent")
    assert "Chief Architect" in answer.get_json()["error"]["hint"]


@pytest.mark.parametrize("name", SEALED)
def test_sealed_file_is_unsealed_for_the_owner(name: str, shared_house: House) -> None:
    answer = shared_house.ask("GET", f"/api/unseal/{name}")

    documents = {
        "agents": render.agents_document,
        "orchestrator": render.rules_document,
        "hooks": render.hooks_document,
    }
    assert answer.mimetype == "application/json"
    assert json.loads(answer.data) == documents[name](shared_house.services.catalog)


def test_nothing_is_unsealed_over_tcp(shared_house: House) -> None:
    # A browser's reach ends there, and so does that of a mistaken proxy.
    answer = shared_house.ask("GET", "/api/unseal/agents", by_tcp=True)

    assert error_of(answer) == (403, "unix-socket-only")
    assert shared_house.ask("GET", "/api/agents", by_tcp=True).status_code == 200


@pytest.mark.parametrize("name", ["key", "agents.sealed", "..%2Fhooks"])
def test_only_sealed_files_are_unsealed(name: str, shared_house: House) -> None:
    answer = shared_house.ask("GET", f"/api/unseal/{name}")

    assert answer.status_code == 404
