# SPDX-License-Identifier: Apache-2.0
"""Sessions over HTTP."""

import re
import subprocess
from typing import Any

import pytest

from cco.ledger.rows import RequestRow
from tests.mounting import wait_until
from tests.unit.api.house import PID, House, error_of

GOOD = {"pid": PID, "cwd": "/p/sub", "project": "/p"}


def test_session_is_made_listed_and_ended(house: House) -> None:
    answer = house.ask("POST", "/api/sessions", {**GOOD, "upstream": "https://x.example/"})
    assert answer.status_code == 201
    made = answer.get_json()
    assert set(made) == {"id", "token", "agents", "contextTokens", "hooks"}
    assert made["agents"] == len(house.services.catalog.agents)
    assert made["contextTokens"] == house.services.catalog.context_tokens
    assert set(made["hooks"]) == {"PreCompact", "SessionStart", "UserPromptSubmit"}

    (told,) = house.ask("GET", "/api/sessions").get_json()["sessions"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told.pop("startedAt"))
    assert {name: told[name] for name in ("id", "pid", "project", "cwd", "upstream")} == {
        "id": made["id"],
        "pid": PID,
        "project": "/p",
        "cwd": "/p/sub",
        "upstream": "https://x.example",
    }

    ended = house.ask("DELETE", f"/api/sessions/{made['id']}")
    assert (ended.status_code, ended.data) == (204, b"")
    assert house.ask("GET", "/api/sessions").get_json() == {"sessions": []}
    assert error_of(house.ask("DELETE", f"/api/sessions/{made['id']}")) == (404, "unknown-session")


def test_session_without_upstream_has_none(house: House) -> None:
    house.register()

    (told,) = house.ask("GET", "/api/sessions").get_json()["sessions"]
    assert told["upstream"] is None


def test_token_is_told_once_and_never_again(house: House) -> None:
    _, token = house.register()

    assert token not in house.ask("GET", "/api/sessions").text
    assert len(token) >= 43  # 32 random bytes


def test_session_is_made_over_the_unix_socket_only(shared_house: House) -> None:
    assert error_of(shared_house.ask("POST", "/api/sessions", GOOD, by_tcp=True)) == (
        403,
        "unix-socket-only",
    )
    assert shared_house.services.sessions.live() == []


def test_session_of_no_process_is_refused(shared_house: House) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    for pid in (gone.pid, 0, -1, 2**22 + 1, 2**40):
        answer = shared_house.ask("POST", "/api/sessions", {**GOOD, "pid": pid})
        assert error_of(answer) == (400, "no-such-process")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"pid": None}, "missing-member"),
        ({"pid": str(PID)}, "bad-member"),
        ({"pid": True}, "bad-member"),
        ({"cwd": 1}, "bad-member"),
        ({"project": ["/p"]}, "bad-member"),
        ({"project": None}, "missing-member"),
        ({"upstream": 1}, "bad-member"),
        ({"upstream": "ftp://x.example"}, "bad-member"),
        ({"upstream": "x.example"}, "bad-member"),
        ({"upstream": "https://"}, "bad-member"),
        ({"upstream": "http://[::1"}, "bad-member"),  # what urlsplit raises on
        ({"upstream": "http://x.example:99999"}, "bad-member"),
        ({"upstream": "https://x.example/\ud800"}, "bad-member"),
    ],
)
def test_nonsense_is_refused_by_name(
    changes: dict[str, Any], code: str, shared_house: House
) -> None:
    answer = shared_house.ask("POST", "/api/sessions", {**GOOD, **changes})

    assert error_of(answer) == (400, code)
    assert f"'{next(iter(changes))}'" in answer.get_json()["error"]["message"]
    assert shared_house.services.sessions.live() == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_body_that_is_no_object_is_refused(body: bytes, shared_house: House) -> None:
    assert shared_house.ask("POST", "/api/sessions", data=body).status_code == 400


def test_session_tells_which_agents_run_in_it(house: House) -> None:
    made, _ = house.register()
    row = RequestRow(request_id="r", started_ns=1, session_id=made, client_session="c")
    house.services.store.record(row).result(30)
    house.services.hooks.handle(
        "SubagentStart", {"session_id": "c", "agent_id": "a", "agent_type": "cco:chief-architect"}
    )

    def told() -> Any:
        (session,) = house.ask("GET", "/api/sessions").get_json()["sessions"]
        return session["runningAgents"]

    wait_until(lambda: told() == ["Chief Architect"], "the hook is in the ledger")
    house.services.hooks.handle(
        "SubagentStop", {"session_id": "c", "agent_id": "a", "agent_type": "cco:chief-architect"}
    )
    wait_until(lambda: told() == [], "its end too")


# Which agents a session sees.


def test_session_sees_the_groups_that_it_chose(house: House) -> None:
    groups = ["leadership", "Language Specialists"]
    answer = house.ask("POST", "/api/sessions", {**GOOD, "agents": groups})

    made, (told,) = answer.get_json(), house.services.sessions.live()
    team = house.services.catalog.in_groups(groups)
    assert (made["agents"], made["contextTokens"]) == (len(team.agents), team.context_tokens)
    assert 0 < made["agents"] < len(house.services.catalog.agents)
    assert house.services.team(told).catalog == team
    (listed,) = house.ask("GET", "/api/sessions").get_json()["sessions"]
    assert listed["agents"] == groups


def test_session_that_chooses_nothing_sees_what_the_settings_say(house: House) -> None:
    house.register()

    (listed,) = house.ask("GET", "/api/sessions").get_json()["sessions"]
    assert listed["agents"] is None
    (told,) = house.services.sessions.live()
    assert house.services.team(told) is house.services.teams.default


@pytest.mark.parametrize(
    ("agents", "code"),
    [
        (["leadership", "Linx"], "unknown-group"),
        (["a\nb"], "unknown-group"),
        ("leadership", "bad-member"),
        ([1], "bad-member"),
        ({}, "bad-member"),
    ],
)
def test_session_of_an_unknown_group_is_not_begun(
    agents: object, code: str, shared_house: House
) -> None:
    answer = shared_house.ask("POST", "/api/sessions", {**GOOD, "agents": agents})

    assert error_of(answer) == (400, code)
    assert shared_house.services.sessions.live() == []


def test_unknown_group_is_answered_with_the_nearest(shared_house: House) -> None:
    answer = shared_house.ask("POST", "/api/sessions", {**GOOD, "agents": ["Language Specialist"]})

    assert "Language Specialists" in answer.get_json()["error"]["hint"]


def test_only_agents_of_the_session_are_chosen_from(house: House) -> None:
    asked = {"task": "Review my pull request"}
    made = house.ask("POST", "/api/sessions", {**GOOD, "agents": ["Language Specialists"]})
    told = house.ask(
        "POST", "/api/route", asked, headers={"x-cco-session": made.get_json()["token"]}
    ).get_json()["agents"]

    members = house.services.catalog.in_groups(["Language Specialists"]).slugs
    assert {one["slug"] for one in told} <= members
    everybody = house.ask("POST", "/api/route", asked).get_json()["agents"]
    assert everybody[0]["slug"] == "code-reviewer"
