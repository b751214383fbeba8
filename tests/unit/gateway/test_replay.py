# SPDX-License-Identifier: Apache-2.0
import itertools
from concurrent.futures import Future

import pytest

from cco.gateway.entry import Accounts, Entry
from cco.gateway.headers import Fields
from cco.gateway.replay import Replay, kept_fields, message_fields, replayed_fields
from cco.ledger.prices import Prices
from cco.ledger.rows import RequestRow
from tests.forwarding import make_call

FIELDS: Fields = [
    ("Content-Type", "text/event-stream"),
    ("Request-Id", "req_1"),
    ("anthropic-organization-id", "org"),
    ("cache-control", "no-cache"),
    ("content-encoding", "gzip"),
    ("Content-Length", "9"),
    ("x-something", "a"),
    ("x-something", "b"),
]
OF_THAT_MOMENT: Fields = [
    ("Anthropic-RateLimit-Unified-Status", "allowed"),
    ("anthropic-ratelimit-requests-remaining", "1"),
    ("anthropic-priority-input-tokens-limit", "1"),
    ("anthropic-fast-input-tokens-remaining", "1"),
    ("retry-after", "3"),
    ("x-should-retry", "false"),
    ("Set-Cookie", "__cf_bm=1"),
]


def test_what_was_true_in_that_moment_only_is_not_kept() -> None:
    mixed = [field for pair in zip(FIELDS, OF_THAT_MOMENT, strict=False) for field in pair]
    assert kept_fields([*mixed, FIELDS[-1]]) == FIELDS


def test_a_replayed_answer_has_our_id_and_its_own_length() -> None:
    assert replayed_fields(FIELDS, length=7, request_id="cco_1") == [
        ("Content-Type", "text/event-stream"),
        ("Request-Id", "cco_1"),
        ("anthropic-organization-id", "org"),
        ("cache-control", "no-cache"),
        ("content-encoding", "gzip"),
        ("Content-Length", "7"),
        ("x-something", "a"),
        ("x-something", "b"),
    ]
    assert replayed_fields(FIELDS[:1], length=7, request_id="cco_1") == FIELDS[:1]


def test_a_rebuilt_message_has_fields_of_its_own() -> None:
    fields = replayed_fields(message_fields(FIELDS), length=7, request_id="cco_1")
    assert fields == [
        ("Content-Type", "application/json"),
        ("Content-Length", "7"),
        ("Request-Id", "cco_1"),
        ("anthropic-organization-id", "org"),
        ("x-something", "a"),
        ("x-something", "b"),
    ]


class Replaying:
    def __init__(self) -> None:
        self.rows: list[RequestRow] = []
        self.lost = 0
        accounts = Accounts(self.record, Prices.load())
        self.entry = Entry(make_call(), accounts, itertools.count().__next__)
        self.entry.status, self.entry.cache, self.entry.saved_nano = 200, "hit", 5
        self.replay = Replay(b"answer", self.entry, on_lost=self.lose)

    def record(self, row: RequestRow) -> "Future[None]":
        self.rows.append(row)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def lose(self) -> None:
        self.lost += 1


@pytest.fixture
def replaying() -> Replaying:
    return Replaying()


def test_gives_the_bytes_once_and_writes_the_row_before(replaying: Replaying) -> None:
    assert replaying.rows == []
    assert next(iter(replaying.replay)) == b"answer"
    (row,) = replaying.rows
    assert (row.cache, row.cost_nano, row.saved_nano, row.priced) == ("hit", 0, 5, True)
    assert (row.partial, row.response_bytes, row.usage.total) == (False, 6, 0)
    assert list(replaying.replay) == []
    replaying.replay.close()
    assert (len(replaying.rows), replaying.lost) == (1, 0)


@pytest.mark.parametrize("reads", [0, 1])
def test_tells_that_nobody_got_it(replaying: Replaying, reads: int) -> None:
    for _ in range(reads):
        next(replaying.replay)
    replaying.replay.close()
    replaying.replay.close()
    assert replaying.lost == 1
    assert [row.partial for row in replaying.rows] == [reads == 0]
