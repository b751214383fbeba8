# SPDX-License-Identifier: Apache-2.0
"""Knowledge over HTTP: stored, searched, counted, forgotten; and what is refused."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cco.api.given import MAX_PROJECT
from cco.api.routes.knowledge import DEFAULT_LIMIT, DEFAULT_TYPE, MAX_LIMIT
from cco.api.routes.openapi import load_document
from cco.orchestration.facts import MAX_TEXT, TYPES
from tests.unit.api.house import House, error_of, open_house

SCHEMAS = load_document()["components"]["schemas"]
MONEY = "Money is kept in cents"


def store(house: House, text: str = MONEY, **more: Any) -> dict[str, Any]:
    answer = house.ask("POST", "/api/knowledge", {"text": text, "project": "/p", **more})
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.get_json()
    return told


def found(house: House, query: str = "project=/p", **more: Any) -> list[str]:
    answer = house.ask("GET", f"/api/knowledge?{query}", **more)
    assert answer.status_code == 200, answer.text
    return [fact["text"] for fact in answer.get_json()["facts"]]


def test_fact_is_stored_and_shown_as_it_is_kept(house: House) -> None:
    told = store(house, f"  {MONEY}\n", type="architecture", project="/p/")

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", told.pop("time"))
    assert told == {
        "id": 1,
        "project": "/p",
        "type": "architecture",
        "text": MONEY,
        "source": "user",
        "session": None,
    }
    answer = house.ask("GET", "/api/knowledge?project=/p").get_json()
    assert answer["project"] == "/p"
    assert [fact["id"] for fact in answer["facts"]] == [1]


def test_facts_are_searched_and_listed(house: House) -> None:
    store(house)
    store(house, "The parser is slow", type="issue")
    store(house, "Money elsewhere", project="/q")

    assert found(house) == ["The parser is slow", MONEY]
    assert found(house, "project=/p&limit=1") == ["The parser is slow"]
    assert found(house, "project=/p&type=decision") == [MONEY]
    assert found(house, "project=/p&q=money") == [MONEY]
    assert sorted(found(house, "q=money")) == sorted(["Money elsewhere", MONEY])
    assert found(house, "project=/p&q=") == []
    assert len(found(house, "project=")) == 3
    assert found(house, f"q={quote(chr(34) + ' OR * NEAR(')}") == []


def test_session_of_the_caller_says_whose_project_it_is(house: House) -> None:
    session, token = house.register(project="/of-the-session")
    mine = {"x-cco-session": token}
    told = house.ask("POST", "/api/knowledge", {"text": MONEY}, headers=mine).get_json()

    assert (told["project"], told["session"]) == ("/of-the-session", session)
    store(house, "another")
    assert found(house, "", headers=mine) == [MONEY]
    assert found(house, "project=/p", headers=mine) == ["another"]
    assert len(found(house, "")) == 2
    stats = house.ask("GET", "/api/knowledge/stats", headers=mine).get_json()
    assert (stats["project"], stats["facts"]) == ("/of-the-session", 1)


def test_facts_are_forgotten(house: House) -> None:
    first = store(house)["id"]
    store(house, "second")
    store(house, "third", project="/q")

    answer = house.ask("DELETE", f"/api/knowledge/{first}")
    assert (answer.status_code, answer.data) == (204, b"")
    for gone, code in (
        *((str(first), "unknown-fact"), ("0", "unknown-fact"), ("9" * 18, "unknown-fact")),
        *(("x", "unknown-route"), ("-1", "unknown-route"), ("9" * 5_000, "unknown-route")),
        ("\u0661", "unknown-route"),
    ):
        refused = house.ask("DELETE", f"/api/knowledge/{quote(gone)}")
        assert error_of(refused) == (404, code)
    assert error_of(house.ask("DELETE", "/api/knowledge/stats")) == (405, "wrong-method")
    assert house.ask("DELETE", "/api/knowledge?project=/p").get_json() == {"forgotten": 1}
    assert found(house, "") == ["third"]


def test_stats_are_those_of_what_is_kept(house: House) -> None:
    store(house)
    told = house.ask("GET", "/api/knowledge/stats").get_json()

    assert set(told) == set(SCHEMAS["KnowledgeStats"]["properties"])
    assert (told["project"], told["enabled"], told["injectTokens"]) == (None, True, 1500)
    assert (told["facts"], told["textBytes"]) == (1, len(MONEY))
    assert told["byProject"] == [{"project": "/p", "facts": 1}]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"project": "/p"}, "missing-member"),
        ({"text": MONEY}, "missing-member"),
        ({"text": 7, "project": "/p"}, "bad-member"),
        ({"text": " ", "project": "/p"}, "empty-text"),
        ({"text": "x" * (MAX_TEXT + 1), "project": "/p"}, "text-too-long"),
        ({"text": "\0", "project": "/p"}, "not-text"),
        ({"text": MONEY, "project": "p"}, "bad-project"),
        ({"text": MONEY, "project": "/\0"}, "bad-project"),
        ({"text": MONEY, "project": "/" + "x" * MAX_PROJECT}, "bad-project"),
        ({"text": MONEY, "project": "/p", "type": "opinion"}, "unknown-type"),
        ({"text": "sk-ant-" + "test-0123456789", "project": "/p"}, "secret-refused"),
    ],
)
def test_what_cannot_be_stored_is_refused(
    payload: dict[str, Any], code: str, shared_house: House
) -> None:
    refused = shared_house.ask("POST", "/api/knowledge", payload)

    assert error_of(refused) == (400, code)
    assert "0123456789" not in refused.text


@pytest.mark.parametrize(
    ("method", "target", "code"),
    [
        ("GET", "/api/knowledge?limit=0", "bad-parameter"),
        ("GET", "/api/knowledge?limit=1001", "bad-parameter"),
        ("GET", "/api/knowledge?limit=x", "bad-parameter"),
        ("GET", f"/api/knowledge?limit={'9' * 5000}", "bad-parameter"),
        ("GET", "/api/knowledge?type=opinion", "unknown-type"),
        ("GET", "/api/knowledge?project=p", "bad-project"),
        ("GET", "/api/knowledge?query=x", "unknown-parameter"),
        ("GET", "/api/knowledge/stats?q=x", "unknown-parameter"),
        ("DELETE", "/api/knowledge", "missing-member"),
        ("DELETE", "/api/knowledge?project=", "missing-member"),
        ("DELETE", "/api/knowledge?project=p", "bad-project"),
        ("DELETE", "/api/knowledge?project=/p&q=x", "unknown-parameter"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    method: str, target: str, code: str, shared_house: House
) -> None:
    assert error_of(shared_house.ask(method, target)) == (400, code)


def test_project_may_switch_it_off_for_itself(house: House, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    store(house, project=str(project))
    for text, is_on in (
        ("[knowledge]\nenabled = false\n", False),
        ("[knowledge]\nenabled = true\ninject_tokens = 7\n", True),
        ("[upstream]\n", False),  # what is broken is no leave to keep anything
        ("[knowledge\n", False),
    ):
        (project / ".cco.toml").write_text(text)
        answer = house.ask("POST", "/api/knowledge", {"text": MONEY, "project": str(project)})
        if is_on:
            assert answer.status_code == 201
        else:
            assert error_of(answer) == (409, "knowledge-off")
        told = house.ask("GET", f"/api/knowledge/stats?project={project}").get_json()
        assert told["enabled"] is is_on
        assert found(house, f"project={project}") == [MONEY]  # to be seen and forgotten


def test_it_may_be_switched_off_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_house(tmp_path, monkeypatch, settings="[knowledge]\nenabled = false") as house:
        refused = house.ask("POST", "/api/knowledge", {"text": MONEY, "project": "/p"})

        assert error_of(refused) == (409, "knowledge-off")
        assert not (house.services.database.parent / "knowledge.db").exists()


def test_database_lies_beside_the_ledger(house: House) -> None:
    store(house)

    database = house.services.database.with_name("knowledge.db")
    assert database.stat().st_mode & 0o777 == 0o600


def test_what_is_described_is_what_the_code_has() -> None:
    assert tuple(SCHEMAS["FactType"]["enum"]) == TYPES
    told = SCHEMAS["NewFact"]["properties"]
    assert (told["text"]["maxLength"], told["type"]["default"]) == (MAX_TEXT, DEFAULT_TYPE)
    assert SCHEMAS["Directory"]["maxLength"] == MAX_PROJECT
    (limit,) = [
        one["schema"]
        for one in load_document()["paths"]["/api/knowledge"]["get"]["parameters"]
        if one.get("name") == "limit"
    ]
    assert (limit["maximum"], limit["default"]) == (MAX_LIMIT, DEFAULT_LIMIT)
