# SPDX-License-Identifier: Apache-2.0
"""The gateway before anything goes wrong; the rest is in tests/integration/test_gateway_*.py."""

from pathlib import Path

import pytest

from cco import config
from cco.errors import CcoError
from cco.gateway.call import SessionRef
from cco.gateway.proxy import Gateway
from cco.gateway.transport import IDLE_S
from cco.ledger.prices import Prices
from tests.forwarding import (
    ANSWER,
    ANSWER_COST_NANO,
    JSON,
    STREAM,
    STREAM_COST_NANO,
    forwarding,
    make_call,
    read,
    streamed,
)
from tests.rawserver import DEADLINE_S, always, reply


def test_forwards_a_request_and_its_answer(tmp_path: Path) -> None:
    answer = reply("200 OK", JSON, "request-id: req_9", "a: 1", "A: 2", body=ANSWER)
    call = make_call(headers=[("anthropic-beta", "x"), ("Anthropic-Beta", "y")])
    with forwarding(always(answer), tmp_path) as through:
        got, body = through.get(call)
        (received,) = through.server.received
        row = through.row()

    assert (received.method, received.target) == ("POST", "/v1/messages?beta=true")
    assert received.body == call.body
    assert received.fields == [
        ("Host", through.server.url.removeprefix("http://")),
        *call.headers,
        ("Content-Length", str(len(call.body))),
    ]
    assert (got.status, got.reason, body) == (200, "OK", ANSWER)
    assert got.headers == [
        ("Content-Type", "application/json"),
        ("request-id", "req_9"),
        ("a", "1"),
        ("A", "2"),
        ("Content-Length", str(len(ANSWER))),
        ("x-cco-cache", "miss"),
        ("x-cco-request-id", call.request_id),
        ("x-cco-upstream", "up"),
    ]
    assert (row["cost_nano"], row["upstream_request_id"]) == (ANSWER_COST_NANO, "req_9")


def test_forwards_a_stream(tmp_path: Path) -> None:
    with forwarding(always(streamed(STREAM)), tmp_path) as through:
        answer, body = through.get()
        row = through.row()
    assert body == STREAM
    assert ("Transfer-Encoding", "chunked") not in answer.headers
    assert (row["stream"], row["partial"], row["cost_nano"]) == (1, 0, STREAM_COST_NANO)


@pytest.mark.parametrize(
    ("method", "target", "fields", "state"),
    [
        ("POST", "/v1/messages?beta=true", [], "miss"),
        ("POST", "/v1/messages/count_tokens", [], "miss"),
        ("POST", "/v1/messages", [("Cache-Control", "max-age=0, no-cache")], "bypass"),
        ("GET", "/v1/models?limit=1000", [], "bypass"),
        ("POST", "/v1/files", [], "bypass"),
    ],
)
def test_says_whether_the_cache_was_asked(
    tmp_path: Path, method: str, target: str, fields: list[tuple[str, str]], state: str
) -> None:
    with forwarding(always(reply()), tmp_path) as through:
        answer, _ = through.get(make_call(method=method, target=target, headers=fields))
        assert dict(answer.headers)["x-cco-cache"] == through.row()["cache"] == state


def test_a_session_goes_to_the_upstream_that_it_named(tmp_path: Path) -> None:
    with forwarding(always(reply()), tmp_path, base_url="http://127.0.0.1:1") as through:
        session = SessionRef("s", "/p", f"{through.server.url}/base")
        answer, _ = through.get(make_call(session=session))
        host = through.server.url.removeprefix("http://")

        assert through.server.received[0].target == "/base/v1/messages?beta=true"
        assert dict(answer.headers)["x-cco-upstream"] == host
        row = through.row()
        assert (row["upstream"], row["session_id"], row["project"]) == (host, "s", "/p")


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"target": "v1/messages"}, "target-invalid"),
        ({"target": "http://evil.example/"}, "target-invalid"),
        ({"target": "/v1/a b"}, "request-line-invalid"),
        ({"method": "GET /x"}, "request-line-invalid"),
        ({"headers": [("a", "b\r\nc: d")]}, "header-invalid"),
        ({"session": SessionRef("s", "/p", "nonsense")}, "upstream-invalid"),
    ],
)
def test_refuses_what_cannot_be_sent(
    tmp_path: Path, overrides: dict[str, object], code: str
) -> None:
    with forwarding(always(reply()), tmp_path) as through:
        answer, body = through.get(make_call(**overrides))
        row = through.row()

        assert (answer.status, dict(answer.headers)["x-cco-error"]) == (400, code)
        assert b"invalid_request_error" in body
        assert through.server.received == []
        assert (row["status"], row["error"], row["attempts"]) == (400, code, 0)
        assert (row["partial"], row["priced"]) == (0, 1)


def test_counts_what_is_under_way(tmp_path: Path) -> None:
    with forwarding(always(streamed(STREAM)[:-3]), tmp_path) as through:
        answer = through.gateway.forward(make_call())
        assert through.gateway.running == 1
        answer.close()
        assert through.gateway.running == 0


def test_closes_connections_that_rested_too_long(tmp_path: Path) -> None:
    now = [0.0]
    with forwarding(always(reply()), tmp_path) as through:
        gateway = Gateway(
            [config.Upstream(base_url=through.server.url)],
            store=through.store,
            prices=Prices.load(),
            environ={},
            monotonic=lambda: now[0],
        )
        read(gateway.forward(make_call()))
        gateway.reap()
        assert not through.server.hung_up.is_set()
        now[0] += IDLE_S
        gateway.reap()
        assert through.server.hung_up.wait(DEADLINE_S)


def test_needs_upstreams_that_have_urls(tmp_path: Path) -> None:
    with pytest.raises(CcoError), forwarding(always(b""), tmp_path, base_url="nonsense"):
        pass
