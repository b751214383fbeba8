# SPDX-License-Identifier: Apache-2.0
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cco.config import Budget
from cco.errors import StoreError
from cco.gateway import entry as module
from cco.gateway.call import Attribution, Call, SessionRef
from cco.gateway.entry import Accounts, Entry
from cco.gateway.fold import UsageFold
from cco.ledger.budgets import Budgets
from cco.ledger.prices import Prices
from cco.ledger.rows import RequestRow
from cco.ledger.store import Store
from cco.ledger.usage import Usage
from tests.forwarding import ANSWER, ANSWER_COST_NANO, MODEL, STREAM, make_call

PRICES = Prices.load()


def done(error: Exception | None = None) -> "Future[None]":
    future: Future[None] = Future()
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
    return future


class Ledger:
    """Keeps rows; `answer` tells how recording them ends."""

    def __init__(self) -> None:
        self.rows: list[RequestRow] = []
        self.answers: Iterator[Future[None]] = itertools.repeat(done())

    def record(self, row: RequestRow) -> "Future[None]":
        self.rows.append(row)
        return next(self.answers)


def make_entry(ledger: Ledger, call: Call | None = None) -> Entry:
    clock = itertools.count(10.0, 0.5)
    entry = Entry(call or make_call(), Accounts(ledger.record, PRICES), clock.__next__)
    entry.status = 200
    entry.may_have_used = entry.is_metered
    return entry


def settled(
    *pieces: bytes, call: Call | None = None, content_type: str = "", **settle: Any
) -> RequestRow:
    ledger = Ledger()
    entry = make_entry(ledger, call)
    entry.is_stream = content_type == "text/event-stream"
    entry.fold = UsageFold(content_type)
    for piece in pieces:
        entry.add(piece)
    entry.settle(**settle)
    (row,) = ledger.rows
    return row


def test_the_row_says_what_is_known_of_the_call() -> None:
    session = SessionRef("s1", "/project")
    agent = Attribution("client", "a1", "Chief Architect", "a0", "main")
    call = make_call(session=session, agent=agent, started_ns=77, body=b"12345")
    ledger = Ledger()
    entry = make_entry(ledger, call)
    entry.upstream, entry.attempts, entry.model, entry.cache = "up", 1, MODEL, "miss"
    entry.upstream_request_id = "req_1"
    entry.fold = UsageFold("application/json")
    entry.add(ANSWER)
    entry.settle()

    (row,) = ledger.rows
    assert row == RequestRow(
        request_id=call.request_id,
        started_ns=77,
        session_id="s1",
        client_session="client",
        project="/project",
        agent_id="a1",
        agent="Chief Architect",
        parent_agent_id="a0",
        parent_agent="main",
        model=MODEL,
        method="POST",
        path="/v1/messages",
        upstream="up",
        attempts=1,
        status=200,
        cache="miss",
        usage=Usage(input=10, output=4),
        cost_nano=ANSWER_COST_NANO,
        latency_ms=1000.0,
        ttft_ms=500.0,
        request_bytes=5,
        response_bytes=len(ANSWER),
        upstream_request_id="req_1",
    )


def test_is_written_once() -> None:
    ledger = Ledger()
    entry = make_entry(ledger)
    entry.settle(partial=True)
    entry.settle()
    assert [row.partial for row in ledger.rows] == [True]


@pytest.fixture
def budgets(tmp_path: Path) -> Iterator[Budgets]:
    with Store.open(tmp_path / "ledger.db") as store:
        made = Budgets(store, now=lambda: datetime(2026, 11, 22, tzinfo=UTC))
        made.configure([Budget(scope="project", usd=5.0)], PRICES)
        yield made


def test_reserves_for_what_costs_money_only(budgets: Budgets) -> None:
    session = SessionRef("s", "/p")
    clock = itertools.count(10.0, 0.5)
    for changes, is_asked in (
        ({}, True),
        ({"method": "GET"}, False),
        ({"target": "/v1/messages/count_tokens"}, False),
    ):
        ledger = Ledger()
        call = make_call(session=session, **changes)
        entry = Entry(call, Accounts(ledger.record, PRICES, budgets), clock.__next__)
        looks: list[str] = []
        entry.admit(lambda: looks.append("look"))  # noqa: B023 - called at once
        assert looks == ["look"] * is_asked
        assert any(state.reserved_nano for state in budgets.states()) is is_asked
        entry.may_have_used = is_asked
        entry.fold = UsageFold("application/json")
        entry.add(ANSWER)
        entry.settle()
        entry.settle()
        ((spent, reserved),) = [(s.spent_nano, s.reserved_nano) for s in budgets.states()]
        assert (spent, reserved) == (ANSWER_COST_NANO, 0)


def test_without_budgets_nothing_is_asked() -> None:
    make_entry(Ledger()).admit(lambda: pytest.fail("it did not wait"))


def test_says_when_the_answer_is_complete() -> None:
    entry = make_entry(Ledger())
    assert not entry.add(STREAM)
    entry.fold = UsageFold("text/event-stream")
    assert not entry.add(STREAM[:-1])
    assert entry.add(STREAM[-1:])


