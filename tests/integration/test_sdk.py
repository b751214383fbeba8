# SPDX-License-Identifier: Apache-2.0
"""The official Python SDK behind the gateway and without it: both sides see the same.

Each case is run twice against an upstream that is recorded: by the SDK directly, and through a
session of the daemon. What the caller gets (results, exceptions, headers) and what arrives upstream
(how often, with which headers and bytes, the SDK's own repetitions included) must be equal. Only
the ids that the upstream makes up differ, and a few header fields of one connection.
"""

import asyncio
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import anthropic
import pytest

from cco.gateway.headers import HOP_BY_HOP
from cco.offline.server import OfflineUpstream
from tests.daemon import KEY, MODEL, Daemon
from tests.mounting import DEADLINE_S

pytestmark = pytest.mark.timeout(300)

Client = anthropic.Anthropic
Case = Callable[[Client], Any]
Fields = Iterable[tuple[str, str]]

STATUSES: Final = (400, 401, 403, 404, 413, 429, 500, 529)
RETRIED: Final = frozenset({429, 500, 529})
MAX_RETRIES: Final = 2
OF_ONE_CONNECTION: Final = HOP_BY_HOP | {"host", "content-length", "date"}
MADE_UP: Final = re.compile(r"_offline_[0-9a-f]{8}_")
"""In every id that the offline upstream makes."""

