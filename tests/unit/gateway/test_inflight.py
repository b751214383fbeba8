# SPDX-License-Identifier: Apache-2.0
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from cco.errors import CcoError, UpstreamTimeout
from cco.gateway import inflight as module
from cco.gateway.call import Answer, FixedBody
from cco.gateway.fanout import Reader
from cco.gateway.headers import Fields
from cco.gateway.inflight import Flight, Flights
from cco.gateway.recording import Recording, Room
from cco.gateway.transport import AbandonedError
from tests.forwarding import STREAM
from tests.rawserver import DEADLINE_S, chunk
from tests.unit.gateway.answering import EVENTS, Answering

KEY = b"key"


@dataclass
class Keeper:
    """A `Keeping` that tells what it was told."""

    recording: Recording = field(default_factory=lambda: Recording(Room(10_000), max_bytes=10_000))
    told: list[Any] = field(default_factory=list)
    is_shared: bool = False
    wants_more: bool = True

    def begin(self, status: int, reason: str, headers: Fields) -> None:
        self.told.append((status, reason, headers))

    def add(self, data: bytes) -> None:
        raise AssertionError("a flight records by itself")

    def over(self, *, is_whole: bool) -> None:
        self.told.append("whole" if is_whole else "not whole")

    def close(self, *, is_lost: bool) -> None:
        self.told.append("lost" if is_lost else "closed")


class Asking:
    """Several who ask the same."""

    def __init__(self) -> None:
        self.answering = Answering()
        self.flights = Flights()
        self.found: str | None = None

    def reader(self, client_fd: int | None = None) -> Reader:
        return Reader(self.answering.entry(), client_fd=client_fd, note_saved=lambda _: None)

    def board(self, reader: Reader, key: bytes = KEY) -> "Flight | str":
        return self.flights.board(key, reader, find=lambda: self.found)

    def flight(self, reader: Reader) -> Flight:
        boarded = self.board(reader)
        assert isinstance(boarded, Flight)
        return boarded

    def answer(self, flight: Flight, first: Reader, data: bytes) -> Answer:
        relay = self.answering.relay(data, entry=first.entry, keep=flight)
        return Answer(200, "OK", [], relay)


@pytest.fixture
def asking() -> Iterator[Asking]:
    made = Asking()
    yield made
    made.answering.close()


class Waiting(threading.Thread):
    """A follower that waits for the answer."""

    def __init__(self, flight: Flight, reader: Reader) -> None:
        super().__init__()
        self.reader = reader
        self.got: object = "nothing yet"
        self._flight = flight
        self.start()

    def run(self) -> None:
        try:
            self.got = self._flight.await_answer(self.reader)
        except (CcoError, AbandonedError) as error:
            self.got = error

    def result(self) -> object:
        self.join(DEADLINE_S)
        return self.got


def test_the_first_one_sends_and_all_get_the_answer(asking: Asking) -> None:
    first, second = asking.reader(), asking.reader()
    flight = asking.flight(first)
    assert flight.await_answer(first) is None
    assert asking.flight(second) is flight
    waiting = Waiting(flight, second)
    keeper = Keeper()
    flight.launch(keeper)
    assert (flight.is_shared, flight.wants_more) == (True, True)
    flight.begin(200, "OK", [("a", "b")])
    answer = asking.answer(flight, first, EVENTS + chunk(STREAM) + chunk(b""))
    flight.land(answer)
    assert waiting.result() is answer
    late = asking.reader()
    assert asking.flight(late) is flight
    assert flight.await_answer(late) is answer
    for reader in (second, first, late):
        reader.entry.is_stream = True
        assert b"".join(reader) == STREAM
        assert len(asking.flights) == 0  # it is over
        reader.close()
    assert keeper.told == [(200, "OK", [("a", "b")]), "whole", "closed"]
    assert not flight.wants_more


def test_another_key_is_another_flight(asking: Asking) -> None:
    flight = asking.flight(asking.reader())
    assert asking.board(asking.reader(), b"other") is not flight
    assert len(asking.flights) == 2


def test_an_answer_that_is_there_needs_no_flight(asking: Asking) -> None:
    asking.found = "found"
    assert asking.board(asking.reader()) == "found"
    assert len(asking.flights) == 0


def test_nobody_falls_between_a_flight_and_what_it_keeps(asking: Asking) -> None:
    # While the answer is being kept nobody can board, and afterwards it is found.
    first = asking.reader()
    flight = asking.flight(first)
    seen: list[object] = []
    threads: list[threading.Thread] = []

    class Slow(Keeper):
        def over(self, *, is_whole: bool) -> None:
            threads.append(threading.Thread(target=lambda: seen.append(asking.board(second))))
            threads[0].start()
            time.sleep(0.02)  # long enough for a thread that does not have to wait
            assert seen == []
            asking.found = "kept"

    second = asking.reader()
    flight.launch(Slow())
    flight.land(asking.answer(flight, first, EVENTS + chunk(STREAM) + chunk(b"")))
    assert b"".join(first) == STREAM
    first.close()
    threads[0].join(DEADLINE_S)
    assert seen == ["kept"]


