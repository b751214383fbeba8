# SPDX-License-Identifier: Apache-2.0
"""Statistics over HTTP: whose, and since when."""

from datetime import UTC, datetime

import pytest

from cco.ledger.rows import RequestRow
from tests.unit.api.house import House, error_of

DEADLINE_S = 30
HOUR_NS = 3_600_000_000_000
START_NS = int(datetime(2026, 11, 22, 10, tzinfo=UTC).timestamp()) * 1_000_000_000


@pytest.fixture
def filled(house: House) -> House:
    """Give the ledger a request for each of three hours of two projects."""
    for project in ("/a", "/b"):
        for hour in range(3):
            house.services.store.record(
                RequestRow(
                    request_id=f"{project}{hour}",
                    started_ns=START_NS + hour * HOUR_NS,
                    project=project,
                    model="m",
                )
            ).result(DEADLINE_S)
    return house


def requests(house: House, query: str, **headers: str) -> int:
    answer = house.ask("GET", f"/api/project/stats{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return int(answer.get_json()["requests"]["total"])


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ("", 6),
        ("?project=", 6),
        ("?project=/a", 3),
        ("?project=%2Fa", 3),
        ("?project=/a/", 3),  # the path, however it is written
        ("?project=/none", 0),
        ("?since=2026-11-22T11:00:00Z", 4),
        ("?since=2026-11-22T12:00:00%2B01:00", 4),
        ("?since=2026-11-22T12:00:00+01:00", 4),  # an unescaped plus arrives as a space
        ("?until=2026-11-22T11:00:00Z", 2),
        ("?project=/b&since=2026-11-22T11:00:00Z&until=2026-11-22T12:00:00Z", 1),
        ("?since=2030-01-01", 0),
        # beyond what the ledger, or the calendar, can count
        ("?since=0001-01-01T00:00:00%2B14:00", 6),
        ("?since=0001-01-01", 6),
        ("?until=9999-12-31T23:59:59-14:00", 6),
        ("?since=9999-01-01T00:00:00Z", 0),
        ("?until=0104-02-05", 0),
    ],
)
def test_project_and_time_are_chosen(query: str, total: int, filled: House) -> None:
    assert requests(filled, query) == total


def test_project_of_the_callers_session_is_the_usual_one(filled: House) -> None:
    _, token = filled.register(project="/a")
    named = {"x-cco-session": token}

    assert requests(filled, "", **named) == 3
    assert requests(filled, "?project=", **named) == 6  # all were asked for
    assert requests(filled, "?project=/none", **named) == 0
    assert requests(filled, "", **{"x-cco-session": "unknown"}) == 6


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize(
    "value", ["", "yesterday", "2026-13-01", "99999-01-01", "1e9", "2026-11-22T25:00:00Z"]
)
def test_what_is_no_time_is_refused_by_name(name: str, value: str, shared_house: House) -> None:
    answer = shared_house.ask("GET", f"/api/project/stats?{name}={value}")

    assert error_of(answer) == (400, "bad-time")
    assert f"'{name}'" in answer.get_json()["error"]["message"]


@pytest.mark.parametrize("route", ["project", "machine"])
def test_a_slip_in_a_parameter_is_told(route: str, house: House) -> None:
    answer = house.ask("GET", f"/api/{route}/stats?proj=/a")

    assert error_of(answer) == (400, "unknown-parameter")
    assert "'proj'" in answer.get_json()["error"]["message"]


def test_time_is_looked_at_whatever_is_wanted(house: House) -> None:
    answer = house.ask("GET", "/api/machine/stats?fields=cpuPercent&since=null")

    assert error_of(answer) == (400, "bad-time")


def test_machine_has_statistics_too(filled: House) -> None:
    filled.register()
    told = filled.ask("GET", "/api/machine/stats").get_json()

    assert told["sessions"] == 1
    assert {one["project"] for one in told["projects"]} == {"/a", "/b"}
    assert told["totals"]["requests"]["total"] == 6
    assert told["daemon"]["pid"] > 0


def test_members_are_chosen_and_nothing_new_costs_nothing(filled: House) -> None:
    for path in ("/api/project/stats?fields=requests", "/api/machine/stats?fields=sessions"):
        answer = filled.ask("GET", path)
        assert list(answer.get_json()) == [path.partition("=")[2]]
        same = filled.ask("GET", path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (same.status_code, same.data) == (304, b"")
        assert error_of(filled.ask("GET", f"{path},nonsense")) == (400, "unknown-field")


def test_recent_requests_may_be_only_the_later_ones_or_a_few(filled: House) -> None:
    def ids(query: str) -> list[int]:
        told = filled.ask("GET", f"/api/project/stats?fields=recent&project={query}").get_json()
        return [row["id"] for row in told["recent"]]

    assert sorted(ids("")) == [1, 2, 3, 4, 5, 6]
    assert sorted(ids("&after=4")) == [5, 6]
    assert ids("&after=6") == []
    assert len(ids("&limit=1")) == 1


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=0", "limit=1001", "limit=1.5"])
def test_bound_that_is_no_number_in_its_range_is_refused(shared_house: House, query: str) -> None:
    answer = shared_house.ask("GET", f"/api/project/stats?{query}")
    assert error_of(answer) == (400, "bad-parameter")


def test_requests_are_given_page_by_page(filled: House) -> None:
    query = "project=/a/&since=2026-11-22T10:00:00Z&limit=2"
    first = filled.ask("GET", f"/api/requests?{query}").get_json()
    second = filled.ask("GET", f"/api/requests?{query}&after={first['next']}").get_json()

    assert [row["requestId"] for row in first["requests"]] == ["/a0", "/a1"]
    assert first["total"] == 3
    assert [row["requestId"] for row in second["requests"]] == ["/a2"]
    assert (second["total"], second["next"]) == (None, None)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "after=-1", "after=x", "since=x", "x=1"]
)
def test_page_that_cannot_be_is_refused(query: str, shared_house: House) -> None:
    assert error_of(shared_house.ask("GET", f"/api/requests?{query}"))[0] == 400