TOOL: Final = {
    "name": "weather",
    "description": "Tells the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def asked(prompt: str, **more: Any) -> dict[str, Any]:
    return {
        "model": MODEL,
        "max_tokens": 500,
        "messages": [{"role": "user", "content": prompt}],
        **more,
    }


def create(prompt: str, **more: Any) -> Case:
    """Ask for a message in one piece; look at its header fields too."""

    def case(client: Client) -> Any:
        told = client.messages.with_raw_response.create(**asked(prompt, **more))
        body = told.parse()  # a text where it is no JSON
        seen = body.to_dict() if isinstance(body, anthropic.BaseModel) else body
        return shown(told.headers.multi_items()), seen

    return case


def stream(prompt: str, **more: Any) -> Case:
    """Ask for a stream, and look at each event and at what the SDK makes of them all."""

    def case(client: Client) -> Any:
        events = []
        with client.messages.stream(**asked(prompt, **more)) as told:
            try:
                events += [event.to_dict() for event in told]
            except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
                return shown(told.response.headers.multi_items()), events, failure(error)
            return (
                shown(told.response.headers.multi_items()),
                events,
                told.get_final_message().to_dict(),
            )

    return case


def use_a_tool(client: Client) -> Any:
    """Call a tool and bring its result back."""
    given = asked('offline: tool weather {"city": "Ulm"}', tools=[TOOL])
    called = client.messages.create(**given)
    (use,) = [block for block in called.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "Rain"}
    given["messages"] += [
        {"role": "assistant", "content": [block.to_dict() for block in called.content]},
        {"role": "user", "content": [result]},
    ]
    with client.messages.stream(**given) as told:
        return called.to_dict(), told.get_final_message().to_dict()


def count_tokens(client: Client) -> Any:
    return client.messages.count_tokens(
        model=MODEL, messages=[{"role": "user", "content": "How many? " * 50}]
    ).to_dict()


def ask_without_waiting(client: Client) -> Any:
    async def ask() -> Any:
        async with anthropic.AsyncAnthropic(
            api_key=KEY, base_url=str(client.base_url), max_retries=MAX_RETRIES
        ) as own:
            told = await own.messages.create(**asked("hello"))
            async with own.messages.stream(**asked("offline: pings 3")) as events:
                return told.to_dict(), [event.to_dict() async for event in events]

    return asyncio.run(ask())


CASES: Final[Mapping[str, Case]] = {
    "a message": create("hello"),
    "a message with betas": create(
        "hello", extra_headers={"anthropic-beta": "one-2026-01-01,two-2026-01-01", "x-new": "caf"}
    ),
    "unknown members": create("hello", extra_body={"future": {"n": 1.0}}),
    "a stream": stream("hello"),
    "a long stream with pings": stream("offline: pings 40\noffline: text 1500"),
    "a stream as bytes": lambda client: b"".join(
        client.messages.with_raw_response.create(
            **asked("hello"), stream=True
        ).http_response.iter_raw()
    ).decode(),
    "tools": use_a_tool,
    "a count": count_tokens,
    "models": lambda client: client.models.list(limit=2).to_dict(),
    "another path": lambda client: client.get("/v1/nothing/here", cast_to=object),
    "the asynchronous client": ask_without_waiting,
    **{f"{status}, in one piece": create(f"offline: status {status}") for status in STATUSES},
    **{f"{status}, streamed": stream(f"offline: status {status}") for status in STATUSES},
    "busy at first": create("offline: status 529 times=1"),
    "busy at first, streamed": stream("offline: status 529 times=2"),
    "says when": create("offline: status 429 retry-after=1 times=1"),
    "must not be asked again": create("offline: status 500 should-retry=false"),
    "may be asked again": create("offline: status 400 should-retry=true"),
    "html": create("offline: html"),
    "html, streamed": stream("offline: html"),
    "an error in the stream": stream("offline: error overloaded_error"),
    "cut at the beginning": stream("offline: cut message_start"),
    "cut in the middle": stream("offline: cut content"),
    "cut before its length": create("offline: cut length times=1"),
    "cut before its length again and again": create("offline: cut length"),
}


def run(case: Case, base_url: str) -> Any:
    """Return what a caller of the SDK sees, as plain values."""
    with Client(
        api_key=KEY, base_url=base_url, max_retries=MAX_RETRIES, timeout=DEADLINE_S
    ) as client:
        try:
            return plain(case(client))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
            return plain(failure(error))


def failure(error: Exception) -> Any:
    seen: list[Any] = [type(error).__name__, str(error), type(error.__cause__).__name__]
    if isinstance(error, anthropic.APIStatusError):
        headers = shown(error.response.headers.multi_items())
        seen += [error.status_code, error.body, error.request_id, headers]
    return seen


def shown(fields: Fields) -> list[tuple[str, str]]:
    """Return the header fields of an answer but for those of one connection, and for ours."""
    named = [(name.lower(), value) for name, value in fields]
    return [
        field
        for field in named
        if field[0] not in OF_ONE_CONNECTION and not field[0].startswith("x-cco-")
    ]


def plain(value: Any) -> Any:
    return json.loads(MADE_UP.sub("_", json.dumps(value, default=str)))


def arrived(upstream: OfflineUpstream) -> list[Any]:
    """Return the requests as they arrived."""
    return [
        (one.method, one.target, shown(one.headers), MADE_UP.sub("_", one.body.decode()))
        for one in upstream.requests
    ]


def both(served: Daemon, case: Case) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return what is seen on both sides: directly, and through a session of the daemon's."""
    with OfflineUpstream() as upstream:
        direct = run(case, upstream.url), arrived(upstream)
    with OfflineUpstream() as upstream:
        session = served.launch(upstream=upstream.url)
        url = f"http://127.0.0.1:{served.port}/s/{session.id}"
        through = run(case, url), arrived(upstream)
    return direct, through


def test_the_sdk_sees_and_sends_the_same_as_without_cco(served: Daemon) -> None:
    with ThreadPoolExecutor(12) as pool:
        found = dict(
            zip(CASES, pool.map(lambda case: both(served, case), CASES.values()), strict=True)
        )

    for direct, through in found.values():
        sys.stdout.write(f"{direct}\n{through}\n\n"[:20_000])  # shown where they differ
    assert [name for name, (direct, through) in found.items() if direct != through] == []
    # The cases are what they are meant to be.
    for status in STATUSES:
        for form in ("in one piece", "streamed"):
            (seen, requests), _ = found[f"{status}, {form}"]
            assert seen[3] == status
            assert len(requests) == (1 + MAX_RETRIES if status in RETRIED else 1)
    assert len(found["tools"][0][1]) == 2
    assert len(found["says when"][0][1]) == 2
