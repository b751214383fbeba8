# SPDX-License-Identifier: Apache-2.0
"""What is known of plans' limits: the last that was told, and nothing else."""

import itertools

import pytest

from cco.gateway.headers import Fields, index
from cco.gateway.limits import MAX_CREDENTIALS, MAX_VALUES, PlanLimits

TOLD: Fields = [
    ("Content-Type", "text/event-stream"),
    ("Anthropic-RateLimit-Unified-5h-Utilization", "0.42"),
    ("anthropic-ratelimit-unified-status", "allowed"),
]


def note(limits: PlanLimits, *told: tuple[str, str], key: str = "k", upstream: str = "up") -> None:
    limits.note([("X-Api-Key", key)], index(told), upstream=upstream)


def make() -> PlanLimits:
    clock = itertools.count(1_000_000_000, 1_000_000_000)
    return PlanLimits(lambda: next(clock))


def test_last_values_are_known_with_their_age() -> None:
    limits = make()
    note(limits, *TOLD)
    note(limits, ("anthropic-ratelimit-unified-5h-utilization", "0.43"), upstream="other")

    (told,) = limits.told()
    assert told.values == {"unified-5h-utilization": "0.43"}  # as one answer told it, not mixed
    assert (told.upstream, told.told_ns) == ("other", 2_000_000_000)
    assert told.age_s(5_500_000_000) == 3.5
    assert told.age_s(0) == 0.0  # a clock that was set back


def test_values_come_as_they_were_sent() -> None:
    limits = make()
    note(limits, *TOLD, ("anthropic-ratelimit-unified-status", "rejected"))

    (told,) = limits.told()
    assert told.values == {"unified-5h-utilization": "0.42", "unified-status": "rejected"}


def test_answer_that_tells_nothing_changes_nothing() -> None:
    limits = make()
    note(limits, ("content-type", "x"))
    assert limits.told() == []

    note(limits, *TOLD)
    note(limits, ("content-type", "x"))
    assert len(limits.told()) == 1


def test_each_credential_has_its_own() -> None:
    limits = make()
    note(limits, *TOLD, key="a")
    note(limits, *TOLD, key="b")
    limits.note([("x-api-key", "a")], index(TOLD), upstream="up", key="ours")

    credentials = [told.credential for told in limits.told()]
    assert len(set(credentials)) == 3
    assert all(len(name) == 12 for name in credentials)
    assert not {"a", "b", "ours"} & set(credentials)


def test_memory_is_bounded() -> None:
    limits = make()
    for number in range(MAX_CREDENTIALS + 5):
        note(limits, *TOLD, key=str(number))
    assert len(limits.told()) == MAX_CREDENTIALS
    kept = {told.credential for told in limits.told()}
    note(limits, *TOLD, key=str(MAX_CREDENTIALS + 4))  # the last one is among them
    assert {told.credential for told in limits.told()} == kept
    note(limits, *TOLD, key="0")  # the first one is not
    assert len({told.credential for told in limits.told()} - kept) == 1

    before = limits.told()
    note(limits, *((f"anthropic-ratelimit-{n}", "1") for n in range(MAX_VALUES + 1)), key="x")
    assert limits.told() == before


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        ([("X-Api-Key", "k")], None),
        ([], "k"),
        ([("x-api-key", "other"), ("authorization", "Bearer k")], "k"),  # ours stood in for them
    ],
)
def test_one_key_has_one_name_whoever_brought_it(asked: Fields, key: str | None) -> None:
    limits = make()
    note(limits, *TOLD, key="k")
    limits.note(asked, index(TOLD), upstream="up", key=key)
    assert len(limits.told()) == 1


def test_request_without_credential_has_no_name() -> None:
    limits = make()
    limits.note([("user-agent", "x")], index(TOLD), upstream="up")
    assert limits.told()[0].credential == ""
