# SPDX-License-Identifier: Apache-2.0
"""What a Messages request asks: its parts, the user's own words, the results that came back.

Only here is the shape of a request known. Pure. Content of an unknown shape is passed over, never
an error: the client's requests are an open list.
"""

import enum
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from cco.errors import RequestError

QUOTE_CHARS: Final = 4000
"""So much of a tool's result is quoted in the answer."""
MAX_DEPTH: Final = 200
"""So deep may lists and objects of a body be nested: whoever walks them recurses, and how deep that
may go is another number in each version of Python.
"""

_REMINDER: Final = re.compile(r"<system-reminder>.*?(?:</system-reminder>|\Z)", re.DOTALL)


class Purpose(enum.StrEnum):
    """Why a client sends a request, as far as the answer differs."""

    SHORTEST = "shortest"
    STRUCTURE = "structure"
    SEARCH = "search"
    COMPACTION = "compaction"
    RESULTS = "results"
    PROMPT = "prompt"


@dataclass(frozen=True, slots=True)
class Result:
    """A tool's result, as the last user message brings it back."""

    tool: str
    """Name of the tool, and for an agent its type: "Agent cco:api-designer"."""
    text: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """A Messages request that can be answered."""

    body: dict[str, Any]
    model: str
    max_tokens: int
    stream: bool
    purpose: Purpose
    prompt: str
    """The user's own words: the last text block of the last user message, without reminders."""
    results: tuple[Result, ...]
    """Not empty exactly if the purpose is RESULTS."""
    schema: dict[str, Any]
    """JSON schema of the wanted answer; empty unless the purpose is STRUCTURE."""

    @property
    def tool_names(self) -> frozenset[str]:
        """Names of the tools that the request offers."""
        return frozenset(str(tool.get("name")) for tool in _dicts(self.body.get("tools")))


def parse_body(data: bytes) -> dict[str, Any]:
    """Read a body as a JSON object.

    Raises:
        RequestError: it is not UTF-8, not JSON, not an object or nested too deeply.
    """
    try:
        body = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as exc:
        raise RequestError("offline-json", f"The body is not JSON that can be read: {exc}") from exc
    if not isinstance(body, dict):
        raise RequestError("offline-json", "The body must be a JSON object")
    if _is_deep(body):
        raise RequestError("offline-json", f"The body is nested more than {MAX_DEPTH} levels deep")
    return body


def parse_request(data: bytes, *, counting: bool = False) -> Ask:
    """Read the body of a Messages request.

    Args:
        data: the body as it came.
        counting: it asks for a count only, so `max_tokens` is not wanted.

    Raises:
        RequestError: a member that the API requires is missing or of the wrong type.
    """
    body = parse_body(data)
    model, messages, max_tokens = (body.get(k) for k in ("model", "messages", "max_tokens"))
    if not isinstance(model, str) or not model:
        raise RequestError("offline-request", "model: Field required, a string")
    if not isinstance(messages, list) or not messages:
        raise RequestError("offline-request", "messages: Field required, a list with an entry")
    for name, given in (("messages", messages), ("system", body.get("system"))):
        if isinstance(given, list) and not all(isinstance(one, dict) for one in given):
            raise RequestError("offline-request", f"{name}: Each entry must be an object")
    if counting:
        max_tokens = 1
    elif not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or max_tokens < 1:
        raise RequestError("offline-request", "max_tokens: Field required, a whole number above 0")
    prompt, results = _last_turn(_dicts(messages))
    schema = _schema(body)
    return Ask(
        body=body,
        model=model,
        max_tokens=max_tokens,
        stream=body.get("stream") is True,
        purpose=_purpose(body, prompt, schema=schema, results=results),
        prompt=prompt,
        results=results,
        schema=schema or {},
    )


def _is_deep(body: dict[str, Any]) -> bool:
    """Say whether lists and objects are nested deeper than they may be."""
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        inner = [value.values() if isinstance(value, dict) else value for value in level]
        level = [value for value in chain.from_iterable(inner) if isinstance(value, dict | list)]
    return bool(level)


def _purpose(
    body: dict[str, Any],
    prompt: str,
    *,
    schema: dict[str, Any] | None,
    results: tuple[Result, ...],
) -> Purpose:
    tools = _dicts(body.get("tools"))
    if body.get("max_tokens") == 1:
        return Purpose.SHORTEST
    if schema is not None:
        return Purpose.STRUCTURE
    if len(tools) == 1 and str(tools[0].get("type")).startswith("web_search"):
        return Purpose.SEARCH
    if "<analysis>" in prompt and "<summary>" in prompt:
        return Purpose.COMPACTION
    return Purpose.RESULTS if results else Purpose.PROMPT


def _schema(body: dict[str, Any]) -> dict[str, Any] | None:
    config = body.get("output_config")
    wanted = config.get("format") if isinstance(config, dict) else None
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return None
    schema = wanted.get("schema")
    return schema if isinstance(schema, dict) else {}


def _last_turn(messages: list[dict[str, Any]]) -> tuple[str, tuple[Result, ...]]:
    """Return prompt and results of the last user message that holds either.

    The client puts its own reminders into user messages and entries of role "system" after them,
    and joins a prompt that failed with the next one: only the last text counts.
    """
    for message in reversed(messages):
        if message.get("role") == "user":
            blocks = _blocks(message)
            results = [b for b in blocks if b.get("type") == "tool_result"]
            own = [text for text in map(_own_text, blocks) if text]
            if own or results:
                calls = dict(_calls(messages)) if results else {}
                return own[-1] if own else "", tuple(_result(b, calls) for b in results)
    return "", ()


def _own_text(block: dict[str, Any]) -> str:
    """Return what the user wrote in a text block; empty for any other block."""
    text = block.get("text") if block.get("type") == "text" else None
    return _REMINDER.sub("", text).strip() if isinstance(text, str) else ""


def _result(block: dict[str, Any], calls: dict[str, str]) -> Result:
    text = "\n".join(str(inner["text"]) for inner in _blocks(block) if "text" in inner)
    return Result(
        tool=calls.get(str(block.get("tool_use_id")), "A tool"),
        text=text[:QUOTE_CHARS],
        failed=block.get("is_error") is True,
    )


def _calls(messages: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield (id, name and agent type) of every tool call in the conversation."""
    for message in messages:
        for block in _blocks(message):
            if block.get("type") == "tool_use":
                given = block.get("input")
                agent = given.get("subagent_type", "") if isinstance(given, dict) else ""
                yield str(block.get("id")), f"{block.get('name')} {agent}".strip()


def _blocks(holder: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the content blocks of a message or a tool result; a string is one text block."""
    content = holder.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else _dicts(content)


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
