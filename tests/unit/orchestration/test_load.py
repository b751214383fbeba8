# SPDX-License-Identifier: Apache-2.0
"""How busy an agent is."""

import pytest

from cco.orchestration.load import LONGEST_NS, Load


class Clock:
    now = 10**18

    def __call__(self) -> int:
        return self.now


def test_runs_count_from_their_beginning_to_their_end() -> None:
    load = Load(Clock())
    load.begin(("s", "1"), "Go Specialist")
    load.begin(("s", "2"), "Go Specialist")
    load.begin(("s", "3"), "QA Engineer")
    assert (load.of("Go Specialist"), load.of("QA Engineer"), load.of("Tech Lead")) == (2, 1, 0)

    load.end(("s", "1"))
    load.end(("s", "1"))  # Claude Code may say so twice
    assert load.of("Go Specialist") == 1


def test_run_announced_twice_is_one() -> None:
    load = Load(Clock())
    load.begin("a", "Go Specialist")
    load.begin("a", "Go Specialist")

    assert load.of("Go Specialist") == 1


def test_run_of_our_own_ends_with_its_failure_too() -> None:
    load = Load(Clock())

    def run() -> None:
        with load.running("Go Specialist"):
            assert load.of("Go Specialist") == 1
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert load.of("Go Specialist") == 0


def test_run_whose_session_was_killed_does_not_count_for_ever() -> None:
    clock = Clock()
    load = Load(clock)
    load.begin("killed", "Go Specialist")
    clock.now += LONGEST_NS
    assert load.of("Go Specialist") == 1
    clock.now += 1
    assert load.of("Go Specialist") == 0
