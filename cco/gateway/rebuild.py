# SPDX-License-Identifier: Apache-2.0
"""The JSON message that an event stream told, as its client would have put it together.

Pure. It is for the client that lost a stream at its end and asks again without one. A stream that
holds anything whose meaning is not known here gives no message: half of an answer would be worse
than paying for another.

::

    message_start        {"message": M}                     the message, without content yet
    content_block_start  {"index", "content_block": B}      M.content gets B
    content_block_delta  {"index", "delta": D}              B gets D, see `_DELTAS`
    content_block_stop   {"index"}
    message_delta        {"delta": {…}, "usage": {…}, …}    M gets what is told, M.usage too
    message_stop                                            nothing follows but pings

The other way round, a stream made of a message, there is none: its events would be invented.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from cco.gateway.sse import Decoder, Event
from cco.gateway.unpack import PackedError, unpacker

MAX_BYTES: Final = 2**25
"""A larger stream, unpacked, is left alone."""

_Json = dict[str, Any]

_TOOLS: Final = ("mcp_tool_use", "server_tool_use", "tool_use")
_KINDS: Final = frozenset(
    {"compaction", "container_upload", "redacted_thinking", "text", "thinking", *_TOOLS}
)
_WHOLE_SUFFIX: Final = "_tool_result"
"""Of the kinds of block that tell what a tool of the upstream's gave."""
_SETTLED: Final = frozenset({"content", "id", "model", "role", "type", "usage"})
"""Members of a message that ``message_delta`` does not set."""
_ALWAYS_TOLD: Final = frozenset({"stop_details", "stop_reason", "stop_sequence"})
"""Members that a null of ``message_delta`` sets; others it leaves as they are."""


class _UnclearError(Exception):
    """The stream holds something that is not known here."""


def rebuild_message(data: bytes, *, content_encoding: str = "") -> bytes | None:
    """Return the message that a whole event stream told; None if that is not sure.

    Args:
        data: the stream as the upstream sent it.
        content_encoding: of the stream; empty for none.
    """
    try:
        message = _Message()
        for event in _events(data, content_encoding):
            message.take(event)
        found = message.finish()
        return json.dumps(found, separators=(",", ":"), allow_nan=False).encode()
    except (_UnclearError, PackedError, ValueError, RecursionError):
        return None


def _events(data: bytes, content_encoding: str) -> list[Event]:
    unpack = unpacker(content_encoding)
    if unpack is None:
        raise _UnclearError
    decoder = Decoder(max_event_bytes=MAX_BYTES)
    events: list[Event] = []
    total = 0
    for plain in unpack(data):
        total += len(plain)
        if total > MAX_BYTES:
            raise _UnclearError
        events += decoder.feed(plain)
    return events


class _Message:
    """The message so far."""

    def __init__(self) -> None:
        self._message: _Json = {}
        """Empty before it began."""
        self._content: list[_Json] = []
        self._block: _Block | None = None
        """The one that is not stopped yet."""
        self._is_over = False

    def take(self, event: Event) -> None:
        if event.name == "ping":
            return
        told = _object(json.loads(event.data))
        kind = told.get("type", event.name)
        if self._is_over or bool(self._message) == (kind == "message_start"):
            raise _UnclearError
        if kind == "message_start":
            self._message = _member(told, "message")
            if self._message.get("content") != []:
                raise _UnclearError
        elif kind == "message_delta":
            self._finish_members(told)
        elif kind == "message_stop" and self._block is None:
            self._is_over = True
        else:
            self._take_block(kind, told)

    def finish(self) -> _Json:
        if not self._is_over:
            raise _UnclearError
        return {**self._message, "content": self._content}

    def _take_block(self, kind: object, told: _Json) -> None:
        """Read an event about a block; they come one after the other."""
        block = self._block
        if told.get("index") != len(self._content):
            raise _UnclearError
        if kind == "content_block_start" and block is None:
            self._block = _Block(_member(told, "content_block"))
        elif kind == "content_block_delta" and block is not None:
            block.add(_member(told, "delta"))
        elif kind == "content_block_stop" and block is not None:
            self._content.append(block.finish())
            self._block = None
        else:
            raise _UnclearError

    def _finish_members(self, told: _Json) -> None:
        delta = _member(told, "delta")
        beside = {k: v for k, v in told.items() if k not in ("type", "delta", "usage")}
        if _SETTLED & (delta.keys() | beside.keys()):
            raise _UnclearError
        usage = _member(self._message, "usage")
        _merge(usage, _object(told.get("usage", {})))
        _merge(self._message, delta, nulls=_ALWAYS_TOLD)
        _merge(self._message, beside)


class _Block:
    """A block of the content so far."""

    def __init__(self, block: _Json) -> None:
        self._block = block
        kind = _text(block, "type")
        if kind not in _KINDS and not kind.endswith(_WHOLE_SUFFIX):
            raise _UnclearError
        self._kind = kind
        self._text: list[str] = []
        """Pieces of its text, or of the JSON of its input."""

    def add(self, delta: _Json) -> None:
        take = _DELTAS.get((self._kind, _text(delta, "type")))
        if take is None:
            raise _UnclearError
        take(self._block, self._text, delta)

    def finish(self) -> _Json:
        block, text = self._block, "".join(self._text)
        if self._kind in ("text", "thinking"):
            block[self._kind] = _text(block, self._kind) + text
        elif text:
            block["input"] = _object(json.loads(text))
        return block


def _take_text(name: str) -> Callable[[_Json, list[str], _Json], None]:
    def take(block: _Json, text: list[str], delta: _Json) -> None:
        text.append(_text(delta, name))

    return take


def _take_citation(block: _Json, text: list[str], delta: _Json) -> None:
    citations = block.get("citations") or []
    if not isinstance(citations, list):
        raise _UnclearError
    citations.append(_member(delta, "citation"))
    block["citations"] = citations


def _take_signature(block: _Json, text: list[str], delta: _Json) -> None:
    block["signature"] = _text(delta, "signature")


def _take_compaction(block: _Json, text: list[str], delta: _Json) -> None:
    for name in ("content", "encrypted_content"):
        if name in delta:
            block[name] = delta[name]


_DELTAS: Final[Mapping[tuple[str, str], Callable[[_Json, list[str], _Json], None]]] = {
    ("text", "text_delta"): _take_text("text"),
    ("text", "citations_delta"): _take_citation,
    ("thinking", "thinking_delta"): _take_text("thinking"),
    ("thinking", "signature_delta"): _take_signature,
    ("compaction", "compaction_delta"): _take_compaction,
    **{(tool, "input_json_delta"): _take_text("partial_json") for tool in _TOOLS},
}
"""What a kind of delta does to a kind of block."""


def _merge(into: _Json, told: _Json, *, nulls: frozenset[str] = frozenset()) -> None:
    into.update({k: v for k, v in told.items() if v is not None or k in nulls})


def _member(told: _Json, name: str) -> _Json:
    return _object(told.get(name))


def _object(value: object) -> _Json:
    if not isinstance(value, dict):
        raise _UnclearError
    return value


def _text(told: _Json, name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str):
        raise _UnclearError
    return value
