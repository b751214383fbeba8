# SPDX-License-Identifier: Apache-2.0
"""Hands an upstream's answer to the client, piece by piece as it arrives.

Each piece is looked at (usage) before it goes on, and none is kept. The piece that completes the
answer (``message_stop`` in it, or the last byte that ``Content-Length`` declares) is held back
until the ledger's row is durable; where only the end of the chunks completes it, that end is.

Threading: one thread iterates; `close` may be called by any. Whoever comes last writes the row.
"""

import logging
import threading
from collections.abc import Callable, Iterator

from cco.errors import CcoError, Unavailable, UpstreamError, UpstreamTimeout
from cco.gateway.entry import Entry
from cco.gateway.errors import AnswerCut, render_event
from cco.gateway.exchange import Exchange
from cco.gateway.transport import AbandonedError

log = logging.getLogger(__name__)


class Relay:
    """The body of an answer that is still arriving.

    Args:
        exchange: where it arrives.
        entry: the request's row.
        can_append: an ``error`` event of ours can be put behind what has gone out.
        stopping: says why if it was the daemon that gave up on `exchange`.
        on_end: called once, when the exchange is over.
    """

    def __init__(
        self,
        exchange: Exchange,
        entry: Entry,
        *,
        can_append: bool,
        stopping: Callable[[], CcoError | None],
        on_end: Callable[[Exchange], None],
    ) -> None:
        self._exchange = exchange
        self._entry = entry
        self._can_append = can_append
        self._stopping = stopping
        self._on_end = on_end
        self._lock = threading.Lock()
        """Held by whoever reads or ends it."""
        self._has_ended = False
        self._is_closed = False
        self._tells_head = entry.is_stream

    def __iter__(self) -> Iterator[bytes]:
        """Return itself."""
        return self

    def __next__(self) -> bytes:
        """Return the next bytes, an empty item first where none are there with the head.

        Raises:
            StopIteration: the answer is whole.
            AnswerCut: it is not, and the client cannot be told but by closing the connection.
        """
        with self._lock:
            if self._has_ended:
                raise StopIteration
            if self._tells_head:
                self._tells_head = False
                if not self._exchange.has_bytes:
                    return b""
            try:
                data = self._exchange.read()
            except AbandonedError as abandoned:
                stopping = None if self._is_closed else self._stopping()
                if stopping is None:
                    self._end(partial=True)
                    raise AnswerCut from abandoned
                return self._break_off(stopping)
            except UpstreamError as error:
                return self._break_off(error)
            if not data:
                self._end()
                raise StopIteration
            completes = self._entry.add(data)
            if self._exchange.ended:
                self._end()
            elif completes:
                self._can_append = False
                self._entry.settle()
            return data

    def close(self) -> None:
        """Give up what is not read yet; the upstream's connection is closed at once."""
        self._is_closed = True
        self._exchange.abort()
        if self._lock.acquire(blocking=False):  # else the thread that reads ends it
            try:
                self._end(partial=True)
            finally:
                self._lock.release()

    def _break_off(self, error: CcoError) -> bytes:
        """End before the answer is whole; return what can still be told.

        A connection that the upstream broke is broken for the client too, who then does what it
        would do without us: it keeps what it has, where an ``error`` event makes it ask, and pay,
        again. That event is for what the client cannot see: silence, and the end of the daemon.
        """
        log.warning("an answer was cut: %s", error.message)
        self._end(partial=True, error=error.code)
        if not self._can_append or not isinstance(error, (UpstreamTimeout, Unavailable)):
            raise AnswerCut from error
        return render_event(error, self._entry.request_id)

    def _end(self, *, partial: bool = False, error: str = "") -> None:
        if self._has_ended:
            return
        self._has_ended = True
        self._exchange.release()
        self._on_end(self._exchange)
        self._entry.settle(partial=partial, error=error)
