# SPDX-License-Identifier: Apache-2.0
"""Replies as bytes and pauses: JSON documents, event streams, errors, and how they break.

Pure. A reply is a plan that `server` carries out: steps of bytes, each after its pause; the head
goes out with the first. A stream of events is drawn like this, ``slow`` seconds before each ``~``::

    message_start | ~ping … | content_block_start | ~content_block_delta … | content_block_stop
    … next block … | message_delta | message_stop
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cco.offline.answer import NOTICE, Answer
from cco.offline.count import Usage
from cco.offline.messages import Ask
from cco.offline.script import Cut, Script

FOREVER: Final = math.inf
"""A pause that ends with the connection."""

ERROR_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Error types of the Messages API; other statuses are "api_error" from 500 on."""

_RESET: Final = "4102444800"
"""1 January 2100: fixed, so that equal requests get equal headers."""

_LIMITS: Final = (
    ("anthropic-ratelimit-unified-status", "allowed"),
    ("anthropic-ratelimit-unified-reset", _RESET),
    ("anthropic-ratelimit-unified-representative-claim", "five_hour"),
    ("anthropic-ratelimit-unified-fallback-percentage", "0.5"),
    ("anthropic-ratelimit-unified-5h-status", "allowed"),
    ("anthropic-ratelimit-unified-5h-reset", _RESET),
    ("anthropic-ratelimit-unified-5h-utilization", "0.01"),
    ("anthropic-ratelimit-unified-7d-status", "allowed"),
    ("anthropic-ratelimit-unified-7d-reset", _RESET),
    ("anthropic-ratelimit-unified-7d-utilization", "0.01"),
)
_MIN_DELTA_CHARS: Final = 24
_MAX_DELTAS: Final = 200


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes of a body, and the pause before them."""

    data: bytes
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply to send."""

    status: int
    headers: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]
    length: int | None = None
    """Content-Length; None for a body that ends when it ends."""
    cut: bool = False
    """Close the connection after the steps, without a proper end."""
    usage: Usage = field(default_factory=Usage)
    """What the reply reports if it is read to the last byte that will come."""


@dataclass(frozen=True, slots=True)
class _Event:
    """A server-sent event; its name is repeated in its data as `type`."""

    name: str
    data: Mapping[str, Any]
    pause_s: float = 0.0

    def step(self) -> Step:
        text = json.dumps({"type": self.name, **self.data}, separators=(",", ":"))
        return Step(f"event: {self.name}\ndata: {text}\n\n".encode(), self.pause_s)


