# SPDX-License-Identifier: Apache-2.0
"""Several upstreams: each session has its own, as long as that one is up."""

import itertools
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from cco.gateway.breaker import COOL_DOWN_S, FAILURES
from cco.gateway.call import SessionRef
from tests.forwarding import ANSWER, JSON, REFUSAL, make_call, make_turn, refusing, spreading
from tests.rawserver import DEADLINE_S, Received, always, reply

OK: Final = always(reply("200 OK", JSON, body=ANSWER))
KEYS: Final = {"a": "key-a", "b": "key-b", "c": "key-c"}


class Switch:
    """A script that can be told to refuse."""

    def __init__(self) -> None:
        self.status = 200

    def __call__(self, _: Received, sock: socket.socket) -> None:
        sock.sendall(
            reply(f"{self.status} X", JSON, body=ANSWER if self.status == 200 else REFUSAL)
        )


def test_every_turn_of_a_session_goes_by_the_same_key(tmp_path: Path) -> None:
    sessions, turns = 50, 20
    calls = [
        make_turn(session, request_id=f"{session}.{n}")
        for n in range(turns)
        for session in range(sessions)
    ]
    with spreading(dict.fromkeys("abc", OK), tmp_path, keys=KEYS) as through:
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda call: through.get(call)[0].status, calls))
        rows = through.rows()
        keys = {
            name: {key for one in server.received for key in one.values("x-api-key")}
            for name, server in through.servers.items()
        }

    assert statuses == [200] * sessions * turns
    assert {row["attempts"] for row in rows} == {1}
    assert keys == {name: {key} for name, key in KEYS.items()}
    used = defaultdict(set)
    for row in rows:
        used[row["client_session"]].add(row["upstream"])
    assert len(used) == sessions
    assert all(len(upstreams) == 1 for upstreams in used.values())
    shares = Counter(next(iter(upstreams)) for upstreams in used.values())
    assert set(shares) == set("abc")
    assert max(shares.values()) <= 30


