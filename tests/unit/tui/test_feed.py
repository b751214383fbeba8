# SPDX-License-Identifier: Apache-2.0
"""Questions answered in a thread, with real sockets."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cco.client import Client
from cco.errors import RequestError
from cco.tui.feed import Answer, Feed, Query
from tests.daemon import short_directory
from tests.mounting import wait_until
from tests.unit.tui.samples import Oracle

ONE = Query("one", "/one")
TWO = Query("two", "/two?x=1")


@pytest.fixture
def socket_path() -> Iterator[Path]:
    place = short_directory()
    yield place / "s"
    (place / "s").unlink(missing_ok=True)
    place.rmdir()


@contextmanager
def feeding(path: Path) -> Iterator[tuple[Feed, threading.Event]]:
    woken = threading.Event()
    feed = Feed(Client(path, timeout_s=20), woken.set)
    try:
        yield feed, woken
    finally:
        feed.close()
        feed.join(20)


def collect(feed: Feed, count: int) -> list[Answer]:
    found: list[Answer] = []

    def enough() -> bool:
        found.extend(feed.answers())
        return len(found) >= count

    wait_until(enough, f"{count} answers")
    wait_until(lambda: feed.is_idle, "the round is over")
    return found


def test_round_is_answered_and_the_screen_is_woken(socket_path: Path) -> None:
    with Oracle(socket_path).serving() as oracle, feeding(socket_path) as (feed, woken):
        oracle.answers = {"/one": (200, {"a": 1}), "/two": (200, {"b": 2})}
        feed.ask([ONE, TWO])
        assert collect(feed, 2) == [Answer(ONE, {"a": 1}), Answer(TWO, {"b": 2})]
        assert woken.is_set()


def test_answer_that_is_as_before_costs_nothing(socket_path: Path) -> None:
    with Oracle(socket_path).serving() as oracle, feeding(socket_path) as (feed, _):
        oracle.answers = {"/one": (200, {"a": 1})}
        feed.ask([ONE])
        collect(feed, 1)
        feed.ask([ONE])
        assert collect(feed, 1) == [Answer(ONE, None)]
        oracle.answers = {"/one": (200, {"a": 2})}
        feed.ask([ONE])
        assert collect(feed, 1) == [Answer(ONE, {"a": 2})]
        # Another question under the same name is asked without the tag of the first.
        feed.ask([Query("one", "/one?other")])
        assert collect(feed, 1)[0].document == {"a": 2}
        assert [bool(tag) for _, tag in oracle.asked] == [False, True, True, False]


def test_refusal_is_of_its_question_only(socket_path: Path) -> None:
    with Oracle(socket_path).serving() as oracle, feeding(socket_path) as (feed, _):
        oracle.answers = {"/two": (200, {})}
        feed.ask([ONE, TWO])
        refused, answered = collect(feed, 2)
        assert refused.error is not None
        assert (refused.error.code, answered.document) == ("no-route", {})


def test_health_that_is_ill_is_an_answer(socket_path: Path) -> None:
    with Oracle(socket_path).serving() as oracle, feeding(socket_path) as (feed, _):
        oracle.answers = {"/health": (503, {"status": "degraded"})}
        feed.ask([Query("health", "/health")])
        assert collect(feed, 1)[0].document == {"status": "degraded"}


def test_daemon_that_is_away_is_asked_one_question_a_round(socket_path: Path) -> None:
    with feeding(socket_path) as (feed, _):
        feed.ask([ONE, TWO, Query("log", read=lambda: "why it is")])
        answer, log = collect(feed, 2)
        assert answer.error is not None
        assert answer.error.code == "daemon-unavailable"
        assert log.document == "why it is"  # what is read here is wanted all the more

        with Oracle(socket_path).serving() as oracle:
            oracle.answers = {"/one": (200, {"a": 1}), "/two": (200, {})}
            feed.ask([ONE, TWO])
            assert [each.document for each in collect(feed, 2)] == [{"a": 1}, {}]


def test_something_else_is_read_in_the_same_thread(socket_path: Path) -> None:
    with feeding(socket_path) as (feed, _):
        feed.ask([Query("thread", read=lambda: threading.current_thread().name)])
        assert collect(feed, 1)[0].document == "feed"


def test_action_does_not_hold_up_the_questions(socket_path: Path) -> None:
    release = threading.Event()
    with Oracle(socket_path).serving() as oracle, feeding(socket_path) as (feed, _):
        oracle.answers = {"/one": (200, {})}
        feed.run("slow", lambda: release.wait(20))
        feed.ask([ONE])
        first: list[Answer] = []

        def is_answered() -> bool:
            first.extend(feed.answers())
            return bool(first)

        wait_until(is_answered, "the question is answered")
        assert first[0].query.name == "one"
        assert not feed.is_idle
        release.set()
        assert collect(feed, 1)[0].query.name == "slow"


def test_failure_of_ours_is_told_and_the_feed_goes_on(socket_path: Path) -> None:
    def fail() -> None:
        raise RequestError("no", "it cannot be done")

    with feeding(socket_path) as (feed, _):
        feed.ask([Query("bug", read=lambda: 1 / 0), Query("no", read=fail), Query("yes", read=str)])
        bug, no, yes = collect(feed, 3)
        assert bug.error is not None
        assert (bug.error.code, bug.error.message) == (
            "dashboard-failed",
            "ZeroDivisionError: division by zero",
        )
        assert no.error is not None
        assert (no.error.code, yes.document) == ("no", "")
