# SPDX-License-Identifier: Apache-2.0
"""The request that asks an agent: stable parts first, bounded in size and money."""

import json
from typing import Any

import pytest

from cco.errors import RequestError
from cco.ledger.prices import Prices
from cco.ledger.usage import Usage
from cco.orchestration.prompt import (
    MAX_TASK_CHARS,
    TEXT_ONLY,
    Invocation,
    affordable_tokens,
    check,
    compose,
)
from tests.unit.catalog.samples import make_agent

AGENT = make_agent(body="You design. Grüße.\n")
MODEL = "claude-opus-4-8"
CACHED = {"cache_control": {"type": "ephemeral"}}
PRICES = Prices.load()


def asked(task: str = "Plan it: ü", **more: Any) -> Invocation:
    return Invocation(agent=AGENT, task=task, **more)


def body(invocation: Invocation, **more: Any) -> bytes:
    return compose(invocation, model=MODEL, max_tokens=7, **more)


def test_request_is_instructions_context_knowledge_and_task() -> None:
    data = body(asked(context="code\n"), remembered="We use SQLite")

    assert json.loads(data) == {
        "model": MODEL,
        "max_tokens": 7,
        "stream": True,
        "system": [{"type": "text", "text": f"You design. Grüße.\n{TEXT_ONLY}", **CACHED}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "<context>\ncode\n\n</context>", **CACHED},
                    {"type": "text", "text": "<knowledge>\nWe use SQLite\n</knowledge>"},
                    {"type": "text", "text": "Plan it: ü"},
                ],
            }
        ],
    }
    assert "Grüße".encode() in data  # letters as they are


def test_what_changes_stands_behind_what_does_not() -> None:
    # Otherwise the provider's prompt cache would be of no use.
    first = body(asked("first", context="x"), remembered="a")
    second = body(asked("second", context="x"), remembered="b")
    other = body(asked("second", context="y"))

    assert second.startswith(first[: first.index(b"<knowledge>")])
    assert other.startswith(first[: first.index(b'"messages"')])


@pytest.mark.parametrize("context", ["", "x"])
@pytest.mark.parametrize("remembered", ["", "x"])
def test_there_are_never_too_many_breakpoints(context: str, remembered: str) -> None:
    data = body(asked(context=context), remembered=remembered)
    assert data.count(b'"cache_control"') == 1 + bool(context) <= 4


def test_instructions_say_that_there_are_no_tools() -> None:
    assert "have no tools" in TEXT_ONLY


@pytest.mark.parametrize(
    ("task", "context", "code"),
    [
        ("x", "", ""),
        ("\t\x1b[1mlog\x1b[0m\n", "x", ""),
        ("", "x", "empty-task"),
        (" \n\t", "x", "empty-task"),
        ("x" * MAX_TASK_CHARS, "", ""),
        ("x" * (MAX_TASK_CHARS + 1), "", "task-too-large"),
        ("x", "y" * MAX_TASK_CHARS, "task-too-large"),
        ("a\0b", "", "binary-text"),
        ("x", "\x7fELF\0", "binary-text"),
    ],
)
def test_what_no_agent_can_work_on(task: str, context: str, code: str) -> None:
    if not code:
        check(task, context)
        return
    with pytest.raises(RequestError) as caught:
        check(task, context)
    assert caught.value.code == code
    assert caught.value.hint


def test_dearest_request_that_is_allowed_costs_no_more_than_the_limit() -> None:
    tokens = affordable_tokens(PRICES, MODEL, body_bytes=10_000, max_usd=0.1)

    assert tokens is not None
    dearest = PRICES.cost(MODEL, Usage(cache_write_5m=10_000, output=tokens))
    one_more = PRICES.cost(MODEL, Usage(cache_write_5m=10_000, output=tokens + 1))
    assert dearest is not None
    assert one_more is not None
    assert dearest <= 100_000_000 < one_more


@pytest.mark.parametrize("max_usd", [0.0, 0.01])
def test_question_that_is_too_dear_names_the_setting(max_usd: float) -> None:
    with pytest.raises(RequestError) as caught:
        affordable_tokens(PRICES, MODEL, body_bytes=10_000, max_usd=max_usd)

    assert caught.value.code == "invoke-too-dear"
    assert "[agents] invoke_max_usd" in caught.value.message
    assert "$0.062500" in caught.value.message


def test_of_a_model_without_a_price_nothing_can_be_said() -> None:
    assert affordable_tokens(PRICES, "nobody", body_bytes=10**9, max_usd=0.01) is None
