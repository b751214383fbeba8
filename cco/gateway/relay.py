# SPDX-License-Identifier: Apache-2.0
"""Hands an upstream's answer to the client, piece by piece as it arrives.

Each piece is looked at (usage) before it goes on, and kept by a `Keep` at most. The piece that
completes the answer (``message_stop`` in it, or the last byte that ``Content-Length`` declares) is
held back until the ledger's row is durable; where only the end of the chunks completes it, that end
is.

When the client goes, the upstream's connection is closed at once; of the answer only what has
arrived already, and was not read yet, is read still.

Threading: one thread at a time iterates; `close` may be called by any.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from cco.errors import CcoError, Unavailable, UpstreamError, UpstreamTimeout
from cco.gateway.entry import Entry
from cco.gateway.errors import AnswerCut, render_event
from cco.gateway.exchange import Exchange
from cco.gateway.headers import Fields
from cco.gateway.transport import AbandonedError, has_hung_up

log = logging.getLogger(__name__)


class Keep(Protocol):
    """Takes a copy of an answer as it passes.

    The calls come one at a time: `begin`, `add` for each piece, `over`, then `close`.
    """

    def begin(self, status: int, reason: str, headers: Fields) -> None:
        """Take note of the head, as it goes to the client but for fields of our own."""

    @property
    def is_shared(self) -> bool:
        """Say whether several clients read the answer in turn.

        Then the hanging up of the one that is watched does not end it: `AbandonedError` is raised
        instead.
        """

    @property
    def wants_more(self) -> bool:
        """Say whether a copy of the whole answer can still come about."""

    def add(self, data: bytes) -> None:
        """Take the next bytes."""

    def over(self, *, is_whole: bool) -> None:
        """Take note that no more will come, and whether that was all; the row is written."""

    def close(self, *, is_lost: bool) -> None:
        """Take note that nobody reads on.

        Args:
            is_lost: the upstream had completed the answer, but the client did not get all of it.
        """


class Relay:
    """The body of an answer that is still arriving.

    Args:
        exchange: where it arrives.
        entry: the request's row.
        can_append: an ``error`` event of ours can be put behind what has gone out.
        stopping: says why if it was the daemon that gave up on `exchange`.
        on_end: called once, when the exchange is over.
        client_fd: the client's socket, looked at before the answer's end is handed on.
        keep: takes a copy.
    """

    def __init__(
        self,
        exchange: Exchange,
        entry: Entry,
        *,
        can_append: bool,
        stopping: Callable[[], CcoError | None],
        on_end: Callable[[Exchange], None],
        client_fd: int | None = None,
        keep: Keep | None = None,
    ) -> None:
        self._exchange = exchange
        self._entry = entry
        self._can_append = can_append
        self._stopping = stopping
        self._on_end = on_end
        self._client_fd = None if keep is not None and keep.is_shared else client_fd
        self._keep = keep
        self._lock = threading.Lock()
        """Held by whoever reads or ends it."""
        self._has_ended = False
        self._is_complete = False
        """The upstream's answer is all here."""
        self._is_gone = False
        """The client had hung up before it was handed on."""
        self._is_lost = True
        """It is not sure that the client has got it."""
        self._is_closed = False
        self._tells_head = entry.is_stream

    @property
    def entry(self) -> Entry:
        """The request's row."""
        return self._entry

    def watch(self, client_fd: int | None, deadline: float | None = None) -> None:
        """From now on notice when this client hangs up or waits no longer; for who reads next."""
        with self._lock:
            if not self._has_ended:
                self._exchange.watch(client_fd, deadline)

    def __iter__(self) -> Iterator[bytes]:
        """Return itself."""
        return self

    def __next__(self) -> bytes:
        """Return the next bytes, an empty item first where none are there with the head.

        Raises:
            StopIteration: the answer is whole.
            AnswerCut: it is not, and the client cannot be told but by closing the connection.
            AbandonedError: the client that was watched has hung up, but another may read on.
        """
        with self._lock:
            if self._is_complete and not self._is_gone:
                self._is_lost = False  # who asks for more has got what came before
            if self._has_ended:
                raise StopIteration
            if self._tells_head:
                self._tells_head = False
                if not self._exchange.has_bytes:
                    return b""
            try:
                data = self._exchange.read()
            except AbandonedError as abandoned:
                return self._abandon(abandoned)
            except UpstreamError as error:
                return self._break_off(error)
            if not data:
                self._end()
                self._is_lost &= has_hung_up(self._client_fd)
                raise StopIteration
            self._take(data, completes=self._entry.add(data))
            self._is_gone = self._is_complete and has_hung_up(self._client_fd)
            return data

    def close(self) -> None:
        """Give up what is not read yet; the upstream's connection is closed at once."""
        self._is_closed = True
        if not self._lock.acquire(blocking=False):
            self._exchange.abort()  # wakes who reads
            self._lock.acquire()
        try:
            self._read_on()
            self._end(partial=True)
            keep, self._keep = self._keep, None
            if keep is not None:
                keep.close(is_lost=self._is_complete and self._is_lost)
        finally:
            self._lock.release()

    def _take(self, data: bytes, *, completes: bool) -> None:
        """Take note of the next bytes."""
        if self._keep is not None:
            self._keep.add(data)
        if self._exchange.ended:
            self._end()
        elif completes:
            self._is_complete = True
            self._can_append = False
            self._entry.settle()

    def _read_on(self) -> None:
        """Read what has arrived already, for the copy."""
        while (
            self._keep is not None
            and self._keep.wants_more
            and not (self._has_ended or self._is_complete)
            and (data := self._exchange.read_ready())
        ):
            self._take(data, completes=self._entry.overhear(data))

    def _abandon(self, abandoned: AbandonedError) -> bytes:
        stopping = None if self._is_closed else self._stopping()
        if stopping is not None:
            return self._break_off(stopping)
        if self._keep is not None and self._keep.is_shared and not self._is_closed:
            raise abandoned
        self._read_on()
        self._end(partial=True)
        raise AnswerCut from abandoned

    def _break_off(self, error: CcoError) -> bytes:
        """End before the answer is whole; return what can still be told.

        A connection that the upstream broke is broken for the client too, who then does what it
        would do without us: it keeps what it has, where an ``error`` event makes it ask, and pay,
        again. That event is for what the client cannot see: silence, and the end of the daemon.
        """
        log.warning("an answer was cut: %s", error.message, extra={"CODE": error.code})
        told = b""
        if self._can_append and isinstance(error, (UpstreamTimeout, Unavailable)):
            told = render_event(error, self._entry.request_id)
            if self._keep is not None:
                self._keep.add(told)
        self._end(partial=True, error=error.code)
        if not told:
            raise AnswerCut from error
        return told

    def _end(self, *, partial: bool = False, error: str = "") -> None:
        if self._has_ended:
            return
        self._has_ended = True
        self._is_complete |= not partial
        self._exchange.release()
        self._on_end(self._exchange)
        self._entry.settle(partial=partial, error=error)
        if self._keep is not None:
            self._keep.over(is_whole=not partial)
