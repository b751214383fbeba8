# SPDX-License-Identifier: Apache-2.0
"""``GET /openapi.json``: it describes every route and every method, and nothing else."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.routing import Rule

from cco import __version__
from cco.api.answers import wanted_members
from cco.api.routes import stats
from cco.api.routes.invoke import MAX_INVOCATIONS, MAX_MAX_TOKENS
from cco.api.routes.openapi import load_document
from cco.gateway.breaker import State
from cco.gateway.circuits import NO_CREDENTIAL
from cco.gateway.reuse import State as CacheState
from cco.ledger.reports import MEMBERS
from cco.orchestration.prompt import DEFAULT_MAX_TOKENS, MAX_TASK_CHARS
from cco.orchestration.router import MAX_TASK
from tests.unit.api.house import House

METHODS = {"get", "head", "post", "put", "patch", "delete", "options"}
DOCUMENT = load_document()
SCHEMAS = DOCUMENT["components"]["schemas"]


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Return path, method and description of each operation."""
    for path, item in DOCUMENT["paths"].items():
        for method, told in item.items():
            assert method in METHODS
            yield path, method, told


def references(node: object) -> Iterator[str]:
    """Return all references in a part of the document."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolve(reference: str) -> Any:
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def served(rule: Rule) -> set[str]:
    """Return the methods of a rule, without those that the framework adds by itself."""
    methods = {method.lower() for method in rule.methods or ()}
    if getattr(rule, "provide_automatic_options", True):  # Flask's, not Werkzeug's
        methods -= {"options"}
    return methods


def test_it_is_served_with_the_version_and_a_tag(house: House) -> None:
    answer = house.ask("GET", "/openapi.json")

    assert answer.status_code == 200
    assert answer.get_json() == DOCUMENT
    assert (DOCUMENT["openapi"], DOCUMENT["info"]["version"]) == ("3.1.0", __version__)
    again = house.ask("GET", "/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_every_route_and_method_is_described(house: House) -> None:
    described = {(path, method) for path, method, _ in operations()}
    for rule in house.app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        methods = served(rule)
        if (path, "head") not in described:
            methods -= {"head"}  # of every GET
        assert {(path, method) for method in methods} - described == set()


def test_everything_that_is_described_is_served(house: House) -> None:
    served_paths = house.app.url_map.bind("localhost")
    for path, method, _ in operations():
        example = re.sub(r"\{(\w+)\}", "1", path)
        assert served_paths.match(example, method=method.upper()), (path, method)


def test_nothing_refers_to_what_is_not_there_and_nothing_is_left_over() -> None:
    found = set(references(DOCUMENT))
    for reference in found:
        assert resolve(reference)
    for kind, parts in DOCUMENT["components"].items():
        assert {f"#/components/{kind}/{name}" for name in parts} - found == set()


def test_operations_have_names_of_their_own() -> None:
    names = [told["operationId"] for _, _, told in operations()]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    assert {tag for _, _, told in operations() for tag in told["tags"]} == tags


def test_whoever_is_refused_everywhere_is_refused_here() -> None:
    """Another user, a web page, a foreign name: whatever was asked for."""
    for path, method, told in operations():
        assert {"403", "421"} <= set(told["responses"]) or "default" in told["responses"], path
        for status, response in told["responses"].items():
            content = resolve(response["$ref"]) if "$ref" in response else response
            kinds = content.get("content", {})
            if method == "head" or not status.startswith(("4", "5")) or path == "/health":
                continue
            name = "ProviderError" if "gateway" in told["tags"] and "/v1/" in path else "Error"
            assert kinds["application/json"]["schema"]["$ref"].endswith(f"/{name}"), (path, status)


def parameter(path: str, name: str) -> dict[str, Any]:
    (found,) = [
        one for one in DOCUMENT["paths"][path]["get"]["parameters"] if one.get("name") == name
    ]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("path", "schema", "members"),
    [
        ("/api/project/stats", "ProjectStats", MEMBERS),
        ("/api/machine/stats", "MachineStats", stats.MACHINE_MEMBERS),
    ],
)
def test_members_that_may_be_chosen_are_those_of_the_code(
    path: str, schema: str, members: tuple[str, ...], house: House
) -> None:
    assert set(parameter(path, "fields")["schema"]["items"]["enum"]) == set(members)
    assert set(SCHEMAS[schema]["properties"]) == set(members)
    with house.app.test_request_context("/"):
        assert set(wanted_members(members)) == set(members)


def test_closed_sets_are_those_of_the_code(house: House) -> None:
    assert SCHEMAS["Upstream"]["properties"]["state"]["enum"] == [*State, NO_CREDENTIAL]
    assert set(SCHEMAS["Request"]["properties"]["cache"]["enum"]) == set(CacheState)
    told = house.ask("GET", "/api/cache/stats").get_json()
    assert list(SCHEMAS["CacheStats"]["properties"]) == list(told)
    assert parameter("/api/cache/stats", "fields")["schema"]["items"]["enum"] == list(told)
    route = DOCUMENT["paths"]["/api/route"]["post"]["requestBody"]["content"]["application/json"]
    assert route["schema"]["properties"]["task"]["maxLength"] == MAX_TASK
    task = SCHEMAS["Invocation"]["properties"]
    assert task["task"]["maxLength"] == MAX_TASK_CHARS
    assert task["maxTokens"]["default"] == DEFAULT_MAX_TOKENS
    assert task["maxTokens"]["maximum"] == MAX_MAX_TOKENS
    several = SCHEMAS["Invocations"]["properties"]["invocations"]
    assert several["maxItems"] == MAX_INVOCATIONS
