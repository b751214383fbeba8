# SPDX-License-Identifier: Apache-2.0
"""The stated rule by which the offline upstream counts tokens.

A request is a row of *pieces* in the order in which a provider caches them: every tool, every
block of ``system``, every content block of every message (a string is one text block). The size
of a piece is the UTF-8 length of its compact JSON with sorted keys and without ``cache_control``::

    tokens up to a boundary between pieces = ceil(bytes up to there / 4)

    pieces   t1 t2 | s1 s2* | m1 m2* m3                 * carries cache_control
             └─ cache read ─┘└ write ┘└ input ┘

* *cache read*: up to the longest boundary, at or before the last mark, that this run has already
  written for this model. Prefixes are compared by SHA-256.
* *cache write*: from there to the last mark; up to the last mark with ``"ttl": "1h"`` as a write
  of one hour, the rest as a write of five minutes. Every mark is then remembered until the server
  ends: nothing expires, and there is no smallest size.
* *input*: what follows the last mark.
* *output*: ceil(bytes / 4) of the answer (the text; for other blocks their compact JSON), at least
  1 and at most ``max_tokens``.

The parts are differences of the same running count, so they always add up to the whole.
`PrefixMemory` may be used from any thread; everything else here is pure.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

BYTES_PER_TOKEN: Final = 4
"""One token for each four bytes, begun ones included."""

Block = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer, or of several added up."""

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    web_searches: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        """Add part by part."""
        return Usage(
            input=self.input + other.input,
            cache_read=self.cache_read + other.cache_read,
            cache_write_5m=self.cache_write_5m + other.cache_write_5m,
            cache_write_1h=self.cache_write_1h + other.cache_write_1h,
            output=self.output + other.output,
            web_searches=self.web_searches + other.web_searches,
        )

    def document(self) -> dict[str, Any]:
        """Return the `usage` member as the Messages API spells it."""
        searches = {"server_tool_use": {"web_search_requests": self.web_searches}}
        return {
            "input_tokens": self.input,
            "cache_creation_input_tokens": self.cache_write_5m + self.cache_write_1h,
            "cache_read_input_tokens": self.cache_read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.cache_write_5m,
                "ephemeral_1h_input_tokens": self.cache_write_1h,
            },
            "output_tokens": self.output,
            "service_tier": "standard",
        } | (searches if self.web_searches else {})


def compact(value: object) -> bytes:
    """Return the compact JSON of a value, with sorted keys, as UTF-8."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode("utf-8", "surrogatepass")


def tokens(size_bytes: int) -> int:
    """Return the tokens of so many bytes."""
    return -(-size_bytes // BYTES_PER_TOKEN)


def output_tokens(blocks: Sequence[Block], *, limit: int) -> int:
    """Return the tokens of an answer's blocks, from 1 to `limit`."""
    size = sum(
        len(block["text"].encode("utf-8", "surrogatepass"))
        if block["type"] == "text"
        else len(compact(block))
        for block in blocks
    )
    return max(1, min(limit, tokens(size)))


def total_tokens(request: Block) -> int:
    """Return the tokens of tools, system and messages, whatever is cached."""
    return tokens(sum(len(data) for _, data, _ in _pieces(request)))


class PrefixMemory:
    """The prefixes that one run of the server has seen marked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._written: set[bytes] = set()

    def count(self, request: Block) -> Usage:
        """Count a request's input and remember its marked prefixes.

        Args:
            request: body of a Messages request; `model` separates the caches.

        Returns:
            The usage without output.
        """
        running = hashlib.sha256(compact(request.get("model")))
        size = last = last_1h = 0
        boundaries: list[tuple[int, bytes]] = []
        marked: list[bytes] = []
        for place, data, ttl in _pieces(request):
            running.update(b"\0%s\0%d\0%s" % (place, len(data), data))
            size += len(data)
            boundaries.append((size, running.digest()))
            if ttl is not None:
                marked.append(boundaries[-1][1])
                last = size
                last_1h = size if ttl == "1h" else last_1h
        with self._lock:
            known = (end for end, digest in boundaries if end <= last and digest in self._written)
            read = max(known, default=0)
            self._written.update(marked)
        hour = max(read, last_1h)
        return Usage(
            cache_read=tokens(read),
            cache_write_1h=tokens(hour) - tokens(read),
            cache_write_5m=tokens(last) - tokens(hour),
            input=tokens(size) - tokens(last),
        )


def _pieces(request: Block) -> Iterator[tuple[bytes, bytes, str | None]]:
    """Yield (place, compact JSON, ttl of the mark or None) of every piece, in order."""
    for place, block in _blocks(request):
        yield place, compact(_without_marks(block)), _mark(block)


def _blocks(request: Block) -> Iterator[tuple[bytes, object]]:
    for tool in _listed(request.get("tools")):
        yield b"tools", tool
    for block in _listed(request.get("system")):
        yield b"system", block
    for message in _listed(request.get("messages")):
        content = message.get("content") if isinstance(message, dict) else message
        role = message.get("role") if isinstance(message, dict) else None
        for block in _listed(content):
            yield compact(role), block


def _listed(value: object) -> list[object]:
    """Return a list as it is, a string as one text block, nothing as an empty list."""
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    return [] if value is None else [value]


def _without_marks(value: object) -> object:
    if isinstance(value, dict):
        return {k: _without_marks(v) for k, v in value.items() if k != "cache_control"}
    if isinstance(value, list):
        return [_without_marks(item) for item in value]
    return value


def _mark(block: object) -> str | None:
    """Return the ttl of a block's mark, or of the last one inside its content."""
    if not isinstance(block, dict):
        return None
    control = block.get("cache_control")
    if isinstance(control, dict):
        return "1h" if control.get("ttl") == "1h" else "5m"
    content = block.get("content")
    inner = [_mark(item) for item in content] if isinstance(content, list) else []
    return next((ttl for ttl in reversed(inner) if ttl is not None), None)
