# SPDX-License-Identifier: Apache-2.0

import selectors
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.workers.gthread import ThreadWorker

from cco.daemon import draining
from cco.daemon.draining import DrainingWorker, Selector


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a worker that listens at one socket, as far as the accept loop of Gunicorn 23 goes."""
    monkeypatch.setattr(ThreadWorker, "notify", lambda _: None)
    listener, client = socket.socketpair()
    client.send(b"a connection")
    worker = DrainingWorker.__new__(DrainingWorker)
    worker.alive, worker.nr_conns, worker.sockets = True, 1, [listener]
    worker.cfg = SimpleNamespace(set=lambda name, value: changed.append((name, value)))
    changed: list[tuple[str, int]] = []
    worker.changed = changed
    with Selector() as worker.poller, listener, client:
        worker.poller.register(listener, selectors.EVENT_READ)
        yield worker


def test_serves_on_until_told_to_stop(worker: Any) -> None:
    worker.notify()
    assert worker.alive
    assert len(worker.poller.select(0)) == 1


def test_accepts_no_more_and_waits_for_what_was_accepted(worker: Any) -> None:
    worker.handle_exit(15, None)
    worker.handle_exit(15, None)  # sent twice
    assert worker.poller.select(600) == []  # and not after ten minutes
    assert worker.changed == [("keepalive", 0)]
    worker.notify()
    assert worker.alive
    worker.nr_conns = 0
    worker.notify()
    assert not worker.alive


def test_does_not_wait_for_ever(worker: Any) -> None:
    worker.handle_exit(15, None)
    worker._until -= draining.DRAIN_S
    worker.notify()
    assert not worker.alive
