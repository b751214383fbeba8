# SPDX-License-Identifier: Apache-2.0
import itertools
import random
import threading
from collections import Counter
from dataclasses import dataclass

import pytest

from cco.gateway.balance import BINDING_S, MAX_BINDINGS, Bindings, ranked, score, session_key


@dataclass(frozen=True)
class Place:
    name: str
    weight: int = 1
    priority: int = 0


ABC = [Place("a"), Place("b"), Place("c")]


def spread(places: list[Place], sessions: int) -> Counter[str]:
    return Counter(ranked(f"session-{n}", places)[0].name for n in range(sessions))


def names(key: str, places: list[Place]) -> list[str]:
    return [place.name for place in ranked(key, places)]


@pytest.mark.parametrize(
    ("client_session", "session_id", "digest", "expected"),
    [
        ("client", "launch", "digest", "client"),
        ("", "launch", "digest", "launch"),
        ("", "", "digest", "digest"),
        # the same for everybody of whom nothing is known
        ("", "", "", session_key(client_session="", session_id="", digest="")),
    ],
)
def test_takes_the_most_particular_name_of_a_session(
    client_session: str, session_id: str, digest: str, expected: str
) -> None:
    key = session_key(client_session=client_session, session_id=session_id, digest=digest)
    assert key == expected != ""


def test_a_session_prefers_the_same_upstreams_wherever_and_whenever_it_is_asked() -> None:
    # Written down, so that it holds over restarts and releases too.
    assert names("session-1", ABC) == names("session-1", ABC[::-1]) == ["a", "c", "b"]
    assert names("session-4", ABC) == ["b", "c", "a"]


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 2, 3), (1, 10, 1), (1000, 1, 500)])
def test_sessions_are_spread_by_weight(weights: tuple[int, int, int]) -> None:
    places = [Place(name, weight) for name, weight in zip("abc", weights, strict=True)]
    sessions = 6000
    found = spread(places, sessions)
    for place in places:
        share = place.weight / sum(weights)
        # four standard deviations of a binomial distribution
        allowed = 4 * (sessions * share * (1 - share)) ** 0.5 + 1
        assert abs(found[place.name] - sessions * share) <= allowed


def test_lower_priority_goes_before_any_weight() -> None:
    places = [Place("spare", 1000, priority=1), Place("best"), Place("last", 1000, priority=2)]
    for number in range(200):
        assert names(str(number), places) == ["best", "spare", "last"]


def test_only_the_sessions_of_an_upstream_that_goes_are_moved() -> None:
    chance = random.Random(5)
    for _ in range(40):
        places = [Place(f"p{n}", chance.randint(1, 9)) for n in range(chance.randint(2, 6))]
        gone = chance.choice(places)
        left = [place for place in places if place is not gone]
        for key in map(str, range(60)):
            before = ranked(key, places)
            assert ranked(key, left) == [place for place in before if place is not gone]


def test_more_weight_moves_sessions_to_an_upstream_and_none_elsewhere() -> None:
    before, after = ABC, [Place("a", 3), *ABC[1:]]
    for key in map(str, range(500)):
        chosen = ranked(key, after)[0].name
        assert chosen in ("a", ranked(key, before)[0].name)


@pytest.mark.parametrize("key", ["", "\0", "é", "\udcff", "x" * 100_000])
def test_scores_are_positive_for_any_name_of_a_session(key: str) -> None:
    for name, weight in itertools.product(("a", "api.example.com"), (1, 1000)):
        assert 0 < score(key, name, weight) < float("inf")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_is_bound_until_another_upstream_is_confirmed() -> None:
    bindings = Bindings(Clock())
    assert bindings.find("s", "me") == ""
    bindings.confirm("s", "me", name="a")
    assert bindings.find("s", "me") == "a"
    bindings.confirm("s", "me", name="b")
    assert (bindings.find("s", "me"), len(bindings)) == ("b", 1)


def test_the_session_of_another_user_is_another_one() -> None:
    bindings = Bindings(Clock())
    bindings.confirm("s", "me", name="a")
    assert bindings.find("s", "you") == bindings.find("me", "s") == bindings.find("s", "") == ""


def test_a_binding_ends_with_the_last_prompt_cache() -> None:
    clock = Clock()
    bindings = Bindings(clock)
    for _ in range(5):
        bindings.confirm("s", "", name="a")
        clock.now += BINDING_S - 1
        assert bindings.find("s", "") == "a"
    clock.now += 1
    assert bindings.find("s", "") == ""


def test_the_least_recently_used_binding_makes_room() -> None:
    bindings = Bindings(Clock())
    for number in range(MAX_BINDINGS):
        bindings.confirm(str(number), "", name="a")
    assert bindings.find("0", "") == "a"
    bindings.confirm("one more", "", name="b")
    assert len(bindings) == MAX_BINDINGS
    assert (bindings.find("0", ""), bindings.find("1", "")) == ("a", "")


def test_bindings_are_everybodys() -> None:
    bindings = Bindings(Clock())

    def work(name: str) -> None:
        for number in range(300):
            bindings.confirm(f"{name}{number}", "", name=name)
            assert bindings.find(f"{name}{number}", "") == name

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bindings) == 1200