def document(status: int, value: object, *, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """Reply with a JSON document."""
    data = json.dumps(value, separators=(",", ":")).encode()
    return _whole(status, data, (("content-type", "application/json"), *headers))


def error(
    status: int, message: str, *, request_id: str, headers: tuple[tuple[str, str], ...] = ()
) -> Reply:
    """Reply with an error in the shape of the Messages API."""
    kind = ERROR_TYPES.get(status, "api_error" if status >= 500 else ERROR_TYPES[400])
    body = _error_body(kind, message, request_id)
    return document(status, body, headers=(("request-id", request_id), *headers))


def reply(ask: Ask, script: Script, answer: Answer, usage: Usage, *, request_id: str) -> Reply:
    """Plan the reply to a request.

    Args:
        ask: the request.
        script: how to reply.
        answer: its content.
        usage: what was counted of the request, without output.
        request_id: the `request-id` header; the message's id is made of it.
    """
    if script.status is not None:
        planned = _asked_status(script, script.status, request_id=request_id)
    elif script.html:
        page = f"<!doctype html><title>CCO offline</title><p>{NOTICE}\n".encode()
        planned = _whole(200, page, (("content-type", "text/html; charset=utf-8"),))
    else:
        start = usage + Usage(output=1)
        full = usage + Usage(output=answer.output_tokens, web_searches=answer.web_searches)
        envelope = _envelope(ask, start, request_id=request_id)
        if ask.stream:
            planned = _stream(_events(envelope, script, answer, full), script, start, full)
        else:
            envelope |= {"content": answer.blocks, "stop_reason": answer.stop_reason}
            planned = _single(envelope | {"usage": full.document()}, script, full)
        headers = (*planned.headers, ("request-id", request_id), *_LIMITS)
        planned = replace(planned, headers=headers)
    first, *rest = planned.steps
    silent = max(first.pause_s, script.silent_s)
    return replace(planned, steps=(replace(first, pause_s=silent), *rest))


def _whole(status: int, data: bytes, headers: tuple[tuple[str, str], ...]) -> Reply:
    return Reply(status, headers, (Step(data),), length=len(data))


def _asked_status(script: Script, status: int, *, request_id: str) -> Reply:
    headers = []
    if script.retry_after is not None:
        headers.append(("retry-after", str(script.retry_after)))
    if script.should_retry is not None:
        headers.append(("x-should-retry", str(script.should_retry).lower()))
    message = f"{NOTICE} Status {status}, as the prompt directs"
    return error(status, message, request_id=request_id, headers=tuple(headers))


def _single(message: dict[str, Any], script: Script, usage: Usage) -> Reply:
    """Plan an answer that is one document; only `stall` and `cut length` break it."""
    planned = replace(document(200, message), usage=usage)
    if script.stall:
        return replace(planned, steps=(Step(planned.steps[0].data, FOREVER),), usage=Usage())
    return _halved(planned, usage=Usage()) if script.cut is Cut.LENGTH else planned


def _stream(events: list[_Event], script: Script, start: Usage, full: Usage) -> Reply:
    """Plan an answer that is a stream of events, broken where the script says."""
    delta = next(n for n, event in enumerate(events, 1) if event.name == "content_block_delta")
    broken: list[Step] | None = None
    if script.stall:
        broken = [events[0].step(), Step(b"", FOREVER)]
    elif script.cut is Cut.MESSAGE_START:
        broken = [events[0].step()]
    elif script.cut is Cut.CONTENT:
        broken = [event.step() for event in events[:delta]]
    elif script.error:
        failure = _Event("error", _error_body(script.error, NOTICE, None))
        broken = [event.step() for event in (*events[:delta], failure)]
    steps = broken or [event.step() for event in events]
    planned = Reply(
        200,
        (("content-type", "text/event-stream; charset=utf-8"),),
        tuple(steps),
        cut=script.stall or script.cut is not None,
        usage=start if broken else full,
    )
    return _halved(planned, usage=start) if script.cut is Cut.LENGTH else planned


def _halved(planned: Reply, *, usage: Usage) -> Reply:
    """Declare the whole length of a reply and keep half of it."""
    data = b"".join(step.data for step in planned.steps)
    half = (Step(data[: len(data) // 2]),)
    return replace(planned, steps=half, length=len(data), cut=True, usage=usage)


def _events(envelope: dict[str, Any], script: Script, answer: Answer, usage: Usage) -> list[_Event]:
    events = [_Event("message_start", {"message": envelope})]
    events += [_Event("ping", {}, script.slow_s)] * script.pings
    for index, block in enumerate(answer.blocks):
        begun, deltas = _opened(block)
        place = {"index": index}
        events.append(_Event("content_block_start", place | {"content_block": begun}))
        for delta in deltas:
            events.append(_Event("content_block_delta", place | {"delta": delta}, script.slow_s))
        events.append(_Event("content_block_stop", place))
    ending = {"stop_reason": answer.stop_reason, "stop_sequence": None}
    counts = usage.document()
    for member in ("cache_creation", "service_tier"):
        del counts[member]
    events.append(_Event("message_delta", {"delta": ending, "usage": counts}))
    events.append(_Event("message_stop", {}))
    return events


def _opened(block: dict[str, Any]) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """Return a block as it begins, and the deltas that fill it."""
    if block["type"] == "text":
        pieces = _cut_up(block["text"])
        return block | {"text": ""}, ({"type": "text_delta", "text": p} for p in pieces)
    if "input" in block:
        pieces = _cut_up(json.dumps(block["input"]))
        return block | {"input": {}}, (
            {"type": "input_json_delta", "partial_json": p} for p in pieces
        )
    return block, iter(())


def _cut_up(text: str) -> Iterator[str]:
    """Cut a text into at most 200 pieces of 24 characters or more."""
    size = max(_MIN_DELTA_CHARS, -(-len(text) // _MAX_DELTAS))
    return (text[start : start + size] for start in range(0, len(text), size))


def _envelope(ask: Ask, usage: Usage, *, request_id: str) -> dict[str, Any]:
    return {
        "id": request_id.replace("req_", "msg_", 1),
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage.document(),
    }


def _error_body(kind: str, message: str, request_id: str | None) -> dict[str, Any]:
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return body if request_id is None else body | {"request_id": request_id}
