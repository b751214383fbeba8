# SPDX-License-Identifier: Apache-2.0
"""Spellings of model ids."""

import pytest

from cco.ledger.models import aliases, spellings, undated


@pytest.mark.parametrize(
    ("model", "plainest"),
    [
        ("claude-opus-4-8", "claude-opus-4-8"),
        ("claude-opus-4-8[1m]", "claude-opus-4-8"),
        ("claude-opus-4-8-20260101", "claude-opus-4-8"),
        ("claude-opus-4-8-latest", "claude-opus-4-8"),
        ("claude-opus-4-8@20260101", "claude-opus-4-8"),
        ("claude-opus-4-8@default", "claude-opus-4-8"),
        ("anthropic/claude-opus-4-8", "claude-opus-4-8"),
        ("a/b/claude-opus-4-8-20260101[1m]", "claude-opus-4-8"),
        ("anthropic.claude-opus-4-8-v1:0", "claude-opus-4-8"),
        ("eu.anthropic.claude-opus-4-8-20260101-v2", "claude-opus-4-8"),
        (" claude-opus-4-8 ", "claude-opus-4-8"),
        # neither a date nor a suffix of ours
        ("claude-opus-4-8-2026", "claude-opus-4-8-2026"),
        ("claude-opus-4-8-fast", "claude-opus-4-8-fast"),
        ("", ""),
    ],
)
def test_spellings_go_from_as_given_to_plainest(model: str, plainest: str) -> None:
    found = list(spellings(model))

    assert found[0] == model
    assert found[-1] == plainest


def test_date_of_vertex_is_tried_as_date() -> None:
    assert "claude-opus-4-20250514" in spellings("claude-opus-4@20250514")


def test_absurdly_long_id_has_no_spelling() -> None:
    assert list(spellings("claude-" + "x" * 200)) == []


def test_undated_keeps_what_has_no_date() -> None:
    assert undated("claude-fable-5-1") == "claude-fable-5-1"


def test_undated_form_means_the_latest_unless_it_is_listed() -> None:
    found = aliases(["a-20250101", "a-20260101", "b", "b-20250101"])

    assert found == {
        "a": "a-20260101",
        "a-20250101": "a-20250101",
        "a-20260101": "a-20260101",
        "b": "b",
        "b-20250101": "b-20250101",
    }
