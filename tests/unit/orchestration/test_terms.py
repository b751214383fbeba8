# SPDX-License-Identifier: Apache-2.0
"""Terms of a text, and which document they fit best."""

import pytest

from cco.orchestration.terms import Index, stem, terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the and of it", []),
        ("Slow queries", ["slow", "query"]),
        ("C++ and C#, not C", ["c++", "c#", "c"]),
        ("a three.js page", ["three.js", "js", "page"]),
        ("CI/CD", ["ci/cd", "ci", "cd"]),
        ("the customer\u2019s order", ["custom", "ord"]),
        ("don't", []),
        ("my Go service", ["golang", "service"]),
        ("Go on with it", []),
        ("i386 k8s 502", ["i386", "k8s", "502"]),
        ("x" * 41, []),
        ("", []),
        ("Test f\u00fcr \u00dcbung", ["test", "f\u00fcr", "\u00fcbung"]),  # no r is left of it
        ("\u65e5\u672c\u8a9e", ["\u65e5\u672c\u8a9e"]),
    ],
)
def test_terms_of_a_text(text: str, expected: list[str]) -> None:
    expected = [stem(term) for term in expected]

    assert [term for term, _ in terms(text)] == expected


def test_terms_remember_their_words() -> None:
    assert list(terms("Tests flaked")) == [("test", "Tests"), ("flak", "flaked")]


@pytest.mark.parametrize(
    "family",
    [
        ("test", "tests", "testing", "tested", "tester"),
        ("index", "indexes", "indexing"),
        ("migrate", "migrates", "migrating", "migration", "migrations"),
        ("query", "queries"),
        ("run", "runs", "running"),
        ("licence", "licences", "licenced"),
        ("crash", "crashes", "crashed"),
    ],
)
def test_forms_of_a_word_are_one_term(family: tuple[str, ...]) -> None:
    assert len({stem(word) for word in family}) == 1


@pytest.mark.parametrize("word", ["css", "ios", "redis", "k8s", "c++", "as"])
def test_names_stay_what_they_are(word: str) -> None:
    assert len(stem(word)) >= len(word) - 1


def scores(index: Index, asked: str) -> list[float]:
    ranked = index.rank(dict(terms(asked)))
    return [sum(found.values()) for found in ranked]


def test_document_with_the_rarer_word_is_ahead() -> None:
    documents = [{"text": "slow kafka"}, {"text": "slow redis"}, {"text": "slow tests"}]
    slow, redis, none = scores(Index(documents, weights={"text": 1.0}), "slow redis")

    assert redis > slow == none > 0


def test_field_counts_by_its_weight() -> None:
    documents = [{"a": "redis", "b": "kafka"}, {"a": "kafka", "b": "redis"}]
    first, second = scores(Index(documents, weights={"a": 3.0, "b": 1.0}), "redis")

    assert first > second > 0


def test_word_that_stands_there_often_does_not_outweigh_two() -> None:
    documents = [{"text": "redis " * 50}, {"text": "redis cache"}, {"text": "other"}]
    often, both, _ = scores(Index(documents, weights={"text": 1.0}), "redis cache")

    assert both > often


def test_nothing_shared_is_nothing() -> None:
    assert scores(Index([{"text": "redis"}], weights={"text": 1.0}), "kafka") == [0]
    assert Index([], weights={"text": 1.0}).rank(["redis"]) == []
