# SPDX-License-Identifier: Apache-2.0
"""One request and its answer over a connection of the pool.

Nothing is ever sent twice. A connection that rested is looked at before it is used again, so that
one which the upstream closed meanwhile is not taken; where it is closed in the very moment of
sending, the answer is an error, for the upstream may have begun to work (and to bill) already.

Threading: an `Exchange` is driven by one thread at a time; only `abort` may be called by another,
at any time.
"""

import threading
from typing import Final

from cco.errors import UpstreamError, UpstreamTimeout
from cco.gateway.headers import first
from cco.gateway.transport import IDLE_S, Pool
from cco.gateway.wire import (
    MAX_HEAD_BYTES,
    CloseFraming,
    Framing,
    Head,
    LengthFraming,
    MalformedError,
    declared_length,
    framing_of,
    is_reusable,
    split_head,
)

_JOINED_BYTES: Final = 65536
"""Bodies up to here are copied behind the head, to leave in one packet."""


class Exchange:
    """One request and its answer.

    Args:
        pool: where the connection comes from and goes back to.
        name: the upstream's, for messages.
        silence_s: longest time without a byte in either direction.
        client_fd: the client's socket, watched for its end; None if there is none.
        deadline: when nobody waits any longer, by the pool's clock; None for never.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        name: str,
        silence_s: float,
        client_fd: int | None = None,
        deadline: float | None = None,
    ) -> None:
        self._pool = pool
        self._name = name
        self._silence_s = silence_s
        self._connection = pool.take()
        self._connection.begin(client_fd=client_fd, silence_s=silence_s, deadline=deadline)
        self._ahead = b""
        """Bytes of the body that arrived together with the head."""
        self._sent_all = True
        self._head = Head(0, "", [], 1, {})
        self._framing: Framing = CloseFraming()  # until the head tells: not reusable
        self.length: int | None = None
        """Bytes of the body as declared; None where its end is told otherwise."""
        self._lock = threading.Lock()
        self._is_released = False

    @property
    def ended(self) -> bool:
        """The answer is whole."""
        return self._framing.done

    @property
    def has_bytes(self) -> bool:
        """`read` will not have to wait."""
        return bool(self._ahead) or self._framing.done

    def send(self, head: bytes, body: bytes) -> None:
        """Send a request.

        Raises:
            UpstreamError: it could not be sent.
            UpstreamTimeout: the upstream did not take it.
            AbandonedError: nobody wants the answer.
        """
        try:
            if len(body) <= _JOINED_BYTES:
                self._connection.send(head + body)
            else:
                self._connection.send(head)
                self._connection.send(body)
        except ConnectionError:
            # It may have answered (413, say) without reading on: `read_head` finds out.
            self._sent_all = False
        except OSError as error:
            raise self._failure(error) from error

    def read_head(self, method: str) -> Head:
        """Return the head of the answer to the request that was sent.

        Raises:
            UpstreamError: it did not come, or is no HTTP.
            UpstreamTimeout: the upstream fell silent.
            AbandonedError: nobody wants the answer.
        """
        try:
            self._head, self._ahead = self._receive_head()
            self._framing = framing_of(method, self._head)
            if isinstance(self._framing, LengthFraming):
                self.length = declared_length(self._head)
        except (OSError, MalformedError) as error:
            raise self._failure(error) from error
        return self._head

    def read(self) -> bytes:
        """Return the next bytes of the body as they arrive; empty when it is whole.

        Raises:
            UpstreamError: it ends before it is whole, or is no HTTP.
            UpstreamTimeout: the upstream fell silent.
            AbandonedError: nobody wants the answer.
        """
        try:
            while not self._framing.done:
                if self._framing.malformed:
                    raise MalformedError(self._framing.malformed)
                data, self._ahead = self._ahead or self._connection.receive(), b""
                if not data:
                    if self._framing.ends_with_connection():
                        break
                    raise MalformedError("the connection ended before the answer was whole")
                if piece := self._framing.feed(data):
                    return piece
        except (OSError, MalformedError) as error:
            raise self._failure(error) from error
        return b""

    def read_ready(self) -> bytes:
        """Return the next bytes of the body that have arrived already; empty if there are none."""
        while not self._framing.done and not self._framing.malformed:
            data, self._ahead = self._ahead or self._connection.receive_ready(), b""
            if not data:
                break
            if piece := self._framing.feed(data):
                return piece
        return b""

    def watch(self, client_fd: int | None, deadline: float | None = None) -> None:
        """Watch another client from now on."""
        self._connection.watch(client_fd, deadline)

    def release(self) -> None:
        """Let go of the connection: back to the pool after a whole answer, else closed."""
        with self._lock:
            if self._is_released:
                return
            self._is_released = True
        if self._sent_all and not self._ahead and is_reusable(self._head, self._framing):
            self._connection.end()
            self._pool.give(self._connection, keep_s=_keep_s(self._head))
        else:
            self._connection.close()

    def discard(self) -> None:
        """Let go of an answer that nobody wants, without waiting for the rest of it."""
        if self._ahead and not self._framing.malformed:
            self._framing.feed(self._ahead)
            self._ahead = b""
        self.release()

    def abort(self) -> None:
        """Make `send` and `read` give up. May be called by any thread."""
        with self._lock:  # once released, the connection may be another exchange's
            if not self._is_released:
                self._connection.abort()

    def _receive_head(self) -> tuple[Head, bytes]:
        """Return the final head, and what arrived behind it."""
        data = b""
        room = MAX_HEAD_BYTES
        while True:
            more = self._connection.receive()
            if not more:
                raise MalformedError("the connection ended before an answer came")
            data += more
            while (split := split_head(data)) is not None:
                head, rest = split
                if not head.is_interim:
                    return split
                room -= len(data) - len(rest)
                if head.status == 101 or room < 0:
                    raise MalformedError("it sent interim responses only")
                data = rest

    def _failure(self, error: Exception) -> UpstreamError:
        if isinstance(error, TimeoutError):
            return UpstreamTimeout(
                "upstream-timeout",
                f"The upstream {self._name} said nothing for {self._silence_s:g} s",
                hint="Its read_timeout_s bounds the silence",
            )
        why = str(error) if isinstance(error, MalformedError) else "the connection broke"
        return UpstreamError(
            "upstream-broken", f"The upstream {self._name} gave no whole answer: {why}"
        )


def _keep_s(head: Head) -> float:
    """Return how long the upstream keeps the connection, as far as its ``Keep-Alive`` tells."""
    for option in first(head.named, "keep-alive").split(","):
        name, _, value = option.strip().partition("=")
        if name.lower() == "timeout" and value.isdecimal():
            return float(value) - 1.0
    return IDLE_S
