# SPDX-License-Identifier: Apache-2.0
"""Turns: so many at once, in the order of asking, and no longer than is borne."""

import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from cco.errors import RequestError
from cco.orchestration.slots import Slots
from tests.mounting import wait_until

PATIENT_S = 60.0


def queue_up(slots: Slots, act: Callable[[], None]) -> threading.Thread:
    """Start a thread that wants a turn; return when it waits for it."""
    before = len(slots._waiting)
    thread = threading.Thread(target=act)
    thread.start()
    wait_until(lambda: len(slots._waiting) == before + 1, "it is in the queue")
    return thread


def test_so_many_run_at_once() -> None:
    slots = Slots(3, timeout_s=0.0)
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(slots.turn())
        with pytest.raises(RequestError) as caught, slots.turn():
            pass
    assert caught.value.code == "agents-busy"
    assert caught.value.message == "no agent became free within 0 seconds"
    assert "max_concurrent" in (caught.value.hint or "")

    with ExitStack() as held:  # all three are free again, and no more than three
        for _ in range(3):
            held.enter_context(slots.turn())
        with pytest.raises(RequestError), slots.turn():
            pass


def test_first_come_is_first_served() -> None:
    slots = Slots(1, timeout_s=PATIENT_S)
    served: list[int] = []

    def take(number: int) -> Callable[[], None]:
        def act() -> None:
            with slots.turn():
                served.append(number)

        return act

    with slots.turn():
        threads = [queue_up(slots, take(number)) for number in range(10)]
    for thread in threads:
        thread.join()

    assert served == list(range(10))


def test_newcomer_does_not_pass_those_who_wait() -> None:
    slots = Slots(1, timeout_s=PATIENT_S)
    served: list[str] = []
    go_on = threading.Event()

    def waiter() -> None:
        with slots.turn():
            served.append("waiter")
            go_on.wait()

    with slots.turn():
        first = queue_up(slots, waiter)
    # The turn was handed over, so it is not free for whoever comes now.
    second = queue_up(slots, lambda: take_and_note(slots, served))
    go_on.set()
    first.join()
    second.join()

    assert served == ["waiter", "newcomer"]


def take_and_note(slots: Slots, served: list[str]) -> None:
    with slots.turn():
        served.append("newcomer")


def test_who_has_given_up_takes_no_turn() -> None:
    slots = Slots(1, timeout_s=0.01)
    with slots.turn():
        for _ in range(5):
            with pytest.raises(RequestError), slots.turn():
                pass
    with slots.turn():
        pass
    assert not slots._waiting


def test_turn_is_given_back_however_it_ends() -> None:
    slots = Slots(1, timeout_s=0.0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), slots.turn():
            raise ZeroDivisionError
    with slots.turn():
        pass


def test_no_turn_is_lost_in_a_crowd() -> None:
    slots = Slots(3, timeout_s=PATIENT_S)
    lock = threading.Lock()
    inside = most = done = 0

    def act() -> None:
        nonlocal inside, most, done
        for _ in range(50):
            with slots.turn():
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1
                    done += 1

    threads = [threading.Thread(target=act) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert done == 600
    assert most <= 3
    assert slots._free == 3
