# SPDX-License-Identifier: Apache-2.0
"""Several at once: each is done once, told when it ends, and none outlives the batch."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from cco.errors import CcoError, RequestError
from cco.gateway.transport import AbandonedError
from cco.orchestration.batch import Batch, Outcome
from tests.mounting import wait_until

ExpectLog = Callable[[str], None]


def drain(batch: Batch) -> dict[int, Outcome]:
    try:
        return dict(batch)
    finally:
        batch.close()


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_each_one_is_done_once(workers: int) -> None:
    done: list[int] = []

    def invoke(place: int) -> dict[str, Any]:
        done.append(place)
        return {"place": place}

    assert drain(Batch(20, invoke, workers=workers)) == {n: {"place": n} for n in range(20)}
    assert sorted(done) == list(range(20))


def test_one_worker_goes_one_after_the_other() -> None:
    inside = threading.Semaphore(1)

    def invoke(place: int) -> dict[str, Any]:
        assert inside.acquire(blocking=False)
        inside.release()
        return {"place": place}

    assert list(Batch(5, invoke, workers=1)) == [(n, {"place": n}) for n in range(5)]


def test_who_ends_first_is_told_first() -> None:
    go_on = threading.Event()

    def invoke(place: int) -> dict[str, Any]:
        if place == 0:
            go_on.wait(30)
        return {}

    batch = Batch(2, invoke, workers=2)
    assert next(batch) == (1, {})
    go_on.set()
    assert next(batch) == (0, {})
    batch.close()


def test_failure_is_one_ones_own(expect_log: ExpectLog) -> None:
    expect_log("an invocation failed")

    def invoke(place: int) -> dict[str, Any]:
        if place == 1:
            raise RequestError("empty-task", "the task is empty")
        if place == 2:
            raise ZeroDivisionError
        return {}

    found = drain(Batch(4, invoke, workers=2))
    codes = {n: one.code for n, one in found.items() if isinstance(one, CcoError)}
    assert codes == {1: "empty-task", 2: "internal"}
    assert found[0] == found[3] == {}


def test_client_that_hangs_up_ends_it() -> None:
    begun: list[int] = []

    def invoke(place: int) -> dict[str, Any]:
        begun.append(place)
        raise AbandonedError

    assert drain(Batch(50, invoke, workers=2)) == {}
    assert len(begun) <= 2


def test_close_waits_for_those_that_run_and_begins_no_more() -> None:
    go_on, begun = threading.Event(), []

    def invoke(place: int) -> dict[str, Any]:
        begun.append(place)
        if place:
            go_on.wait(30)
        return {}

    batch = Batch(9, invoke, workers=2)
    assert next(batch) == (0, {})
    wait_until(lambda: len(begun) == 3, "two wait")
    closer = threading.Thread(target=batch.close)
    closer.start()
    wait_until(lambda: batch._is_over, "it is being closed")
    assert closer.is_alive()
    go_on.set()
    closer.join()

    assert begun == [0, 1, 2]
    assert not any(thread.is_alive() for thread in batch._threads)


def test_batch_that_nobody_reads_begins_nothing() -> None:
    batch = Batch(3, lambda place: pytest.fail("it was begun"), workers=3)
    batch.close()
    assert list(batch) == []
