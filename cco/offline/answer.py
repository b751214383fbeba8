# SPDX-License-Identifier: Apache-2.0
"""What the offline upstream says: fixed texts that say they are offline, and tool calls on request.

Only here is the wording. Pure: the same request and script give the same answer.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never

from cco.offline.count import BYTES_PER_TOKEN, output_tokens
from cco.offline.messages import Ask, Purpose, Result
from cco.offline.script import Call, Script

NOTICE: Final = "CCO offline upstream: no model was asked."
"""Every text begins with this, but for the few that have a form to keep."""

_FIXED: Final = f"{NOTICE} This fixed text stands in for an answer."
_COMPACTED: Final = f"{NOTICE} Nothing was summarised."
_FOUND: Final = {
    "type": "web_search_result",
    "title": "CCO offline upstream: nothing was searched",
    "url": "https://offline.invalid/",
    "encrypted_content": "",
    "page_age": None,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's content, as the Messages API spells it."""

    blocks: tuple[dict[str, Any], ...]
    stop_reason: str
    output_tokens: int
    web_searches: int = 0


def compose(ask: Ask, script: Script, *, mark: str) -> Answer:
    """Compose the answer to a request.

    Args:
        ask: the request.
        script: what the directives want; `calls` and `text_chars` count for a plain prompt only.
        mark: unique among the answers of all runs; ids of tool calls are made of it.
    """
    match ask.purpose:
        case Purpose.SHORTEST:
            return _text(ask, "offline")
        case Purpose.STRUCTURE:
            return _text(ask, json.dumps(_example(ask.schema)))
        case Purpose.SEARCH:
            return _search(ask, mark=mark)
        case Purpose.COMPACTION:
            parts = (f"<{tag}>\n{_COMPACTED}\n</{tag}>" for tag in ("analysis", "summary"))
            return _text(ask, "\n\n".join(parts))
        case Purpose.RESULTS:
            return _text(ask, "\n\n".join([NOTICE, *map(_quote, ask.results)]))
        case Purpose.PROMPT if script.calls:
            return _calls(ask, script.calls, mark=mark)
        case Purpose.PROMPT if script.text_chars is not None:
            return _text(ask, _filled(script.text_chars))
        case Purpose.PROMPT:
            return _text(ask, _FIXED)
        case _:
            assert_never(ask.purpose)


def _text(ask: Ask, text: str) -> Answer:
    """Answer with a text, cut where `max_tokens` ends; one token stands for "offline"."""
    data = text.encode("utf-8", "surrogatepass")
    room = max(ask.max_tokens * BYTES_PER_TOKEN, len(b"offline"))
    fits = len(data) <= room and ask.purpose is not Purpose.SHORTEST
    kept = text if len(data) <= room else data[:room].decode("utf-8", "ignore")
    return _answer(ask, [{"type": "text", "text": kept}], "end_turn" if fits else "max_tokens")


def _answer(ask: Ask, blocks: Sequence[dict[str, Any]], stop_reason: str) -> Answer:
    return Answer(
        blocks=tuple(blocks),
        stop_reason=stop_reason,
        output_tokens=output_tokens(blocks, limit=ask.max_tokens),
    )


def _filled(size_chars: int) -> str:
    """Return a text of so many characters, the notice first."""
    filler = " offline"
    return (NOTICE + filler * (size_chars // len(filler) + 1))[:size_chars]


def _quote(result: Result) -> str:
    """Quote a tool's result; no quoted line can be taken for a directive."""
    heading = f"{result.tool} {'failed' if result.failed else 'answered'}:"
    return "\n".join([heading, *(f"> {line}" for line in result.text.splitlines())])


def _calls(ask: Ask, calls: Iterable[Call], *, mark: str) -> Answer:
    """Call tools; a call that the request does not offer becomes a sentence instead."""
    texts = [NOTICE]
    blocks = []
    for number, call in enumerate(calls):
        name = next((name for name in call.names if name in ask.tool_names), None)
        if name is None:
            texts.append(f"This request offers no tool {call.names[0]}.")
        else:
            ident = f"toolu_offline_{mark}_{number}"
            blocks.append({"type": "tool_use", "id": ident, "name": name, "input": call.input})
    if not blocks:
        return _text(ask, " ".join(texts))
    return _answer(ask, [{"type": "text", "text": " ".join(texts)}, *blocks], "tool_use")


def _search(ask: Ask, *, mark: str) -> Answer:
    """Answer the client's web search with one fixed result."""
    ident = f"srvtoolu_offline_{mark}"
    query = ask.prompt.rpartition("query: ")[2]
    blocks: list[dict[str, Any]] = [
        {"type": "server_tool_use", "id": ident, "name": "web_search", "input": {"query": query}},
        {"type": "web_search_tool_result", "tool_use_id": ident, "content": [_FOUND]},
        {"type": "text", "text": f"{NOTICE} Nothing was searched."},
    ]
    return Answer(
        blocks=tuple(blocks),
        stop_reason="end_turn",
        output_tokens=output_tokens(blocks, limit=ask.max_tokens),
        web_searches=1,
    )


def _example(schema: object) -> object:
    """Return a value that fits a JSON schema of the usual kinds."""
    if not isinstance(schema, dict):
        return "CCO offline"
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    match schema.get("type"):
        case "array":
            return []
        case "boolean":
            return False
        case "integer" | "number":
            return 0
        case "null":
            return None
        case "string":
            return "CCO offline"
        case _:
            members = schema.get("properties")
            return {k: _example(v) for k, v in members.items()} if isinstance(members, dict) else {}
