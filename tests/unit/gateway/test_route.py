# SPDX-License-Identifier: Apache-2.0
"""Choosing and failing over, as far as one request shows it; the rest is in
tests/integration/test_gateway_failover.py."""

import itertools
from pathlib import Path

import pytest

from cco import config
from cco.errors import UpstreamRefused
from cco.gateway.balance import Bindings
from cco.gateway.call import SessionRef
from cco.gateway.circuits import Circuits
from cco.gateway.exchange import Exchange
from cco.gateway.limits import PlanLimits
from cco.gateway.route import FAILOVER_STATUSES, Routed, Router, _Setback, retry_after_s
from cco.gateway.running import Running
from cco.gateway.upstream import Upstream, Upstreams
from cco.gateway.wire import Head, parse_head
from tests.forwarding import ANSWER, make_call, spreading
from tests.rawserver import always, reply
from tests.unit.gateway.far import Far

OK = always(reply(body=ANSWER))


def head(status: int, *lines: str) -> Head:
    return parse_head("\n".join([f"HTTP/1.1 {status} Status", *lines]))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("retry-after: 7", 7.0),
        ("Retry-After: 0", 0.0),
        # a date is passed on and not read: neither does the client
        ("retry-after: Fri, 31 Dec 1999 23:59:59 GMT", None),
        ("retry-after: 1.5", None),
        ("retry-after: -1", None),
        ("retry-after: ٣", None),
        ("retry-after: " + "9" * 10, None),
        ("retry-after:", None),
        ("other: 7", None),
    ],
)
def test_reads_when_to_come_back(line: str, expected: float | None) -> None:
    assert retry_after_s(head(429, line)) == expected


RANKED: list[UpstreamRefused | Head] = [
    # says when, soonest first
    head(529, "retry-after: 0"),
    head(429, "retry-after: 5"),
    head(503, "retry-after: 60"),
    # does not, and is met eleven times
    head(429),
    head(503, "retry-after: Fri, 31 Dec 1999 23:59:59 GMT"),
    UpstreamRefused("upstream-refused", "m"),
    # is met three times
    head(529),
    # makes the client give up at once
    head(503, "x-should-retry: false"),
    head(429, "x-should-retry: False", "retry-after: 5"),
    head(429, "retry-after: 61"),
    head(429, "retry-after: 18000"),
    UpstreamRefused("upstream-tls", "m"),
]
EQUAL = {3: 3, 4: 3, 5: 3}


@pytest.fixture
def setbacks() -> list[_Setback]:
    far = Far()
    upstream = Upstream(config.Upstream(), environ={}, monotonic=itertools.count().__next__)
    exchange = Exchange(far.pool, name="up", silence_s=1)
    exchange.release()
    far.close()
    return [
        _Setback(
            upstream,
            one if isinstance(one, UpstreamRefused) else Routed(exchange, one, upstream),
        )
        for one in RANKED
    ]


def test_the_best_answer_brings_the_client_back_soonest(setbacks: list[_Setback]) -> None:
    for (i, better), (j, worse) in itertools.combinations(enumerate(setbacks), 2):
        if EQUAL.get(i, i) == EQUAL.get(j, j):
            assert better.rank == worse.rank
        else:
            assert better.rank < worse.rank, (RANKED[i], RANKED[j])


def make_router(*settings: config.Upstream) -> Router:
    def clock() -> float:
        return 0.0

    upstreams = Upstreams(settings, environ={}, monotonic=clock)
    circuits = Circuits(upstreams.configured, monotonic=clock, now_ns=lambda: 0)
    return Router(upstreams, circuits, Bindings(clock), Running(), PlanLimits(lambda: 0))


def test_a_request_belongs_to_the_family_of_the_preferred_upstream() -> None:
    router = make_router(
        config.Upstream(name="other", base_url="http://o", family="other", priority=1),
        config.Upstream(name="first", base_url="http://f", family="one"),
    )
    assert router.family(make_call()) == "one"
    assert router.family(make_call(session=SessionRef("s", "/p"))) == "one"
    named = SessionRef("s", "/p", "http://o")
    assert router.family(make_call(session=named)) == "other"
    own = SessionRef("s", "/p", "http://theirs.example")
    assert router.family(make_call(session=own)) == "http://theirs.example"


def test_goes_on_to_another_upstream(tmp_path: Path) -> None:
    assert {429, 502, 503, 529} == FAILOVER_STATUSES
    busy = always(reply("529 Overloaded", body=b"{}"))
    with spreading({"a": busy, "b": OK}, tmp_path, settings={"b": {"priority": 1}}) as through:
        answer, body = through.get()
        row = through.row()
        received = [through.servers[name].received for name in "ab"]

    assert (answer.status, body, dict(answer.headers)["x-cco-upstream"]) == (200, ANSWER, "b")
    assert (row["upstream"], row["attempts"], row["priced"]) == ("b", 2, 1)
    assert [(one.method, one.target, one.body) for (one,) in received] == [
        ("POST", "/v1/messages?beta=true", make_call().body)
    ] * 2


def test_asks_nobody_without_the_key_that_the_settings_name(tmp_path: Path) -> None:
    with spreading({"a": OK}, tmp_path, settings={"a": {"credential": "missing"}}) as through:
        answer, body = through.get()
        row = through.row()
        assert through.server.received == []

    assert (answer.status, dict(answer.headers)["x-cco-error"]) == (400, "no-credential")
    assert b"the upstream a is not there" in body
    assert (row["status"], row["upstream"], row["attempts"], row["partial"]) == (400, "a", 0, 0)
