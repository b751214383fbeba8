# SPDX-License-Identifier: Apache-2.0
"""What goes wrong upstream looks through CCO as it does without."""

import json
import re
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from tests.daemon import CCO
from tests.forwarding import CHUNKED, SSE, STREAM
from tests.integration.claude import Done, Place, asking, placed
from tests.mounting import wait_until
from tests.rawserver import Received, chunk, reply, serving

pytestmark = [pytest.mark.timeout(300), pytest.mark.needs("claude", "fuse")]

CASES: Final = (
    "text 3000",
    "pings 20",
    "bash echo $((6 * 7)) apples",
    "agent general-purpose Look around",
    *(f"status {status}" for status in (400, 401, 403, 404, 413, 500)),
    "status 529",
    "status 529 times=1",
    "status 429 retry-after=1",
    "status 429 should-retry=false",
    "status 429 retry-after=1 should-retry=true times=1",
    "status 402",
    "status 500 should-retry=false",
    "html",
    "error overloaded_error",
    "cut message_start",
    "cut content",
    "cut length",
)
OF_ONE_RUN: Final = re.compile(
    r"127\.0\.0\.1:\d+|\ba[0-9a-f]{16}\b|(?<=tokens: )\d+|(?<=duration_ms: )\d+"
)
"""Address, id, and figures of an agent; what it is told at its start differs in length."""
ALLOWED: Final = ("--allowedTools", "Bash")
FEW_RETRIES: Final = {"CLAUDE_CODE_MAX_RETRIES": "1"}


@pytest.fixture
def place() -> Iterator[Place]:
    with placed() as made:
        yield made


def direct(place: Place, prompt: str) -> Done:
    """Run Claude Code without CCO, against the same upstream."""
    command = [*CCO, "run", "--direct", "--", *asking(prompt, *ALLOWED)]
    return place.execute(command, {**FEW_RETRIES, "ANTHROPIC_BASE_URL": place.upstream.url})


def seen(place: Place, done: Done) -> Mapping[str, Any]:
    """Return what the user sees of a run, and what the upstream sees."""
    told = done.told
    requests = [
        (
            "stream" if json.loads(one.body).get("stream") else "whole",
            one.header("x-stainless-retry-count"),
            one.header("x-claude-code-agent-id") is not None,
        )
        for one in list(place.upstream.requests)
        if one.header("x-claude-code-session-id") == told["session_id"]
    ]
    return {
        "exit status": done.status,
        "error": (told["is_error"], told["api_error_status"]),
        "text": OF_ONE_RUN.sub("…", done.result),
        "stderr": done.err.removeprefix("cco: launching Claude Code without CCO\n"),
        "requests": requests,
    }


def test_what_the_user_sees_is_the_same_as_without_cco(place: Place) -> None:
    prompts = [f"offline: {case}" for case in CASES]
    with ThreadPoolExecutor(4) as pool:
        through = [
            pool.submit(place.ask, prompt, *ALLOWED, environ=FEW_RETRIES) for prompt in prompts
        ]
        without = [pool.submit(direct, place, prompt) for prompt in prompts]

    for case, one, other in zip(CASES, through, without, strict=True):
        assert seen(place, one.result()) == seen(place, other.result()), case
    # The cases are what they are meant to be: some are got over, some are not.
    assert {one.result().status for one in through} == {0, 1}


def test_a_cut_behind_a_whole_paragraph_is_told_in_the_clients_own_words(place: Place) -> None:
    def script(_: Received, sock: socket.socket) -> bool:
        head = reply("200 OK", SSE, CHUNKED, length=False)
        sock.sendall(head + chunk(STREAM.partition(b"event: message_delta")[0]))
        return False

    with serving(script) as upstream:
        given = {**FEW_RETRIES, "ANTHROPIC_BASE_URL": upstream.url}
        through = place.ask("hello", environ=given)
        without = place.execute([*CCO, "run", "--direct", "--", *asking("hello")], given)

    assert seen(place, through) == seen(place, without)
    assert "Connection closed mid-response" in through.result
    assert [one.method for one in upstream.received].count("POST") == 2
    (row,) = place.rows()
    assert (row["status"], row["partial"]) == (200, 1)


def test_errors_of_our_own_are_shown_as_a_sentence(place: Place) -> None:
    environ = {"CLAUDE_CODE_MAX_RETRIES": "0", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    done = place.ask("hello", environ=environ)

    assert (done.status, done.told["api_error_status"]) == (1, 502)
    assert done.result.startswith("API Error: 502 CCO: ")
    assert "127.0.0.1:9" in done.result


def test_a_spent_budget_is_told_once_and_not_asked_again(place: Place) -> None:
    place.configure("[[budget]]\nusd = 0.001\n")
    assert place.run("daemon", "reload").returncode == 0
    wait_until(lambda: "cco_budget_limit" in metrics(place), "the budget holds")
    first = place.ask("hello")
    before = len(place.messages())
    stopped = place.ask("hello again")

    assert (first.status, first.told["total_cost_usd"] > 0.001) == (0, True)
    assert (stopped.status, stopped.told["api_error_status"], stopped.err) == (1, 402, "")
    assert stopped.result.startswith("API Error: 402 CCO: the day budget of $0.001 is spent: $0.")
    assert stopped.result.count("budget of") == 1
    (row,) = place.rows(f"client_session = '{stopped.told['session_id']}'")
    assert (row["status"], row["error"], row["attempts"]) == (402, "budget-spent", 0)
    assert len(place.messages()) == before


def metrics(place: Place) -> str:
    return place.client.request("GET", "/metrics").body.decode()
