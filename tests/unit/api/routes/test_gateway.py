# SPDX-License-Identifier: Apache-2.0
"""Claude Code's API through the application: what goes upstream, and under whose name."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from cco.api import given
from cco.api.routes.gateway import Passed
from cco.gateway.places import Places
from tests.mounting import wait_until
from tests.rawserver import RawServer, always, chunk, reply, serving
from tests.unit.api.house import House, open_house, provider_error_of

ExpectLog = Callable[[str], None]

BODY = b'{"model":"claude-opus-4-8","max_tokens":9,"messages":[]}'
ANSWER = b'{"type":"message","usage":{"input_tokens":1,"output_tokens":1}}'


@pytest.fixture
def upstream() -> Iterator[RawServer]:
    answer = reply(
        "200 Fine",
        "Content-Type: application/json",
        "Date: Sun, 22 Nov 2026 00:00:00 GMT",
        "Server: theirs",
        "X-Twice: a",
        "X-Twice: b",
        "request-id: req_1",
        body=ANSWER,
    )
    with serving(always(answer)) as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: RawServer) -> Iterator[House]:
    settings = f'[[upstream]]\nname = "theirs"\nbase_url = "{upstream.url}"\n'
    with open_house(tmp_path, monkeypatch, settings=settings) as found:
        yield found


def rows(house: House, count: int = 1) -> list[dict[str, object]]:
    """Return the ledger's rows, once there are this many."""
    wait_until(lambda: len(_rows(house)) >= count, f"{count} rows are in the ledger")
    return _rows(house)


def _rows(house: House) -> list[dict[str, object]]:
    with house.services.store.reading() as connection:
        cursor = connection.execute("SELECT * FROM requests ORDER BY id")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("/v1/messages?beta=true", "/v1/messages?beta=true"),
        ("/s/SESSION/v1/messages?beta=true", "/v1/messages?beta=true"),
        # byte for byte: not as WSGI has decoded it
        ("/v1/models/a%2Fb%20c?x=%7e&y", "/v1/models/a%2Fb%20c?x=%7e&y"),
        ("/s/SESSION/v1/models/a%2Fb?x=/s/SESSION/", "/v1/models/a%2Fb?x=/s/SESSION/"),
        ("/v1/a;b=c/d", "/v1/a;b=c/d"),
        ("/v1/", "/v1/"),
    ],
)
def test_target_goes_upstream_as_it_was_written(
    target: str, sent: str, house: House, upstream: RawServer
) -> None:
    session, _ = house.register()
    house.ask("POST", target.replace("SESSION", session), data=BODY)

    if target == "/v1/":  # nothing of theirs is there
        assert upstream.received == []
        return
    (received,) = upstream.received
    assert (received.target, received.body) == (sent.replace("SESSION", session), BODY)


def test_prefix_is_taken_off_however_it_is_written(house: House, upstream: RawServer) -> None:
    session, _ = house.register()
    odd = f"%{ord(session[0]):02x}{session[1:]}"
    house.ask("POST", f"/s/{odd}/v1/messages", data=BODY)

    (received,) = upstream.received
    assert received.target == "/v1/messages"
    assert rows(house)[0]["session_id"] == session


def test_headers_go_both_ways_as_they_are(house: House, upstream: RawServer) -> None:
    answer = house.ask(
        "POST",
        "/v1/messages",
        data=BODY,
        headers={"anthropic-beta": "a,b", "x-unknown": "1", "x-api-key": "k", "x-cco-session": "t"},
        by_tcp=True,
    )
    (received,) = upstream.received
    assert received.values("anthropic-beta") == ["a,b"]
    assert received.values("x-unknown") == ["1"]
    assert received.values("x-api-key") == ["k"]
    assert received.values("x-cco-session") == []  # ours goes nowhere

    assert answer.status == "200 Fine"
    assert answer.data == ANSWER
    assert answer.headers.getlist("x-twice") == ["a", "b"]
    assert answer.headers["request-id"] == "req_1"
    assert answer.headers["date"] == "Sun, 22 Nov 2026 00:00:00 GMT"
    assert answer.headers["server"] == "theirs"
    assert answer.headers["content-length"] == str(len(ANSWER))
    assert answer.headers["x-cco-upstream"] == "theirs"
    assert answer.headers["x-cco-request-id"].startswith("cco_")
    assert "x-cco-cache" in answer.headers


