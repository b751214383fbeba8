# SPDX-License-Identifier: Apache-2.0
"""Budgets in the gateway: what is reserved is given back however a request ends."""

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from cco.config import Budget
from cco.gateway.call import Answer, SessionRef
from cco.gateway.errors import AnswerCut
from cco.gateway.proxy import CLIENT_GONE
from tests.forwarding import (
    ANSWER,
    ANSWER_COST_NANO,
    JSON,
    MODEL,
    STREAM,
    STREAM_COST_NANO,
    make_call,
    read,
    refusing,
)
from tests.mounting import wait_until
from tests.rawserver import Received, always, chunk, reply
from tests.spending import DEADLINE_S, HEAD, WAYS, Spending, silent, spending

ExpectLog = Callable[[str], None]

NANO: Final = 1_000_000_000


@pytest.fixture
def any_log(expect_log: ExpectLog) -> None:
    """Let a test log what it does: that is looked at elsewhere."""
    expect_log("")
    logging.getLogger(__name__).warning("there is something to expect")


@pytest.mark.usefixtures("any_log")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("leaves", ["stays", "at once", "after the first piece"])
def test_nothing_stays_reserved(tmp_path: Path, way: str, leaves: str) -> None:
    with spending(tmp_path, WAYS[way], read_timeout_s=0.3) as through:
        answer = through.ask()
        with contextlib.suppress(AnswerCut, StopIteration):
            if leaves == "stays":
                for _ in answer.body:
                    pass
            elif leaves == "after the first piece":
                next(answer.body)
        answer.close()

        assert through.reserved() == [0, 0, 0]
        assert through.spent() == [through.booked()] * 3
        if leaves == "stays" and way == "streamed":
            assert through.booked() == STREAM_COST_NANO


def test_money_is_reserved_while_a_request_runs(tmp_path: Path) -> None:
    go_on = threading.Event()

    def script(_: Received, sock: socket.socket) -> None:
        sock.sendall(HEAD)
        go_on.wait(DEADLINE_S)
        sock.sendall(chunk(STREAM) + chunk(b""))

    with spending(tmp_path, script) as through:
        answer = through.ask()
        estimate = through.budgets.estimate(MODEL, body_bytes=len(make_call().body), max_tokens=9)
        assert estimate > 0
        assert through.reserved() == [estimate] * 3
        assert through.spent() == [0, 0, 0]
        go_on.set()
        read(answer)
        assert through.reserved() == [0, 0, 0]
        assert through.spent() == [STREAM_COST_NANO] * 3


@pytest.mark.usefixtures("any_log")
@pytest.mark.parametrize("how", ["hangs up", "daemon stops", "nobody there", "bad target"])
def test_nothing_stays_reserved_where_there_is_no_answer(tmp_path: Path, how: str) -> None:
    with (
        spending(tmp_path, silent(), read_timeout_s=DEADLINE_S) as through,
        ExitStack() as stack,
    ):
        changes: dict[str, Any] = {}
        if how == "nobody there":
            with socket.create_server(("127.0.0.1", 0)) as gone:
                url = f"http://127.0.0.1:{gone.getsockname()[1]}"
            changes["session"] = SessionRef("launch", "/project", url)
        elif how == "bad target":
            changes["target"] = "/v1/messages\n"
        else:
            ours, theirs = (stack.enter_context(one) for one in socket.socketpair())
            changes["client_fd"] = ours.fileno()
            end = theirs.close if how == "hangs up" else through.gateway.stop
            timer = threading.Timer(0.1, end)
            timer.start()
            stack.callback(timer.join)
        answer = through.ask(**changes)
        read(answer)

        assert answer.status >= 400
        assert through.reserved() in ([0, 0, 0], [0])  # nothing was ever counted for a bad target