def test_a_session_stays_where_it_had_to_go(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("the upstream a is out")
    now = [0.0]
    switch = Switch()
    with spreading({"a": switch, "b": OK, "c": OK}, tmp_path, monotonic=lambda: now[0]) as through:

        def place_of(session: int) -> str:
            answer, _ = through.get(make_turn(session))
            assert answer.status == 200
            return dict(answer.headers)["x-cco-upstream"]

        before = {session: place_of(session) for session in range(40)}
        switch.status = 503
        during = {session: place_of(session) for session in range(40)}
        switch.status = 200
        now[0] += COOL_DOWN_S
        after = {session: place_of(session) for session in range(40)}
        fresh = {session: place_of(session) for session in range(40, 100)}

    moved = {session for session, place in before.items() if place == "a"}
    assert len(moved) > FAILURES
    assert {during[session] for session in moved} == {"b", "c"}
    assert all(during[session] == before[session] for session in before if session not in moved)
    assert after == during
    assert set(fresh.values()) == {"a", "b", "c"}


def test_a_binding_is_made_by_success_only(tmp_path: Path) -> None:
    switch = Switch()
    with spreading({"a": switch, "b": OK}, tmp_path, settings={"b": {"priority": 1}}) as through:
        bindings = through.gateway._router._bindings
        switch.status = 400
        assert through.get(make_turn(1))[0].status == 400
        assert len(bindings) == 0
        switch.status = 200
        through.get(make_turn(1))
        assert bindings.find("session-1", "") == ""  # another user's of the same name
        assert len(bindings) == 1
        through.get(make_turn(1, headers=[("x-api-key", "other")]))
        assert len(bindings) == 2


def test_sessions_without_a_name_are_told_apart_by_their_credential(tmp_path: Path) -> None:
    with spreading(dict.fromkeys("abc", OK), tmp_path) as through:
        places = defaultdict(set)
        for key, _ in itertools.product(range(12), range(3)):
            answer, _ = through.get(make_call(headers=[("authorization", f"Bearer {key}")]))
            places[key].add(dict(answer.headers)["x-cco-upstream"])
    assert all(len(place) == 1 for place in places.values())
    assert len({next(iter(place)) for place in places.values()}) > 1


def test_one_upstream_is_asked_whatever_it_answers(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("the upstream a is out: 3 failures in a row, the last was status-529")
    with spreading({"a": refusing(529, "retry-after: 9")}, tmp_path) as through:
        for _ in range(4 * FAILURES):
            answer, body = through.get()
            assert (answer.status, body, dict(answer.headers)["retry-after"]) == (529, REFUSAL, "9")
        assert through.asked() == {"a": 4 * FAILURES}
        assert {row["attempts"] for row in through.rows()} == {1}
        assert through.gateway.upstream_states()[0]["state"] == "open"


def test_an_upstream_that_is_out_is_left_alone_but_for_one_probe(
    tmp_path: Path, expect_log: Callable[[str], None]
) -> None:
    expect_log("the upstream a is out")
    now = [0.0]
    is_asked, go_on = threading.Event(), threading.Event()
    state = {"status": 503}

    def script(_: Received, sock: socket.socket) -> None:
        if state["status"] == 200:
            is_asked.set()
            go_on.wait(DEADLINE_S)
        sock.sendall(reply(f"{state['status']} X", JSON, body=ANSWER))

    settings: dict[str, dict[str, Any]] = {"b": {"priority": 1}}
    with spreading(
        {"a": script, "b": OK}, tmp_path, monotonic=lambda: now[0], settings=settings
    ) as through:
        for session in range(20):
            assert through.get(make_turn(session))[0].status == 200
        assert through.asked() == {"a": FAILURES, "b": 20}
        assert through.gateway.upstream_states()[0]["state"] == "open"

        now[0] += COOL_DOWN_S
        state["status"] = 200
        probe = threading.Thread(target=through.get, args=(make_turn(100),))
        probe.start()
        assert is_asked.wait(DEADLINE_S)
        for session in range(101, 110):
            answer, _ = through.get(make_turn(session))
            assert dict(answer.headers)["x-cco-upstream"] == "b"
        assert through.asked()["a"] == FAILURES + 1
        assert through.gateway.upstream_states()[0]["state"] == "half-open"
        go_on.set()
        probe.join()

        assert through.gateway.upstream_states()[0]["state"] == "up"
        answer, _ = through.get(make_turn(200))
        assert dict(answer.headers)["x-cco-upstream"] == "a"


def test_where_all_are_out_all_are_tried(tmp_path: Path, expect_log: Callable[[str], None]) -> None:
    expect_log("the upstream a is out")
    expect_log("the upstream b is out")
    switch = Switch()
    with spreading({"a": refusing(503), "b": switch}, tmp_path, monotonic=lambda: 0.0) as through:
        switch.status = 503
        for session in range(FAILURES):
            assert through.get(make_turn(session))[0].status == 503
        assert {state["state"] for state in through.gateway.upstream_states()} == {"open"}
        switch.status = 200
        for session in range(FAILURES):
            assert through.get(make_turn(session))[0].status == 200
        states = [state["state"] for state in through.gateway.upstream_states()]
        assert states == ["open", "up"]


def test_a_limit_turns_new_sessions_away_and_not_the_others(tmp_path: Path) -> None:
    now = [0.0]

    def script(received: Received, sock: socket.socket) -> None:
        is_limited = b"opus" in received.body
        sock.sendall(
            reply("429 X", "retry-after: 30", body=REFUSAL)
            if is_limited
            else reply("200 OK", JSON, body=ANSWER)
        )

    settings: dict[str, dict[str, Any]] = {"b": {"priority": 1}}
    with spreading(
        {"a": script, "b": OK}, tmp_path, monotonic=lambda: now[0], settings=settings
    ) as through:

        def place_of(session: int, model: str) -> str:
            answer, _ = through.get(make_turn(session, body=b'{"model":"%s"}' % model.encode()))
            assert answer.status == 200
            return dict(answer.headers)["x-cco-upstream"]

        assert place_of(1, "haiku") == "a"
        assert place_of(2, "opus") == "b"
        assert through.gateway.upstream_states()[0]["state"] == "resting"
        assert place_of(3, "haiku") == "b"
        assert place_of(1, "haiku") == "a"  # whose limit is another
        now[0] += 30
        assert place_of(4, "haiku") == "a"
        assert place_of(3, "haiku") == "b"


def test_an_upstream_without_its_key_is_passed_over(tmp_path: Path) -> None:
    settings: dict[str, dict[str, Any]] = {
        "a": {"credential": "missing"},
        "b": {"priority": 1, "credential": "b"},
    }
    with spreading({"a": OK, "b": OK}, tmp_path, keys={"b": "key-b"}, settings=settings) as through:
        for session in range(5):
            assert through.get(make_turn(session))[0].status == 200
        # the client's own key is not meant for it, and theirs is not meant for b
        assert through.asked() == {"a": 0, "b": 5}
        assert {
            key for one in through.servers["b"].received for key in one.values("x-api-key")
        } == {"key-b"}
        assert through.gateway.upstream_states()[0]["state"] == "no-credential"


def test_requests_without_a_credential_go_where_there_is_one(tmp_path: Path) -> None:
    with spreading(
        {"a": OK, "b": OK}, tmp_path, keys={"b": "key-b"}, settings={"b": {"priority": 1}}
    ) as through:
        assert through.gateway.has_credential()
        through.get(make_call(headers=[]))
        assert through.asked() == {"a": 0, "b": 1}
        through.get(make_call(headers=[("authorization", "Bearer theirs")]))
        assert through.asked() == {"a": 1, "b": 1}


def test_says_whether_it_has_a_credential_for_a_session(tmp_path: Path) -> None:
    with spreading({"a": OK, "b": OK}, tmp_path, keys={"b": "key-b"}) as through:
        urls = {name: server.url for name, server in through.servers.items()}
        sessions = {name: SessionRef("s", "/p", url) for name, url in urls.items()}
        assert through.gateway.has_credential(SessionRef("s", "/p"))
        assert through.gateway.has_credential(sessions["b"])
        assert not through.gateway.has_credential(sessions["a"])
        assert not through.gateway.has_credential(SessionRef("s", "/p", "http://own.example"))
