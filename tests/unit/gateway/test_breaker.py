# SPDX-License-Identifier: Apache-2.0
import random

import pytest

from cco.gateway.breaker import (
    COOL_DOWN_S,
    FAILURES,
    MAX_COOL_DOWN_S,
    MAX_REST_S,
    Breaker,
    State,
)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.fail(now, "upstream-refused")
    return breaker


def test_begins_up() -> None:
    breaker = Breaker()
    assert (breaker.state(0), breaker.admits(0), breaker.opened_at) == (State.UP, True, None)
    assert breaker.begin(0) == 0


def test_opens_with_the_last_of_several_failures_in_a_row() -> None:
    breaker = Breaker()
    told = [breaker.fail(float(n), f"e{n}") for n in range(FAILURES)]
    assert told == [False] * (FAILURES - 1) + [True]
    assert breaker.state(FAILURES) == State.OPEN
    assert not breaker.admits(FAILURES)
    assert (breaker.failures, breaker.last_error) == (FAILURES, f"e{FAILURES - 1}")
    assert breaker.opened_at == FAILURES - 1


def test_a_success_between_failures_makes_them_begin_anew() -> None:
    breaker = Breaker()
    for _ in range(5):
        for _ in range(FAILURES - 1):
            breaker.fail(0, "e")
        assert not breaker.succeed()
    assert (breaker.state(0), breaker.failures, breaker.last_error) == (State.UP, 0, "e")


def test_lets_one_probe_through_when_the_cool_down_is_over() -> None:
    breaker = opened()
    assert breaker.state(COOL_DOWN_S - 0.001) == State.OPEN
    assert breaker.begin(COOL_DOWN_S - 0.001) == 0
    assert (breaker.state(COOL_DOWN_S), breaker.admits(COOL_DOWN_S)) == (State.HALF_OPEN, True)

    assert breaker.begin(COOL_DOWN_S) != 0
    assert not breaker.admits(COOL_DOWN_S)
    assert breaker.begin(COOL_DOWN_S + 1000) == 0
    assert breaker.state(COOL_DOWN_S + 1000) == State.HALF_OPEN


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened()
    breaker.begin(COOL_DOWN_S)
    assert breaker.succeed()
    assert (breaker.state(COOL_DOWN_S), breaker.failures, breaker.opened_at) == (State.UP, 0, None)
    assert not breaker.succeed()
    # and the next time is like the first
    assert [breaker.fail(50, "e") for _ in range(FAILURES)][-1]
    assert breaker.state(50 + COOL_DOWN_S) == State.HALF_OPEN


def test_every_probe_that_fails_doubles_the_cool_down_up_to_a_bound() -> None:
    breaker = opened()
    now, waits = 0.0, []
    cool_down_s = COOL_DOWN_S
    for _ in range(8):
        now += cool_down_s
        assert breaker.admits(now)
        assert breaker.begin(now)
        assert not breaker.fail(now, "e")  # it was out all the time
        cool_down_s = min(2 * cool_down_s, MAX_COOL_DOWN_S)
        waits.append(cool_down_s)
        assert breaker.state(now + cool_down_s - 0.001) == State.OPEN
    assert waits[-1] == MAX_COOL_DOWN_S
    assert breaker.opened_at == 0.0


def test_a_probe_that_tells_nothing_makes_room_for_another() -> None:
    breaker = opened()
    probe = breaker.begin(COOL_DOWN_S)
    breaker.abandon(probe)
    assert breaker.admits(COOL_DOWN_S)
    assert breaker.begin(COOL_DOWN_S)


def test_only_who_has_the_probe_can_give_it_up() -> None:
    breaker = opened()
    before = breaker.begin(COOL_DOWN_S)
    breaker.fail(COOL_DOWN_S, "e")  # of one that was under way
    due = COOL_DOWN_S + 2 * COOL_DOWN_S
    assert breaker.begin(due) not in (0, before)
    breaker.abandon(before)
    breaker.abandon(0)
    assert not breaker.admits(due)


def test_what_fails_while_it_is_open_changes_nothing() -> None:
    breaker = opened()
    assert not breaker.fail(COOL_DOWN_S - 1, "late")
    assert breaker.state(COOL_DOWN_S) == State.HALF_OPEN
    assert (breaker.failures, breaker.last_error) == (FAILURES + 1, "late")


def test_an_answer_that_was_under_way_closes_it() -> None:
    assert opened().succeed()


def test_rests_until_it_said() -> None:
    breaker = Breaker()
    assert breaker.rest(100, 20)
    assert (breaker.state(119), breaker.admits(119)) == (State.RESTING, True)
    assert not breaker.rest(110, 5)  # known, and no shorter for it
    assert breaker.state(119) == State.RESTING
    assert not breaker.rest(119, 10)
    assert (breaker.state(128), breaker.state(129)) == (State.RESTING, State.UP)
    assert breaker.rest(129, 1)


def test_an_answer_does_not_end_a_rest() -> None:
    breaker = Breaker()
    breaker.rest(0, 20)
    assert not breaker.succeed()
    assert breaker.state(10) == State.RESTING


@pytest.mark.parametrize(("asked", "rested"), [(0, 0), (7, 7), (1e9, MAX_REST_S)])
def test_a_rest_is_bounded(asked: float, rested: float) -> None:
    breaker = Breaker()
    assert breaker.rest(0, asked) == (rested > 0)
    assert not rested or breaker.state(rested - 0.5) == State.RESTING
    assert breaker.state(rested) == State.UP


def test_being_out_is_more_than_resting() -> None:
    breaker = Breaker()
    breaker.rest(0, 1000)
    for _ in range(FAILURES):
        breaker.fail(0, "e")
    assert (breaker.state(1), breaker.state(COOL_DOWN_S)) == (State.OPEN, State.HALF_OPEN)
    breaker.succeed()
    assert breaker.state(COOL_DOWN_S) == State.RESTING


def test_whatever_happens_there_is_one_probe_and_a_way_back() -> None:
    chance = random.Random(3)
    for _ in range(300):
        breaker = Breaker()
        now, out, probes = 0.0, False, set[int]()
        for _ in range(60):
            now += chance.choice([0.0, 1.0, COOL_DOWN_S, 50.0])
            state = breaker.state(now)
            match chance.choice(["begin", "begin", "fail", "succeed", "abandon", "rest"]):
                case "begin":
                    may = breaker.admits(now)
                    probe = breaker.begin(now)
                    assert bool(probe) == (state == State.HALF_OPEN and may)
                    if probe:
                        assert not probes, "a second probe"
                        probes.add(probe)
                case "fail":
                    goes_out = breaker.fail(now, "e")
                    assert not (goes_out and out)
                    out |= goes_out
                    if state == State.HALF_OPEN:
                        probes.clear()
                case "succeed":
                    assert breaker.succeed() == out
                    out = False
                    probes.clear()
                case "abandon" if probes:
                    breaker.abandon(probes.pop())
                case "rest":
                    breaker.rest(now, chance.choice([0, 5, 500]))
                case _:
                    continue  # nothing to be given up
            assert (breaker.opened_at is not None) == out
            assert (breaker.state(now) in (State.OPEN, State.HALF_OPEN)) == out
            assert breaker.admits(now) == (
                not out or (breaker.state(now) == State.HALF_OPEN and not probes)
            )
        assert not out or breaker.state(now + MAX_COOL_DOWN_S) == State.HALF_OPEN