def test_answer_has_nothing_of_the_frameworks() -> None:
    answer = Passed(b"x")

    assert [name for name, _ in answer.headers] == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_is_passed_on(method: str, house: House, upstream: RawServer) -> None:
    assert house.ask(method, "/v1/files/x").status_code == 200
    assert [one.method for one in upstream.received] == [method]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("path", ["/", "/s/SESSION", "/s/SESSION/", "/s/unknown"])
def test_probe_is_answered_here(method: str, path: str, house: House, upstream: RawServer) -> None:
    session, _ = house.register()
    answer = house.ask(method, path.replace("SESSION", session))

    assert answer.status_code == 200
    assert upstream.received == []


def test_unknown_session_is_refused_and_never_sent_elsewhere(
    house: House, upstream: RawServer
) -> None:
    answer = house.ask("POST", f"/s/{'0' * 16}/v1/messages", data=BODY)

    assert provider_error_of(answer) == (400, "unknown-session", "invalid_request_error")
    assert "start it again with cco" in answer.get_json()["error"]["message"]
    assert upstream.received == []


def test_session_that_has_ended_is_refused(house: House, upstream: RawServer) -> None:
    session, _ = house.register()
    house.ask("DELETE", f"/api/sessions/{session}")
    answer = house.ask("POST", f"/s/{session}/v1/messages", data=BODY)

    assert provider_error_of(answer)[:2] == (400, "unknown-session")
    assert upstream.received == []


def test_session_goes_to_the_upstream_that_it_brought(house: House, upstream: RawServer) -> None:
    with serving(always(reply(body=ANSWER))) as own:
        session, _ = house.register(project="/mine", upstream=f"{own.url}/prefix/")
        assert house.ask("POST", f"/s/{session}/v1/messages", data=BODY).status_code == 200

    assert [one.target for one in own.received] == ["/prefix/v1/messages"]
    assert upstream.received == []
    assert (rows(house)[0]["project"], rows(house)[0]["session_id"]) == ("/mine", session)


def test_request_is_recorded_under_the_agents_name(house: House) -> None:
    runs = house.services.runs
    runs.started("client", "a1", "cco:chief-architect")
    for agent, parent in (("a1", ""), ("a2", "a1"), ("", "")):
        headers = {"x-claude-code-session-id": "client"}
        headers |= {"x-claude-code-agent-id": agent} if agent else {}
        headers |= {"x-claude-code-parent-agent-id": parent} if parent else {}
        house.ask("POST", "/v1/messages", data=BODY, headers=headers)

    names = ("client_session", "agent_id", "agent", "parent_agent_id", "parent_agent")
    assert [tuple(row[name] for name in names) for row in rows(house, 3)] == [
        ("client", "a1", "Chief Architect", "", "main"),
        ("client", "a2", "unattributed", "a1", "Chief Architect"),  # never announced
        ("client", "", "main", "", ""),
    ]


def test_upstream_that_cannot_be_reached_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_log: ExpectLog
) -> None:
    expect_log("POST /v1/messages: ")
    settings = '[[upstream]]\nbase_url = "http://127.0.0.1:1"\n'
    with open_house(tmp_path, monkeypatch, settings=settings) as house:
        answer = house.ask("POST", "/v1/messages", data=BODY)

    assert answer.status_code == 502
    assert answer.headers["x-cco-error"].startswith("upstream-")


def test_cut_of_the_upstream_cuts_the_client_too(
    house: House, upstream: RawServer, expect_log: ExpectLog
) -> None:
    # The status has gone out; without a proper end the client sees that this is not all.
    expect_log("an answer was cut")
    head = reply(
        "200 OK", "Content-Type: application/json", "Transfer-Encoding: chunked", length=False
    )

    def cut(_: object, sock: object) -> bool:
        sock.sendall(head + chunk(b"half"))  # type: ignore[attr-defined]
        return False

    upstream.script = cut
    answer = house.ask("POST", "/v1/messages", data=BODY)
    items = iter(answer.response)
    assert answer.status_code == 200
    got: list[object] = []
    with pytest.raises(ConnectionResetError):
        got.extend(items)
    answer.close()
    assert [item for item in got if item] == [b"half"]


