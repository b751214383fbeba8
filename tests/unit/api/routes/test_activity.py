# SPDX-License-Identifier: Apache-2.0
"""What goes on, over HTTP."""

import time

from cco.api.routes.activity import QUIET
from cco.ledger.rows import RequestRow
from tests.unit.api.house import House, error_of

DEADLINE_S = 30


def record(house: House, **row: object) -> None:
    made = RequestRow(request_id=str(row), started_ns=time.time_ns(), **row)  # type: ignore[arg-type]
    house.services.store.record(made).result(DEADLINE_S)


def test_activity_is_of_all_projects_or_of_one(house: House) -> None:
    record(house, project="/a", cost_nano=3)
    record(house, project="/b", cost_nano=4)
    for query, project, requests in (
        ("", None, 2),
        ("?project=", None, 2),
        ("?project=/a/", "/a", 1),
    ):
        told = house.ask("GET", f"/api/activity{query}").get_json()
        assert (told["project"], sum(told["minutes"]["requests"])) == (project, requests)
        assert sum(told["hours"]["requests"]) == requests


def test_activity_that_is_the_same_costs_nothing(house: House) -> None:
    first = house.ask("GET", "/api/activity")
    again = house.ask("GET", "/api/activity", headers={"If-None-Match": first.headers["ETag"]})
    # A minute may have begun in between.
    assert again.status_code == 304 or again.get_json() != first.get_json()


def test_upstreams_are_told_with_what_their_answers_took(house: House) -> None:
    (told,) = house.ask("GET", "/api/upstreams").get_json()["upstreams"]
    assert {name: told[name] for name in QUIET} == QUIET

    record(house, upstream="anthropic", status=200, latency_ms=7.5, ttft_ms=2.0)
    (told,) = house.ask("GET", "/api/upstreams").get_json()["upstreams"]
    assert (told["name"], told["state"], told["requests"]) == ("anthropic", "up", 1)
    assert told["latencyMs"]["p50"] == 7.5


def test_unknown_parameter_is_refused(shared_house: House) -> None:
    for target in ("/api/activity?project_=/a", "/api/upstreams?x=1"):
        assert error_of(shared_house.ask("GET", target)) == (400, "unknown-parameter")
