# SPDX-License-Identifier: Apache-2.0
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from cco import config
from cco.gateway.breaker import COOL_DOWN_S, FAILURES
from cco.gateway.circuits import FAILURE_STATUSES, Circuits, Taken
from cco.gateway.upstream import Upstream, Upstreams

NOW_NS = 1_800_000_000_000_000_000
"""15 January 2027, 08:00:00 UTC."""


class Place:
    """Some upstreams and their circuits, with a clock that the test moves."""

    def __init__(self, *names: str, **settings: Any) -> None:
        self.now = 1000.0
        made = [config.Upstream(name=name, base_url=f"http://{name}", **settings) for name in names]
        self.upstreams = Upstreams(made, environ={}, monotonic=lambda: self.now)
        self.circuits = Circuits(
            self.upstreams.configured, monotonic=lambda: self.now, now_ns=lambda: NOW_NS
        )
        self.named = {upstream.name: upstream for upstream in self.upstreams.configured}

    def take(self, *names: str, **given: Any) -> str:
        """Return the name of what is chosen from `names`, empty for nothing."""
        taken = self.take_whole(*names, **given)
        return taken.upstream.name if taken else ""

    def take_whole(self, *names: str, **given: Any) -> Taken | None:
        return self.circuits.take([self.named[name] for name in names], **given)

    def fail(self, name: str, times: int = FAILURES) -> None:
        for _ in range(times):
            self.circuits.note_failure(self.named[name], "upstream-refused")

    def answer(self, name: str, status: int = 200, retry_after_s: float | None = None) -> None:
        self.circuits.note_answer(self.named[name], status, retry_after_s=retry_after_s)

    def state(self, name: str) -> Mapping[str, object]:
        (found,) = (state for state in self.circuits.states() if state["name"] == name)
        return found


def test_takes_the_first() -> None:
    place = Place("a", "b")
    assert (place.take("a", "b"), place.take("b", "a"), place.take()) == ("a", "b", "")


def test_who_is_bound_goes_before_all_others() -> None:
    place = Place("a", "b", "c")
    assert place.take("a", "b", "c", bound="c") == "c"
    assert place.take("a", "b", bound="c") == "a"


def test_passes_over_what_is_out(expect_log: Callable[[str], None]) -> None:
    expect_log("the upstream a is out: 3 failures in a row, the last was upstream-refused")
    place = Place("a", "b")
    place.fail("a")
    assert place.take("a", "b") == place.take("a", "b", bound="a") == "b"
    assert place.take("a") == ""


def test_takes_what_is_out_where_there_is_no_other(expect_log: Callable[[str], None]) -> None:
    expect_log("is out")
    place = Place("a", "b")
    place.fail("a")
    place.fail("b")
    taken = place.take_whole("a", "b", bound="b", even_out=True)
    assert taken == Taken(place.named["b"], probe=0, is_out=True)
    assert place.take("a", even_out=True) == "a"
    place.answer("a")
    assert place.take("b", "a", bound="b", even_out=True) == "a"


def test_one_request_finds_out_whether_it_is_back(expect_log: Callable[[str], None]) -> None:
    expect_log("is out")
    place = Place("a", "b")
    place.fail("a")
    place.now += COOL_DOWN_S
    probe = place.take_whole("a", "b")
    assert probe is not None
    assert probe.upstream.name == "a"
    assert probe.probe != 0
    assert not probe.is_out
    assert place.take("a", "b") == place.take("a", "b", bound="a") == "b"
    place.circuits.abandon(probe.upstream, probe.probe)
    assert place.take("a", "b") == "a"


def test_of_many_at_once_one_takes_the_probe(expect_log: Callable[[str], None]) -> None:
    expect_log("is out")
    place = Place("a", "b")
    place.fail("a")
    place.now += COOL_DOWN_S
    chosen: list[str] = []
    barrier = threading.Barrier(20)

    def ask() -> None:
        barrier.wait()
        chosen.append(place.take("a", "b"))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(chosen) == ["a"] + ["b"] * 19


def test_new_sessions_go_past_what_rests_and_bound_ones_do_not() -> None:
    place = Place("a", "b")
    place.answer("a", 429, 30)
    assert place.take("a", "b") == "b"
    assert place.take("a", "b", bound="a") == "a"
    assert place.take("a") == "a"  # better than none
    place.now += 30
    assert place.take("a", "b") == "a"


def test_a_limit_without_an_end_is_no_rest() -> None:
    place = Place("a", "b")
    place.answer("a", 429)
    assert place.take("a", "b") == "a"
    place.answer("a", 400, 30)
    assert place.take("a", "b") == "a"


@pytest.mark.parametrize("status", sorted(FAILURE_STATUSES))
def test_some_answers_speak_against_an_upstream(
    status: int, expect_log: Callable[[str], None]
) -> None:
    expect_log(f"the last was status-{status}")
    place = Place("a")
    for _ in range(FAILURES):
        place.answer("a", status, 1.0)
    assert (place.state("a")["state"], place.state("a")["lastError"]) == (
        "open",
        f"status-{status}",
    )


@pytest.mark.parametrize("status", [200, 304, 400, 401, 404, 413, 429, 500, 504])
def test_every_other_answer_is_a_sign_of_life(
    status: int, expect_log: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    expect_log("is out")
    caplog.set_level(logging.INFO)
    place = Place("a")
    place.fail("a")
    place.answer("a", status)
    assert (place.state("a")["state"], place.state("a")["consecutiveFailures"]) == ("up", 0)
    assert "the upstream a is back" in caplog.messages


def test_each_change_is_told_once(
    expect_log: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    expect_log("is out")
    caplog.set_level(logging.INFO)
    place = Place("a")
    place.fail("a", 10)
    place.now += COOL_DOWN_S
    place.take("a")
    place.fail("a", 10)
    place.answer("a")
    place.answer("a")
    place.answer("a", 429, 10)
    place.answer("a", 429, 20)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "the upstream a is out: 3 failures in a row, the last was upstream-refused"),
        ("INFO", "the upstream a is back"),
        ("INFO", "the upstream a takes no new sessions for a while"),
    ]


def test_states_are_in_the_order_of_the_settings(expect_log: Callable[[str], None]) -> None:
    expect_log("is out")
    place = Place("b", "a", family="f", weight=3, priority=2)
    place.fail("a", 5)
    place.now += 2.5
    place.answer("b", 429, 60)
    assert place.circuits.states() == [
        {
            "name": "b",
            "state": "resting",
            "family": "f",
            "priority": 2,
            "weight": 3,
            "consecutiveFailures": 0,
            "lastError": None,
        },
        {
            "name": "a",
            "state": "open",
            "family": "f",
            "priority": 2,
            "weight": 3,
            "consecutiveFailures": 5,
            "lastError": "upstream-refused",
            "openedAt": "2027-01-15T07:59:57.500Z",
        },
    ]
    place.now += COOL_DOWN_S
    assert place.state("a")["state"] == "half-open"


def test_an_upstream_without_its_key_is_neither_up_nor_out() -> None:
    assert Place("a", credential="missing").state("a")["state"] == "no-credential"


def test_does_not_judge_what_a_session_brought_along() -> None:
    place = Place("a")
    own = place.upstreams.choose("http://theirs.example")
    assert isinstance(own, Upstream)
    for _ in range(10):
        place.circuits.note_failure(own, "upstream-refused")
        place.circuits.note_answer(own, 503, retry_after_s=None)
    place.circuits.note_answer(own, 200, retry_after_s=None)
    place.circuits.abandon(own, 0)
    assert [state["name"] for state in place.circuits.states()] == ["a"]
