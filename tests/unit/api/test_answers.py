# SPDX-License-Identifier: Apache-2.0
"""Chosen members, and answers that cost nothing where nothing is new."""

import json
from typing import Any

import pytest
from flask import Flask

from cco.api.answers import tagged, wanted_members
from cco.errors import RequestError

KNOWN = ("cost", "tokens", "byModel")


def chosen(query: str) -> list[str]:
    with Flask("test").test_request_context(f"/{query}"):
        return list(wanted_members(KNOWN))


@pytest.mark.parametrize(
    ("query", "members"),
    [
        ("", list(KNOWN)),
        ("?fields=cost", ["cost"]),
        ("?fields=tokens,cost", ["tokens", "cost"]),
        ("?fields=%20cost%20,,", ["cost"]),
        ("?fields=", []),
        ("?fields=cost&fields=tokens", ["cost"]),
    ],
)
def test_members_are_chosen(query: str, members: list[str]) -> None:
    assert chosen(query) == members


@pytest.mark.parametrize("query", ["?fields=costs", "?fields=cost,x", "?fields=Cost"])
def test_unknown_member_is_refused_with_those_that_are_known(query: str) -> None:
    with pytest.raises(RequestError) as caught:
        chosen(query)

    assert caught.value.code == "unknown-field"
    assert caught.value.hint == "Known: byModel, cost, tokens"


def answer(document: dict[str, Any], **headers: str) -> tuple[int, bytes, str]:
    with Flask("test").test_request_context("/", headers=headers):
        response = tagged(document)
        return response.status_code, response.get_data(), response.headers["ETag"]


def test_answer_has_a_tag_of_its_content() -> None:
    status, data, tag = answer({"a": "ü", "b": 0.1})

    assert status == 200
    assert json.loads(data) == {"a": "ü", "b": 0.1}
    assert tag == answer({"a": "ü", "b": 0.1})[2]
    assert tag != answer({"a": "ü", "b": 0.2})[2]


def test_client_that_has_the_answer_gets_none() -> None:
    _, _, tag = answer({"a": 1})

    assert answer({"a": 1}, **{"If-None-Match": tag})[0] == 304
    assert answer({"a": 1}, **{"If-None-Match": f'"x", {tag}'})[0] == 304
    assert answer({"a": 2}, **{"If-None-Match": tag})[0] == 200
    assert answer({"a": 1}, **{"If-None-Match": "garbage"})[0] == 200
