# SPDX-License-Identifier: Apache-2.0
import random
import string

import pytest

from cco.gateway.headers import (
    HOP_BY_HOP,
    Fields,
    client_headers,
    first,
    index,
    tokens,
    upstream_headers,
)

OPEN: Fields = [
    ("anthropic-version", "2023-06-01"),
    ("Anthropic-Beta", "a-2025-01-01,b-2025-02-02"),
    ("anthropic-beta", "c"),
    ("X-Stainless-Retry-Count", "0"),
    ("x-claude-code-session-id", "s"),
    ("Accept-Encoding", "gzip, br, zstd"),
    ("x-new-thing", ""),
    ("User-Agent", "claude-cli/2 (external, cli)"),
    ("x-api-key", "key"),
    ("Authorization", "Bearer token"),
    ("x-ccosmos", "not ours"),
]


def test_upstream_gets_everything_that_is_not_named_in_order_and_number() -> None:
    assert upstream_headers(OPEN) == OPEN


def test_client_gets_everything_that_is_not_named_in_order_and_number() -> None:
    assert client_headers(OPEN, index(OPEN), length=None) == OPEN


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_fields_cross_in_neither_direction(name: str) -> None:
    fields = [(name, "x"), (name.upper(), "y"), ("kept", "z")]
    assert upstream_headers(fields) == [("kept", "z")]
    assert client_headers(fields, index(fields), length=None) == [("kept", "z")]


@pytest.mark.parametrize("name", ["Host", "content-length", "Expect", "x-cco-session", "X-CCO-any"])
def test_upstream_does_not_get_what_is_ours_or_the_transports(name: str) -> None:
    assert upstream_headers([(name, "1"), ("kept", "z")]) == [("kept", "z")]


def test_fields_that_connection_names_are_dropped() -> None:
    fields = [
        ("Connection", "close, X-One"),
        ("connection", "x-two"),
        ("x-one", "1"),
        ("X-TWO", ""),
    ]
    assert upstream_headers(fields) == []
    assert client_headers(fields, index(fields), length=None) == []


def test_a_configured_credential_replaces_the_clients_own() -> None:
    sent = upstream_headers(OPEN, "configured")
    assert [value for name, value in sent if name.lower() in ("x-api-key", "authorization")] == [
        "configured"
    ]
    assert len(sent) == len(OPEN) - 1


@pytest.mark.parametrize(
    ("values", "length", "wanted"),
    [
        (["5"], 5, ["5"]),
        # repeated, or a list: one field goes on
        (["5", "5"], 5, ["5"]),
        (["5, 5"], 5, ["5"]),
        # the transport said that the length is not what ends the body
        (["5"], None, []),
    ],
)
def test_client_gets_one_content_length(
    values: list[str], length: int | None, wanted: list[str]
) -> None:
    fields = [("a", "1"), *(("Content-Length", value) for value in values), ("b", "2")]
    sent = client_headers(fields, index(fields), length=length)
    assert sent == [("a", "1"), *(("Content-Length", value) for value in wanted), ("b", "2")]


def test_client_does_not_get_an_upstreams_claim_to_be_us() -> None:
    fields = [("x-cco-cache", "hit"), ("X-Cco-Error", "e")]
    assert client_headers(fields, index(fields), length=None) == []


def test_first_and_tokens() -> None:
    named = index([("A", "1, Two"), ("a", "three,,"), ("b", "")])
    assert first(named, "a") == "1, Two"
    assert first(named, "c") == ""
    assert tokens(named, "a") == ["1", "two", "three"]
    assert tokens(named, "b") == tokens(named, "c") == []


def test_generated_sets_of_fields_cross_unchanged() -> None:
    chance = random.Random(3)
    characters = string.printable[:94] + "\xe9\xff"
    for _ in range(200):
        fields = [
            (
                chance.choice(["anthropic-", "x-stainless-", "x-", "X-Claude-Code-"])
                + "".join(chance.choices(string.ascii_letters + "-_", k=8)),
                "".join(chance.choices(characters, k=chance.randint(0, 30))),
            )
            for _ in range(chance.randint(0, 40))
        ]
        fields += chance.choices(fields, k=3) if fields else []
        assert upstream_headers(fields) == fields
        assert client_headers(fields, index(fields), length=None) == fields
