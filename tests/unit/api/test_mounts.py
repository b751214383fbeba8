# SPDX-License-Identifier: Apache-2.0
"""The line to the mount, at both of its ends, over real sockets."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cco.api import mounts
from cco.api.mounts import MountLine

ENTRIES = [{"path": "agents.sealed", "size": 1}]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def show(line: MountLine, generation: str = "1") -> None:
    line.show(generation=generation, health="OK", entries=ENTRIES)


def told(data: bytes) -> dict[str, Any]:
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1
    found: dict[str, Any] = json.loads(data)
    return found


Ends = tuple[socket.socket, socket.socket]


def test_mount_hears_what_is_shown_as_it_connects(ends: Ends) -> None:
    line = MountLine()
    show(line)
    watch = line.watch(ends[0], pid=7, path="/m")

    assert told(next(watch)) == {"generation": "1", "health": "OK", "entries": ENTRIES}
    watch.close()


def test_mount_hears_every_change(ends: Ends) -> None:
    line = MountLine()
    show(line)
    watch = line.watch(ends[0], pid=7, path="/m")
    next(watch)
    for generation in ("2", "3"):
        show(line, generation)
        assert told(next(watch))["generation"] == generation
    watch.close()


def test_changes_in_between_are_told_by_the_last(ends: Ends) -> None:
    line = MountLine()
    show(line)
    watch = line.watch(ends[0], pid=7, path="/m")
    next(watch)
    for generation in ("2", "3", "4"):
        show(line, generation)

    assert told(next(watch))["generation"] == "4"
    watch.close()


def test_what_stays_the_same_is_not_told_again(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "KEEP_ALIVE_S", 0.01)
    line = MountLine()
    show(line)
    watch = line.watch(ends[0], pid=7, path="/m")
    next(watch)
    show(line)

    assert next(watch) == b"\n"  # a sign of life only
    watch.close()


def test_change_is_told_to_a_mount_that_waits(ends: Ends) -> None:
    line = MountLine()
    show(line)
    watch = line.watch(ends[0], pid=7, path="/m")
    next(watch)
    heard: list[bytes] = []
    thread = threading.Thread(target=lambda: heard.append(next(watch)))
    thread.start()
    show(line, "2")
    thread.join()

    assert told(heard[0])["generation"] == "2"
    watch.close()


def test_mount_that_goes_away_is_forgotten(ends: Ends) -> None:
    line = MountLine()
    show(line)
    watch = line.watch(ends[0], pid=7, path="/m")
    next(watch)
    assert line.report is not None
    ends[1].close()

    assert list(watch) == []
    assert line.report is None


def test_daemon_that_stops_ends_every_line(ends: Ends) -> None:
    line = MountLine()
    show(line)
    watches = [line.watch(ends[0], pid=pid, path="/m") for pid in (1, 2)]
    for watch in watches:
        next(watch)
    line.stop()

    assert [list(watch) for watch in watches] == [[], []]
    assert list(line.watch(ends[0], pid=3, path="/m")) == []  # and those that come late
    assert line.report is None


def test_mount_says_how_it_is(ends: Ends) -> None:
    line = MountLine()
    show(line)
    watch = line.watch(ends[0], pid=7, path="/m")
    next(watch)

    first = line.report
    assert first is not None
    assert (first.pid, first.path, first.is_serving, first.message) == (7, "/m", False, "starting")
    line.note(8, is_serving=True, message="another's", figures={})
    assert line.report == first
    line.note(7, is_serving=True, message="", figures={"pssBytes": 1.0})
    assert line.report is not None
    assert line.report.is_serving
    assert line.report.figures == {"pssBytes": 1.0}
    watch.close()


def test_newest_mount_counts(ends: Ends) -> None:
    # Its forerunner's connection may linger for a moment.
    line = MountLine()
    show(line)
    old, new = (line.watch(ends[0], pid=pid, path=f"/{pid}") for pid in (1, 2))
    next(old)
    next(new)
    assert line.report is not None
    assert line.report.pid == 2
    new.close()
    assert line.report.pid == 1
    old.close()


def test_line_that_is_never_read_holds_nothing(ends: Ends) -> None:
    line = MountLine()
    line.watch(ends[0], pid=7, path="/m")

    assert line.report is None