def test_request_without_a_place_is_refused_before_its_body_is_read(
    house: House, upstream: RawServer, expect_log: ExpectLog
) -> None:
    expect_log("POST /v1/messages: 0 requests are under way")
    house.services.places = Places(0)
    session, _ = house.register()
    answer = house.ask("POST", f"/s/{session}/v1/messages", data=BODY)

    assert provider_error_of(answer) == (503, "no-room", "api_error")
    assert "Raise threads in [server]" in answer.get_json()["error"]["message"]
    assert answer.headers["retry-after"] == "1"  # so the client tries again, as long as it likes
    assert answer.headers["connection"] == "close"
    assert upstream.received == []
    (row,) = rows(house)
    assert (row["status"], row["error"], row["cost_nano"]) == (503, "no-room", 0)
    assert (row["session_id"], row["request_bytes"]) == (session, 0)
    assert house.ask("GET", "/api/sessions").status_code == 200


def test_large_bodies_do_not_take_all_memory_together(
    house: House, upstream: RawServer, expect_log: ExpectLog
) -> None:
    expect_log("POST /v1/messages: the requests under way are as large as they may be")
    house.services.places = Places(1, max_bytes=len(BODY))
    session, _ = house.register()
    answer = house.ask("POST", f"/s/{session}/v1/messages", data=BODY + b" ")

    assert provider_error_of(answer) == (503, "no-room", "api_error")
    assert answer.headers["retry-after"] == "1"
    assert upstream.received == []
    (row,) = rows(house)
    assert (row["status"], row["error"], row["cost_nano"]) == (503, "no-room", 0)
    answer.close()
    fits = house.ask("POST", f"/s/{session}/v1/messages", data=BODY)
    assert fits.status_code == 200
    fits.close()


@pytest.mark.parametrize("method", ["POST", "HEAD"])
def test_place_is_free_again_after_each_answer(
    method: str, house: House, expect_log: ExpectLog
) -> None:
    expect_log("1 requests are under way")
    house.services.places = Places(1)

    def ask() -> TestResponse:
        return house.ask(method, "/v1/messages", data=BODY)

    for _ in range(3):
        answer = ask()
        assert (answer.status_code, ask().status_code) == (200, 503)
        answer.close()


def test_place_is_free_again_after_a_body_that_is_too_large(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given, "MAX_BODY_BYTES", 10)
    house.services.places = Places(1)
    for _ in range(3):
        answer = house.ask("POST", "/v1/messages", data=BODY)
        assert provider_error_of(answer) == (413, "body-too-large", "request_too_large")
        assert answer.headers["connection"] == "close"
    found = {(row["status"], row["error"], row["cost_nano"]) for row in rows(house)}
    assert found == {(413, "body-too-large", 0)}  # what Claude Code was told is in the statistics


@pytest.mark.parametrize(
    "field",
    [
        "Content-Location: /a b",
        "Content-Location: http://[x",
        "Location: http://[\u00e9",
        "X-A: \u00ff",
    ],
)
def test_url_of_the_upstream_reaches_the_client_as_it_is(house: House, field: str) -> None:
    name, _, value = field.partition(": ")
    with serving(always(reply("201 Created", field, body=ANSWER))) as upstream:
        session, _ = house.register(upstream=upstream.url)
        answer = house.ask("POST", f"/s/{session}/v1/messages", data=BODY)
        assert (answer.status_code, answer.data) == (201, ANSWER)
        assert answer.headers[name] == value
        answer.close()


def test_place_is_free_again_after_an_answer_that_the_server_would_not_send(house: House) -> None:
    house.services.places = Places(1)
    hooked = house.app.wsgi_app

    def refusing(environ: Any, start_response: Any) -> Any:
        def start(*_: object) -> Any:
            raise ValueError("no such header")

        return hooked(environ, start)

    house.app.wsgi_app = refusing  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(ValueError, match="no such header"):
            house.ask("POST", "/v1/messages", data=BODY)
    house.app.wsgi_app = hooked  # type: ignore[method-assign]
    assert house.ask("POST", "/v1/messages", data=BODY).status_code == 200
