# SPDX-License-Identifier: Apache-2.0
"""One request upstream for all who ask the same while it is under way.

The first one sends the request, the others wait for its answer; from there on a `Fanout` serves
them all. What happens to the request happens to all of them: its error, its refusal by the
upstream, its cut; none is sent again for a follower, which would be a retry of ours. Where the
first one goes, though, without having sent anything or before its answer has begun (its budget is
spent, its client hangs up), the next one sends its own.

Threading: everything may be called by any thread. Of the locks here and beside, a thread that holds
one takes only those behind it: `Relay`, `Flights`, `Flight`, `Fanout`, cache.
"""

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from cco.errors import CcoError
from cco.gateway.call import Answer
from cco.gateway.fanout import WATCH_S, Fanout, Reader
from cco.gateway.headers import Fields
from cco.gateway.recording import Recording
from cco.gateway.relay import Keep, Relay
from cco.gateway.transport import AbandonedError, has_hung_up

_Found = TypeVar("_Found")


class Keeping(Keep, Protocol):
    """Decides what becomes of the copy of an answer."""

    @property
    def recording(self) -> Recording:
        """The copy."""


class Flights:
    """The requests under way that others may join, by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[bytes, Flight] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._flights)

    def board(
        self, key: bytes, reader: Reader, *, find: Callable[[], _Found | None]
    ) -> "_Found | Flight":
        """Return the flight of a key with a reader on it, a new one if there is none.

        Args:
            key: of the request.
            reader: who asks.
            find: looks for an answer that is there already, which is returned instead. Nobody
                falls between the two: to keep an answer and to end its flight is one step.
        """
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None and flight.admit(reader):
                return flight
            found = find()
            if found is not None:
                return found
            self._flights[key] = Flight(self, key, reader)
            return self._flights[key]

    def end(self, key: bytes, flight: "Flight", *, last: Callable[[], None]) -> None:
        """Let nobody join a flight any more, and do the last thing to be done for it."""
        with self._lock:
            last()
            if self._flights.get(key) is flight:
                del self._flights[key]


class Flight:
    """One request under way; it is the `Keep` of its answer.

    Args:
        flights: where it can be found.
        key: by which.
        first: who sends the request.
    """

    is_shared = True
    """Several clients read the answer."""

    def __init__(self, flights: Flights, key: bytes, first: Reader) -> None:
        self._flights = flights
        self._key = key
        self._changed = threading.Condition()
        self._waiting: list[Reader] = [first]
        """Those who have no answer yet; the first one sends the request."""
        self._is_open = True
        """Others may join."""
        self._error: CcoError | None = None
        self._answer: Answer | None = None
        self._fanout: Fanout | None = None
        """The answer, once it has begun to arrive."""
        self._keeping: Keeping | None = None

    def admit(self, reader: Reader) -> bool:
        """Take a reader in, if there is still something to be had."""
        with self._changed:
            if self._fanout is not None:
                return self._fanout.admit(reader)
            if self._is_open:
                self._waiting.append(reader)
            return self._is_open

    def await_answer(self, reader: Reader) -> Answer | None:
        """Wait for the head of the answer; None makes `reader` the one who sends the request.

        Raises:
            CcoError: there is no answer for anybody.
            AbandonedError: the reader's client has hung up.
        """
        with self._changed:
            while self._error is None and self._answer is None:
                if self._waiting[0] is reader:
                    return None
                if not self._changed.wait(WATCH_S) and has_hung_up(reader.client_fd):
                    break
            if self._answer is not None:
                return self._answer
            error = self._error
        if error is None:
            self._leave(reader)
            raise AbandonedError
        # Not the same object: each thread raises its own.
        raise type(error)(error.code, error.message, hint=error.hint)

    def launch(self, keeping: Keeping) -> None:
        """Set what becomes of the answer, before the request is sent."""
        self._keeping = keeping

    def land(self, answer: Answer) -> None:
        """Let everybody have an answer that has begun."""
        keeping = self._keeping
        assert keeping is not None
        with self._changed:
            self._answer = answer
            if isinstance(answer.body, Relay):
                self._fanout = Fanout(answer.body, keeping.recording, self._waiting)
            self._is_open = False  # but by way of the fanout
            self._changed.notify_all()
        if self._fanout is None:  # it has no body
            self.over(is_whole=False)
            self.close(is_lost=False)

    def fail(self, error: CcoError) -> None:
        """Tell everybody that there will be no answer."""
        with self._changed:
            self._error = error
            self._is_open = False
            self._changed.notify_all()
        self.over(is_whole=False)
        self.close(is_lost=False)

    def resign(self, reader: Reader) -> None:
        """Give the request up for one reader; the next one, if there is any, sends its own."""
        self.close(is_lost=False)
        self._leave(reader)

    def _leave(self, reader: Reader) -> None:
        with self._changed:
            fanout = self._fanout
            self._waiting.remove(reader)
            self._is_open &= bool(self._waiting)
            is_over = not self._waiting
            self._changed.notify_all()
        if fanout is not None:  # the answer has begun in this very moment
            fanout.leave(reader)
        elif is_over:
            self.over(is_whole=False)

    # What the source of the answer tells

    @property
    def wants_more(self) -> bool:
        """Say whether a copy of the whole answer can still come about."""
        return self._keeping is not None and self._keeping.wants_more

    def begin(self, status: int, reason: str, headers: Fields) -> None:
        """Take note of the head of the answer."""
        if self._keeping is not None:
            self._keeping.begin(status, reason, headers)

    def add(self, data: bytes) -> None:
        """Take the next bytes."""
        assert self._fanout is not None
        self._fanout.add(data)

    def over(self, *, is_whole: bool) -> None:
        """Take note that no more will come."""

        def tell() -> None:
            if self._keeping is not None:
                self._keeping.over(is_whole=is_whole)

        self._flights.end(self._key, self, last=tell)

    def close(self, *, is_lost: bool) -> None:
        """Take note that nobody reads on."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.close(is_lost=is_lost or (self._fanout is not None and self._fanout.is_lost))
