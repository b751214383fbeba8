# SPDX-License-Identifier: Apache-2.0
"""What of the real Claude Code's traffic is answered without asking again."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.integration.claude import Place, placed

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("claude", "fuse")]


@pytest.fixture
def place() -> Iterator[Place]:
    with placed() as made:
        yield made


def test_tokens_that_were_counted_are_not_counted_again(place: Place) -> None:
    # /context counts each agent by itself: more than a hundred requests at once.
    first = place.ask("/context")
    counted = [one.body for one in place.upstream.requests if "count_tokens" in one.target]
    assert len(counted) > 50
    assert max(Counter(counted).values()) == 1

    second = place.ask("/context")  # in a session of its own
    assert second.result == first.result
    again = [one.body for one in place.upstream.requests if "count_tokens" in one.target]
    assert again == counted
    rows = place.rows("path LIKE '%count_tokens'")
    assert sum(row["attempts"] for row in rows) == len(counted)
    assert sum(row["cache"] == "hit" for row in rows) >= len(counted)
    assert {(row["cost_nano"], row["saved_nano"]) for row in rows} == {(0, 0)}


def test_a_question_that_is_asked_again_is_answered_again(place: Place) -> None:
    place.ask("offline: text 100")
    place.ask("offline: text 100")
    assert len(place.messages()) == 2
    rows = place.rows("path = '/v1/messages'")
    assert {row["cache"] for row in rows} == {"miss"}
    assert {row["saved_nano"] for row in rows} == {0}
