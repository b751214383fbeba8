# SPDX-License-Identifier: Apache-2.0
"""Which agent a task is for, and why."""

import re
from collections.abc import Mapping

import pytest

from cco.catalog.catalog import Catalog
from cco.catalog.loader import BUILTIN, load
from cco.catalog.problem import Findings
from cco.catalog.rules import Rules, parse
from cco.errors import RequestError
from cco.orchestration.router import MAX_TASK, READ, RULE, Choice, Router
from tests.unit.catalog.samples import make_agent, make_catalog

AGENTS = (
    make_agent(
        name="Redis Specialist",
        capabilities=("redis", "caching"),
        description="Use for Redis: expiry; not for Kafka.",
    ),
    make_agent(
        name="Kafka Engineer",
        capabilities=("kafka", "streams"),
        description="Use for Kafka: consumers; not for Redis.",
    ),
    make_agent(
        name="Code Reviewer", capabilities=("diff",), description="Use to judge; not to write."
    ),
)
RULES = r"""
[taskRouting]
review = "Code Reviewer"
streams = ["Kafka Engineer", "Stores"]
[taskPatterns]
review = '\breview (this|my)\b'
streams = ['\brow of\b']
Stores = ['\bkeep it in memory\b']
[groups]
Stores = ["Redis Specialist", "Kafka Engineer"]
"""


def team(text: str = RULES) -> Catalog:
    findings = Findings("rules.toml")
    known = {agent.name.casefold(): agent.name for agent in AGENTS}
    rules = parse(text, findings, base=Rules(), agents=known)
    assert findings.problems == []
    return make_catalog(*AGENTS, rules=rules)


def router(busy: Mapping[str, int] | None = None, *, rules: str = RULES) -> Router:
    return Router(team(rules), lambda name: (busy or {}).get(name, 0))


def names(choices: tuple[Choice, ...]) -> list[str]:
    return [choice.agent.name for choice in choices]


@pytest.fixture(scope="module")
def whole() -> Router:
    return Router(load(BUILTIN, user=None), lambda _: 0)


def test_agent_that_shares_the_words_is_first() -> None:
    (best,) = router().route("The caching of our sessions has an expiry")

    assert best.agent.name == "Redis Specialist"
    assert 0 < best.score < RULE
    assert best.reason == "words: expiry, caching"


def test_what_an_agent_is_not_for_does_not_speak_for_it() -> None:
    assert names(router().route("kafka")) == ["Kafka Engineer"]


def test_rule_is_before_all_words() -> None:
    first, *others = router().route("Review my redis caching expiry kafka consumers")

    assert first.agent.name == "Code Reviewer"
    assert first.reason == "rule 'review': \"Review my\"; words: review"
    assert first.score >= RULE > max(choice.score for choice in others)


def test_first_choice_of_a_rule_is_first_unless_words_speak_for_another() -> None:
    assert names(router().route("a row of them"))[:2] == ["Kafka Engineer", "Redis Specialist"]
    told = router().route("a row of caching and expiry for redis")
    assert names(told)[0] == "Redis Specialist"


def test_group_is_ranked_by_words() -> None:
    assert names(router().route("keep it in memory, with an expiry"))[0] == "Redis Specialist"
    assert names(router().route("keep it in memory for the consumers"))[0] == "Kafka Engineer"


def test_users_rule_puts_their_agent_first() -> None:
    rules = RULES.replace("[groups]", "'Kafka Engineer' = 'frobnicate'\n[groups]")

    assert names(router(rules=rules).route("frobnicate redis caching"))[0] == "Kafka Engineer"


def test_least_busy_of_equals_is_first() -> None:
    rules = RULES.replace('["Kafka Engineer", "Stores"]', '"Stores"')
    asked = "a row of them"
    assert names(router(rules=rules).route(asked)) == ["Redis Specialist", "Kafka Engineer"]
    busy = {"Redis Specialist": 1}
    assert names(router(busy, rules=rules).route(asked)) == ["Kafka Engineer", "Redis Specialist"]


def test_busy_agent_that_fits_better_stays_first() -> None:
    busy = {"Redis Specialist": 9}

    assert names(router(busy).route("redis caching and kafka"))[0] == "Redis Specialist"


def test_no_more_are_told_than_asked_for(whole: Router) -> None:
    assert len(whole.route("a slow test of the API")) == 5
    assert len(whole.route("a slow test of the API", limit=2)) == 2


def test_task_that_nothing_fits_gets_nobody() -> None:
    assert router().route("zzz") == ()
    assert router().suggest("zzz yyy xxx www vvv uuu ttt") is None


@pytest.mark.parametrize(
    ("task", "code"),
    [
        ("", "empty-task"),
        (" \n\t", "empty-task"),
        ("x" * (MAX_TASK + 1), "task-too-large"),
        ("\x7fELF\x02\x01\x01\0", "task-binary"),
        ("a\0b", "task-binary"),
    ],
)
def test_what_is_no_task_is_refused(task: str, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        router().route(task)

    assert caught.value.code == code
    assert router().suggest(task) is None


def test_beginning_of_a_long_task_decides() -> None:
    assert names(router().route("kafka " + "x " * READ + "redis")) == ["Kafka Engineer"]


def test_reason_is_one_line() -> None:
    told = router().route("keep\n\n  it in\tmemory")[0]

    assert told.reason == "rule 'Stores': \"keep it in memory\""


@pytest.mark.parametrize(
    "prompt",
    [
        "thanks, that looks good to me now, go on",
        "yes",
        "continue",
        "run the tests",
        "review this pull request",
        "what does this function do and why is it so slow on PostgreSQL?",
        "How do I write a Dockerfile for this Django application?",
        "can you explain how the Kubernetes deployment of this service works",
        "rename foo to bar in utils.py and in the tests",
        "there is a typo in line 3 of config.py",
        "now do the same for the other three files",
        "use the other approach, with a queue, as you said before",
        "write a function that reverses a list in python",
        "fix the failing test in tests/test_api.py",
        "/compact keep the migration of the PostgreSQL tables",
        "!git rebase -i main && git push --force",
        "",
        "x" * (MAX_TASK + 1),
    ],
)
def test_questions_chat_and_short_orders_call_for_nobody(prompt: str, whole: Router) -> None:
    assert whole.suggest(prompt) is None


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        ("Please review my pull request before it goes to the main branch", "code-reviewer"),
        (
            "Our PostgreSQL queries got slow, autovacuum does not keep up and the tables bloat",
            "postgres-performance-engineer",
        ),
        ("Write the release notes for everything since v2.3", "release-notes-writer"),
    ],
)
def test_task_of_a_specialist_is_suggested(prompt: str, slug: str, whole: Router) -> None:
    choice = whole.suggest(prompt)

    assert choice is not None
    assert choice.agent.slug == slug


def test_patterns_of_the_package_are_few_and_quick(whole: Router) -> None:
    """A pattern that could take long on some text would hold up everybody's prompts."""
    patterns = load(BUILTIN, user=None).rules.task_patterns

    assert sum(map(len, patterns.values())) <= 80
    for told in patterns.values():
        for pattern in told:
            assert not re.search(r"[*+]\)[*+{]|\.[*+]", pattern.pattern), pattern.pattern
