# SPDX-License-Identifier: Apache-2.0
"""Directives: what each line asks for, and which lines are refused."""

from typing import Any

import pytest

from cco.errors import RequestError
from cco.offline.script import Call, Cut, Script, is_counted, parse_script


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("hello", {}),
        # Not at the beginning of a line, or quoted: no directive.
        ("please offline: html\n> offline: html", {}),
        ("offline: html", {"html": True}),
        ("  offline:html  ", {"html": True}),
        ("Do this:\noffline: stall\nThanks", {"stall": True}),
        ("offline: status 529", {"status": 529}),
        ("offline: status 429 retry-after=2", {"status": 429, "retry_after": 2}),
        ("offline: status 500 should-retry=false", {"status": 500, "should_retry": False}),
        ("offline: error overloaded_error", {"error": "overloaded_error"}),
        ("offline: silent 5", {"silent_s": 5.0}),
        ("offline: slow 0.2\noffline: pings 3", {"slow_s": 0.2, "pings": 3}),
        ("offline: cut message_start", {"cut": Cut.MESSAGE_START}),
        ("offline: cut content", {"cut": Cut.CONTENT}),
        ("offline: cut length", {"cut": Cut.LENGTH}),
        ("offline: text 5000", {"text_chars": 5000}),
    ],
)
def test_a_manner_is_read(prompt: str, expected: dict[str, Any]) -> None:
    assert Script(**expected) == parse_script(prompt)


def test_calls_are_kept_in_order() -> None:
    script = parse_script(
        "Two:\noffline: agent cco:a Design a login flow please\n"
        'offline: bash echo a >> b\noffline: tool Read {"file_path": "/x"}\noffline: tool Wait'
    )

    agent = {
        "description": "Design a login flow please",
        "prompt": "Design a login flow please",
        "subagent_type": "cco:a",
    }
    bash = {"command": "echo a >> b", "description": "A command of the offline upstream"}
    assert script.calls == (
        Call(("Agent", "Task"), agent),
        Call(("Bash",), bash),
        Call(("Read",), {"file_path": "/x"}),
        Call(("Wait",), {}),
    )


@pytest.mark.parametrize(
    ("line", "prompt"),
    [
        ("agent a Plan >> agent b Do", "Plan\noffline: agent b Do"),
        ("agent a Plan >> offline: agent b Do", "Plan\noffline: agent b Do"),
        ("agent a Plan >> agent b Do >> bash ls", "Plan\noffline: agent b Do >> bash ls"),
        ("agent a >> agent b", "Do your part\noffline: agent b"),
        ("agent a", "Do your part"),
    ],
)
def test_an_agent_is_given_a_directive_of_its_own(line: str, prompt: str) -> None:
    (call,) = parse_script(f"offline: {line}").calls

    assert prompt == call.input["prompt"]


def test_times_limits_a_manner_to_the_first_attempts() -> None:
    prompt = "offline: status 503 times=2\noffline: pings 0"

    assert is_counted(prompt)
    assert not is_counted("offline: status 503\nthree times=2")
    assert parse_script(prompt, attempt=2) == Script(status=503, pings=0)
    assert parse_script(prompt, attempt=3) == Script(pings=0)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "agent",
        "bash",
        "tool",
        "tool Read {",
        "tool Read []",
        "status",
        "status 200",
        "status 600",
        "status x",
        "status 429 retry-after=soon",
        "status 429 retry-after=2\tshould-retry=perhaps",
        "status 429 unknown=1",
        "status 429 times=x",
        "cut here",
        "cut",
        "silent -1",
        "silent nan",
        "slow inf",
        "pings -1",
        "text 0",
        "text 99999999999",
        "html now",
        "error a b",
        "error=x",
    ],
)
def test_what_is_not_understood_is_refused(line: str) -> None:
    with pytest.raises(RequestError, match="is not understood; known: agent, bash, cut"):
        parse_script(f"offline: {line}")
