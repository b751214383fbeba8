# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from cco.errors import Unavailable
from cco.gateway.running import Running
from cco.gateway.transport import AbandonedError
from tests.unit.gateway.far import Far


@pytest.fixture
def far() -> Iterator[Far]:
    made = Far()
    yield made
    made.close()


def test_counts_what_is_under_way(far: Far) -> None:
    running = Running()
    first, second = far.begin(), far.begin()
    running.add(first)
    running.add(second)
    assert len(running) == 2
    running.remove(first)
    running.remove(first)
    assert len(running) == 1
    first.release()
    second.release()


def test_a_stop_aborts_what_is_under_way(far: Far) -> None:
    running = Running()
    exchange = far.begin()
    running.add(exchange)
    error = Unavailable("daemon-stopping", "m")
    running.stop(error)

    assert running.stop_error is error
    with pytest.raises(AbandonedError):
        exchange.read_head("GET")
    exchange.release()


def test_nothing_begins_after_a_stop(far: Far) -> None:
    running = Running()
    running.stop(Unavailable("daemon-stopping", "m"))
    exchange = far.begin()
    with pytest.raises(AbandonedError):
        running.add(exchange)
    assert len(running) == 1  # until whoever began it has let go
    running.remove(exchange)
    exchange.release()