def test_nothing_stays_reserved_after_a_failure_of_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with spending(tmp_path, WAYS["in one piece"]) as through:
        # before anything went out, and where the row cannot even be handed over
        monkeypatch.setattr("cco.gateway.upstream.Upstream.encode_head", fail)
        with pytest.raises(ZeroDivisionError):
            through.ask()
        monkeypatch.undo()
        monkeypatch.setattr(through.gateway._accounts, "write", fail)
        with pytest.raises(ZeroDivisionError):
            read(through.ask())
        monkeypatch.undo()

        assert through.reserved() == [0, 0, 0]
        assert through.spent() == [ANSWER_COST_NANO] * 3
        assert read(through.ask()) == ANSWER


@pytest.mark.usefixtures("any_log")
def test_one_reserve_for_all_upstreams_that_are_asked(tmp_path: Path) -> None:
    with spending(tmp_path, refusing(529), WAYS["streamed"]) as through:
        sessions = [SessionRef(f"launch-{number}", "/project") for number in range(8)]
        for session in sessions:
            assert read(through.ask(session=session)) == STREAM
        asked = [len(server.received) for server in through.servers]

        assert asked[0] > 0
        assert asked[1] == len(sessions)
        assert set(through.reserved()) == {0}
        assert through.spent()[:2] == [len(sessions) * STREAM_COST_NANO] * 2


def test_hits_and_unmetered_requests_reserve_nothing(tmp_path: Path, expect_log: ExpectLog) -> None:
    """They are answered where the money is spent too."""
    expect_log("the day budget of")
    budget = Budget(scope="day", usd=ANSWER_COST_NANO / NANO)
    script = always(reply("200 OK", JSON, body=ANSWER))
    with spending(tmp_path, script, budgets=[budget], messages="exact") as through:
        assert read(through.ask()) == ANSWER
        assert through.spent() == [ANSWER_COST_NANO]  # all of it
        assert through.ask(body=b'{"model":"another"}').status == 402

        again = through.ask()
        assert read(again) == ANSWER
        assert dict(again.headers)["x-cco-cache"] == "hit"
        for changes in (
            {"target": "/v1/messages/count_tokens"},
            {"target": "/v1/models", "method": "GET", "body": b""},
        ):
            assert read(through.ask(**changes)) == ANSWER
        assert through.spent() == [ANSWER_COST_NANO]
        assert through.booked() == ANSWER_COST_NANO


def test_refusal_of_one_session_is_not_that_of_another(
    tmp_path: Path, expect_log: ExpectLog
) -> None:
    """The second session has joined the request of the first one, which is then refused."""
    expect_log("the session budget of")
    go_on = threading.Event()

    def script(received: Received, sock: socket.socket) -> None:
        if b"first" in received.body:
            go_on.wait(DEADLINE_S)
        sock.sendall(reply("200 OK", JSON, body=ANSWER))

    budget = Budget(scope="session", usd=ANSWER_COST_NANO / NANO)
    one, other = SessionRef("one", "/project"), SessionRef("other", "/project")
    statuses: dict[str, int] = {}

    def ask(name: str, session: SessionRef, body: bytes) -> None:
        answer = through.ask(session=session, body=body)
        read(answer)
        statuses[name] = answer.status

    asked = b'{"model":"%s","max_tokens":9,"what":"%%s"}' % MODEL.encode()
    with spending(tmp_path, script, budgets=[budget], messages="exact") as through:
        threads = [
            threading.Thread(target=ask, args=args)
            for args in (
                ("first", one, asked % b"first"),
                ("refused", one, asked % b"second"),  # waits for what is left of the money
                ("joined", other, asked % b"second"),
            )
        ]
        for number, thread in enumerate(threads):
            thread.start()
            wait_until(lambda: _waiting(through) == number + 1, "the request is on its way")  # noqa: B023
        go_on.set()
        for thread in threads:
            thread.join(DEADLINE_S)

        assert statuses == {"first": 200, "refused": 402, "joined": 200}
        assert through.reserved() == [0, 0]


def _waiting(through: Spending) -> int:
    """Return how many requests are under way, wait for money, or have joined one that does."""
    pots = through.budgets._pots.values()
    flights = through.gateway._reuse._flights._flights.values()
    joined = sum(len(flight._waiting) - 1 for flight in flights if flight._waiting)
    return sum(pot.running for pot in pots) + joined