def test_the_error_of_the_first_is_the_error_of_all(asking: Asking) -> None:
    first, second = asking.reader(), asking.reader()
    flight = asking.flight(first)
    asking.board(second)
    waiting = Waiting(flight, second)
    keeper = Keeper()
    flight.launch(keeper)
    error = UpstreamTimeout("upstream-timeout", "It said nothing", hint="Wait")
    flight.fail(error)

    got = waiting.result()
    assert isinstance(got, UpstreamTimeout)
    assert got is not error
    assert (got.code, got.message, got.hint) == (error.code, error.message, error.hint)
    assert keeper.told == ["not whole", "closed"]
    assert len(asking.flights) == 0
    assert asking.flight(asking.reader()) is not flight


def test_when_the_first_one_goes_the_next_one_sends(asking: Asking) -> None:
    readers = [asking.reader() for _ in range(3)]
    first, second, third = readers
    flight = asking.flight(first)
    waiting = []
    for reader in (second, third):
        asking.board(reader)
        waiting.append(Waiting(flight, reader))
    given_up, keeper = Keeper(), Keeper()
    flight.launch(given_up)
    flight.resign(first)
    assert given_up.told == ["closed"]
    assert waiting[0].result() is None
    assert waiting[1].is_alive()

    flight.launch(keeper)
    answer = asking.answer(flight, second, EVENTS + chunk(STREAM) + chunk(b""))
    flight.land(answer)
    assert waiting[1].result() is answer
    assert [b"".join(reader) for reader in (second, third)] == [STREAM] * 2
    for reader in (second, third):
        reader.close()
    assert [row.cost_nano > 0 for row in asking.answering.rows] == [True, False]


def test_when_the_only_one_goes_the_flight_is_over(asking: Asking) -> None:
    first = asking.reader()
    flight = asking.flight(first)
    keeper = Keeper()
    flight.launch(keeper)
    flight.resign(first)
    assert len(asking.flights) == 0
    assert not flight.admit(asking.reader())
    assert keeper.told == ["closed"]


def test_a_follower_that_hangs_up_is_let_go(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_S", 0.01)
    browser, client = socket.socketpair()
    with client:
        first, second = asking.reader(), asking.reader(client.fileno())
        flight = asking.flight(first)
        asking.board(second)
        waiting = Waiting(flight, second)
        browser.close()
        assert isinstance(waiting.result(), AbandonedError)
    flight.launch(Keeper())
    flight.land(asking.answer(flight, first, EVENTS + chunk(STREAM[:100])))
    next(first)
    first.close()  # as the only reader: the upstream is closed
    assert [row.partial for row in asking.answering.rows] == [True]


def test_a_follower_that_hangs_up_as_the_answer_begins_keeps_nothing_open(asking: Asking) -> None:
    first, second = asking.reader(), asking.reader()
    flight = asking.flight(first)
    asking.board(second)
    flight.launch(Keeper())
    flight.land(asking.answer(flight, first, EVENTS + chunk(STREAM[:100])))
    flight._leave(second)  # as after a look at its socket that came just before
    next(first)
    first.close()
    assert [row.partial for row in asking.answering.rows] == [True]


def test_an_answer_without_a_body_is_over_at_once(asking: Asking) -> None:
    first, second = asking.reader(), asking.reader()
    flight = asking.flight(first)
    asking.board(second)
    keeper = Keeper()
    flight.launch(keeper)
    flight.land(Answer(204, "No Content", [], FixedBody()))
    answer = flight.await_answer(second)
    assert answer is not None
    assert answer.status == 204
    assert keeper.told == ["not whole", "closed"]
    assert len(asking.flights) == 0


def test_a_flight_that_takes_nobody_in_is_replaced(asking: Asking) -> None:
    first, second = asking.reader(), asking.reader()
    flight = asking.flight(first)
    flight.launch(Keeper(Recording(Room(10), max_bytes=10)))
    flight.land(asking.answer(flight, first, EVENTS + chunk(STREAM) + chunk(b"")))
    assert next(first) == b""
    assert next(first) == STREAM
    assert len(asking.flights) == 0

    flight = asking.flight(first := asking.reader())
    flight.launch(Keeper(Recording(Room(10), max_bytes=10)))
    flight.land(asking.answer(flight, first, EVENTS + chunk(STREAM)))
    assert next(first) == b""
    assert next(first) == STREAM
    other = asking.flight(second)
    assert other is not flight
    first.close()
    assert asking.flight(asking.reader()) is other


def test_a_crowd_sends_one_request(asking: Asking) -> None:
    count = 60
    begun = threading.Barrier(count)
    sent: list[Reader] = []
    got: list[bytes] = []

    def ask() -> None:
        reader = asking.reader()
        begun.wait(DEADLINE_S)
        flight = asking.flight(reader)
        if flight.await_answer(reader) is None:
            sent.append(reader)
            flight.launch(Keeper())
            while len(flight._waiting) < count:  # all are there before the answer begins
                time.sleep(0.001)
            flight.land(asking.answer(flight, reader, EVENTS + chunk(STREAM) + chunk(b"")))
        reader.entry.is_stream = True
        got.append(b"".join(reader))
        reader.close()

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert len(sent) == 1
    assert got == [STREAM] * count
    assert len(asking.answering.rows) == count
    assert len(asking.flights) == 0