@pytest.mark.parametrize(
    ("asked", "answered", "model", "priced"),
    [
        # the usual case, and one where the upstream tells the date
        (MODEL, MODEL, MODEL, True),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-haiku-4-5", True),
        # the upstream answered with a model of another price
        (MODEL, "claude-haiku-4-5", "claude-haiku-4-5", True),
        # a name that only the upstream knows
        ("my-alias", MODEL, MODEL, True),
        (MODEL, "their-alias", MODEL, True),
        ("", MODEL, MODEL, True),
        ("my-alias", "their-alias", "my-alias", False),
        ("", "their-alias", "their-alias", False),
    ],
)
def test_names_the_model_that_it_is_priced_by(
    asked: str, answered: str, model: str, priced: bool
) -> None:
    answer = ANSWER.replace(MODEL.encode(), answered.encode())
    row = settled(answer, call=make_call(body=b'{"model":"%s"}' % asked.encode()))

    assert (row.model, row.priced) == (model, priced)
    cost = PRICES.cost(model, Usage(input=10, output=4))
    assert row.cost_nano == (cost if priced else 0)
    assert (cost is not None) is priced


def test_tells_what_the_prompt_cache_saved() -> None:
    row = settled(STREAM, content_type="text/event-stream")
    assert row.prompt_saved_nano == 3000 * (5000 - 500)


@pytest.mark.parametrize(
    ("pieces", "content_type", "expected"),
    [
        # a stream that ends with usage but without message_stop
        ((STREAM[:500],), "text/event-stream", {"partial": True, "priced": True}),
        # one that ends before anything was told
        ((b": hello\n\n",), "text/event-stream", {"partial": True, "priced": False}),
        # a page in the place of an answer: something was used, nobody knows what
        (
            (b"<html>",),
            "text/html",
            {"partial": False, "priced": False, "usage": Usage(flawed=True)},
        ),
    ],
)
def test_what_is_not_known_is_not_free(
    pieces: tuple[bytes, ...], content_type: str, expected: dict[str, Any]
) -> None:
    row = settled(*pieces, content_type=content_type)
    assert row == replace(row, **expected)


def test_a_stream_in_a_coding_that_cannot_be_read_is_not_taken_for_cut() -> None:
    ledger = Ledger()
    entry = make_entry(ledger)
    entry.is_stream = True
    entry.fold = UsageFold("text/event-stream", "compress")
    entry.add(b"\x1f\x9d\x90")
    entry.settle()
    assert (ledger.rows[0].partial, ledger.rows[0].priced) == (False, False)


def test_names_the_error_of_the_upstream_unless_there_is_one_of_ours() -> None:
    told = b'{"type":"error","error":{"type":"overloaded_error"}}'
    assert settled(told).error == "overloaded_error"
    assert settled(told, error="upstream-broken").error == "upstream-broken"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/v1/messages/count_tokens"),
        ("GET", "/v1/models"),
        ("GET", "/v1/messages"),
        ("HEAD", "/"),
    ],
)
def test_what_costs_nothing_is_priced_so(method: str, target: str) -> None:
    row = settled(call=make_call(method=method, target=target))
    assert (row.usage, row.priced, row.cost_nano) == (Usage(), True, 0)


def test_bounds_the_path() -> None:
    assert len(settled(call=make_call(target="/" + "x" * 5000)).path) == 256


def test_an_answer_goes_on_when_it_could_not_be_recorded(
    expect_log: Callable[[str], None],
) -> None:
    expect_log("a request could not be recorded: disk full")
    ledger = Ledger()
    ledger.answers = itertools.repeat(done(StoreError("ledger", "disk full")))
    make_entry(ledger).settle()


def test_a_stalled_ledger_delays_one_answer_only(
    monkeypatch: pytest.MonkeyPatch, expect_log: Callable[[str], None]
) -> None:
    expect_log("does not keep up")
    monkeypatch.setattr(module, "MAX_WAIT_S", 0.01)
    stalled: Future[None] = Future()
    waited = []

    class Watched(Future[None]):
        def exception(self, timeout: float | None = None) -> BaseException | None:
            waited.append(self)
            return super().exception(timeout)

    later = [Watched(), Watched(), Watched()]
    for future in later:
        future.set_result(None)
    ledger = Ledger()
    ledger.answers = iter([stalled, *later])
    accounts = Accounts(ledger.record, PRICES)

    def settle() -> None:
        Entry(make_call(), accounts, itertools.count().__next__).settle()

    settle()  # waits in vain
    settle()
    settle()
    assert waited == []
    stalled.set_result(None)
    settle()
    assert waited == [later[2]]
    assert len(ledger.rows) == 4


def test_a_ledger_that_is_closed_delays_nobody(expect_log: Callable[[str], None]) -> None:
    expect_log("does not keep up")
    cancelled: Future[None] = Future()
    cancelled.cancel()
    ledger = Ledger()
    ledger.answers = itertools.repeat(cancelled)
    make_entry(ledger).settle()


def test_what_nobody_gets_is_read_but_not_counted_as_sent() -> None:
    ledger = Ledger()
    entry = make_entry(ledger)
    entry.is_stream, entry.fold = True, UsageFold("text/event-stream")
    assert not entry.add(STREAM[:400])
    assert entry.overhear(STREAM[400:])
    entry.settle()
    (row,) = ledger.rows
    assert (row.response_bytes, row.partial, row.usage.output) == (400, False, 15)
    assert entry.row is row


def test_an_answer_that_another_one_paid_for_saves_its_cost() -> None:
    ledger = Ledger()
    entry = make_entry(ledger)
    entry.may_have_used, entry.cache, entry.saved_nano = False, "coalesced", 77
    assert not entry.overhear(b"x")
    entry.settle()
    (row,) = ledger.rows
    assert (row.cache, row.cost_nano, row.saved_nano, row.priced) == ("coalesced", 0, 77, True)