def test_refusal_says_what_the_client_shows_once(tmp_path: Path, expect_log: ExpectLog) -> None:
    expect_log(r"the day budget of \$0.00013 is spent")
    budget = Budget(scope="day", usd=0.00013)
    with spending(tmp_path, WAYS["in one piece"], budgets=[budget]) as through:
        assert read(through.ask()) == ANSWER  # there was room for one
        answer = through.ask()
        told = json.loads(read(answer))

    headers = {name.lower(): value for name, value in answer.headers}
    assert answer.status == 402
    assert (headers["x-cco-error"], headers["x-should-retry"]) == ("budget-spent", "false")
    assert "retry-after" not in headers
    assert told["error"] == {
        "type": "billing_error",
        "message": "CCO: the day budget of $0.00013 is spent: $0.00015 so far;"
        " raise it in [[budget]] and run 'cco daemon reload' to go on",
    }
    assert len(through.servers[0].received) == 1


def test_warning_budget_refuses_nothing(tmp_path: Path, expect_log: ExpectLog) -> None:
    expect_log("the day budget of")
    budget = Budget(scope="day", usd=0.0, action="warn")
    with spending(tmp_path, WAYS["in one piece"], budgets=[budget]) as through:
        assert read(through.ask()) == ANSWER
        assert through.budgets.states()[0].is_spent


def test_fifty_at_once_on_one_dollar(tmp_path: Path, expect_log: ExpectLog) -> None:
    """Each costs 0.10: ten or eleven are answered, the others refused, none before its time."""
    expect_log("the day budget of")
    output = NANO // 10 // 25_000
    usage = f'"usage":{{"input_tokens":0,"output_tokens":{output}}}'
    body = f'{{"type":"message","model":"{MODEL}","stop_reason":"end_turn",{usage}}}'.encode()
    budget = Budget(scope="day", usd=1.0)
    asked = b'{"model":"%s","max_tokens":32000,"messages":[%s]}'
    answers: list[tuple[int, int]] = []
    with spending(tmp_path, always(reply("200 OK", JSON, body=body)), budgets=[budget]) as through:

        def run(number: int) -> None:
            spent = through.spent()[0]
            answer = through.ask(body=asked % (MODEL.encode(), str(number).encode()))
            read(answer)
            answers.append((answer.status, spent))

        threads = [threading.Thread(target=run, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        statuses = [status for status, _ in answers]

        assert statuses.count(200) in (10, 11)
        assert statuses.count(402) == 50 - statuses.count(200)
        assert through.spent() == [statuses.count(200) * NANO // 10]
        assert through.reserved() == [0]


@pytest.mark.usefixtures("any_log")
@pytest.mark.parametrize("why", ["it hangs up", "its time is over", "the daemon stops"])
def test_who_waits_for_money_no_longer_is_let_go(tmp_path: Path, why: str) -> None:
    go_on, is_asked = threading.Event(), threading.Event()

    def script(_: Received, sock: socket.socket) -> None:
        is_asked.set()
        go_on.wait(DEADLINE_S)
        sock.sendall(HEAD + chunk(STREAM) + chunk(b""))

    ours, theirs = socket.socketpair()
    little = (Budget(scope="day", usd=0.0001),)  # less than one request reserves
    answers: list[Answer] = []
    with ours, theirs, spending(tmp_path, script, budgets=little) as through:
        first = threading.Thread(target=lambda: answers.append(through.ask()))
        first.start()
        assert is_asked.wait(DEADLINE_S)
        late = time.perf_counter() + 0.1 if why == "its time is over" else None
        waits = threading.Thread(
            target=lambda: answers.append(through.ask(client_fd=ours.fileno(), deadline=late))
        )
        waits.start()
        if why == "it hangs up":
            theirs.close()
        elif why == "the daemon stops":
            through.gateway.stop()
        waits.join(DEADLINE_S / 2)  # half of what it would wait for the money
        assert not waits.is_alive()
        go_on.set()
        first.join()
        for answer in answers:
            answer.close()
        assert len(through.servers[0].received) == 1
        assert through.reserved() == [0]
    assert CLIENT_GONE in {answer.status for answer in answers} or why == "the daemon stops"
