# SPDX-License-Identifier: Apache-2.0
"""Answers whose other end the test holds."""

import itertools
from concurrent.futures import Future
from typing import Any

from cco.errors import CcoError
from cco.gateway.entry import Accounts, Entry
from cco.gateway.exchange import Exchange
from cco.gateway.fold import UsageFold
from cco.gateway.relay import Relay
from cco.ledger.prices import Prices
from cco.ledger.rows import RequestRow
from tests.forwarding import make_call
from tests.rawserver import reply
from tests.unit.gateway.far import Far

EVENTS = reply("200 OK", "Transfer-Encoding: chunked", length=False)
"""The head of an event stream."""


class Answering:
    """Relays over a real connection whose other end the test holds."""

    def __init__(self) -> None:
        self.far = Far()
        self.rows: list[RequestRow] = []
        self.ended: list[Exchange] = []
        self.stop_error: CcoError | None = None
        self.durable: Future[None] = Future()
        self.durable.set_result(None)

    def close(self) -> None:
        self.far.close()

    def record(self, row: RequestRow) -> "Future[None]":
        self.rows.append(row)
        return self.durable

    def entry(self, **call: Any) -> Entry:
        accounts = Accounts(self.record, Prices.load())
        entry = Entry(make_call(**call), accounts, itertools.count().__next__)
        entry.status = 200
        return entry

    def relay(
        self,
        data: bytes,
        *,
        stream: bool = True,
        can_append: bool = True,
        silence_s: float = 10.0,
        entry: Entry | None = None,
        **more: Any,
    ) -> Relay:
        """Return the relay of an answer that has arrived as far as `data` goes."""
        exchange = self.far.answered(data, silence_s=silence_s)
        entry = self.entry() if entry is None else entry
        entry.is_stream, entry.may_have_used = stream, True
        entry.fold = UsageFold("text/event-stream" if stream else "application/json")
        return Relay(
            exchange,
            entry,
            can_append=can_append,
            stopping=lambda: self.stop_error,
            on_end=self.ended.append,
            **more,
        )
