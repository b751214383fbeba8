# SPDX-License-Identifier: Apache-2.0
"""Turns: so many at once, fair among those who wait, and no longer than is borne."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from cco.errors import RequestError
from cco.gateway.transport import AbandonedError
from cco.orchestration.slots import Slots
from tests.mounting import wait_until

PATIENT_S = 60.0


def make_slots(count: int) -> Slots:
    slots = Slots(monotonic=time.monotonic)
    slots.configure(count)
    return slots


def queue_up(
    slots: Slots, act: Callable[[], None], *, party: str = "", client_fd: int | None = None
) -> threading.Thread:
    """Start a thread that wants a turn; return when it waits for it."""
    before = slots.waiting

    def wait() -> None:
        with slots.turn(party=party, timeout_s=PATIENT_S, client_fd=client_fd):
            act()

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: slots.waiting == before + 1, "it is in the queue")
    return thread


def nothing() -> None:
    """Hold a turn for no time."""


def test_so_many_run_at_once() -> None:
    slots = make_slots(3)
    for _ in range(2):  # all three are free again, and no more than three
        with ExitStack() as held:
            for _ in range(3):
                held.enter_context(slots.turn(party="", timeout_s=0))
            with pytest.raises(RequestError) as caught, slots.turn(party="", timeout_s=0):
                pass
    assert caught.value.code == "agents-busy"
    assert caught.value.message == "no agent became free within 0 seconds"
    assert "max_concurrent" in (caught.value.hint or "")
    assert (slots.running, slots.waiting) == (0, 0)


def test_first_come_is_first_served() -> None:
    slots = make_slots(1)
    served: list[int] = []

    def note(number: int) -> Callable[[], None]:
        return lambda: served.append(number)

    with slots.turn(party="", timeout_s=0):
        threads = [queue_up(slots, note(number)) for number in range(10)]
    for thread in threads:
        thread.join()

    assert served == list(range(10))


def test_list_of_many_does_not_keep_another_caller_waiting() -> None:
    slots = make_slots(1)
    served: list[str] = []

    def note(name: str) -> Callable[[], None]:
        return lambda: served.append(name)

    with slots.turn(party="list", timeout_s=0):
        threads = [queue_up(slots, note(f"list {n}"), party="list") for n in range(4)]
        threads.append(queue_up(slots, note("single"), party="single"))
        threads.append(queue_up(slots, note("other"), party="other"))
    for thread in threads:
        thread.join()

    assert served == ["list 0", "single", "other", "list 1", "list 2", "list 3"]


def test_newcomer_does_not_pass_those_who_wait() -> None:
    slots = make_slots(1)
    served: list[str] = []
    go_on = threading.Event()

    def waiter() -> None:
        served.append("waiter")
        go_on.wait()

    with slots.turn(party="", timeout_s=0):
        first = queue_up(slots, waiter)
    # The turn was handed over, so it is not free for whoever comes now.
    second = queue_up(slots, lambda: served.append("newcomer"))
    go_on.set()
    first.join()
    second.join()

    assert served == ["waiter", "newcomer"]


def test_who_has_given_up_takes_no_turn() -> None:
    slots = make_slots(1)
    with slots.turn(party="", timeout_s=0):
        for _ in range(5):
            with pytest.raises(RequestError), slots.turn(party="x", timeout_s=0.01):
                pass
        assert slots.waiting == 0
    with slots.turn(party="", timeout_s=0):
        pass


def test_client_that_hangs_up_leaves_the_queue() -> None:
    slots = make_slots(1)
    near, far = socket.socketpair()
    ended: list[BaseException] = []

    def wait() -> None:
        with (
            pytest.raises(AbandonedError) as caught,
            slots.turn(party="", timeout_s=PATIENT_S, client_fd=near.fileno()),
        ):
            pass
        ended.append(caught.value)

    with near, far, slots.turn(party="", timeout_s=0):
        thread = threading.Thread(target=wait)
        thread.start()
        wait_until(lambda: slots.waiting == 1, "it waits")
        far.close()
        wait_until(lambda: slots.waiting == 0, "it has left")
        thread.join()

    assert len(ended) == 1
    assert slots.running == 0


def test_turn_is_given_back_however_it_ends() -> None:
    slots = make_slots(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), slots.turn(party="", timeout_s=0):
            raise ZeroDivisionError
    with slots.turn(party="", timeout_s=0):
        pass


def test_more_turns_wake_those_who_wait() -> None:
    slots = make_slots(1)
    with slots.turn(party="", timeout_s=0):
        threads = [queue_up(slots, nothing) for _ in range(2)]
        slots.configure(3)
        for thread in threads:
            thread.join()


def test_fewer_turns_stop_nobody_and_hold_from_the_next_on() -> None:
    slots = make_slots(2)
    with slots.turn(party="", timeout_s=0):
        with slots.turn(party="", timeout_s=0):
            slots.configure(1)
            assert slots.running == 2
        with pytest.raises(RequestError), slots.turn(party="", timeout_s=0):
            pass
    with slots.turn(party="", timeout_s=0):
        assert slots.running == 1


def test_no_turn_is_lost_in_a_crowd() -> None:
    slots = make_slots(3)
    lock = threading.Lock()
    inside = most = done = 0

    def act(party: str) -> None:
        nonlocal inside, most, done
        for _ in range(50):
            with slots.turn(party=party, timeout_s=PATIENT_S):
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1
                    done += 1

    threads = [threading.Thread(target=act, args=(str(n % 4),)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert done == 600
    assert most <= 3
    assert (slots.running, slots.waiting) == (0, 0)
