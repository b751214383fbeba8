# SPDX-License-Identifier: Apache-2.0
"""What an answer of ``/v1/messages`` used, folded from a copy of its bytes as they pass.

Pure, and it never raises over what an upstream sent: what cannot be read is not `known`, and so
never counted as free. Two shapes are read, each possibly compressed::

    event stream   message_start {"message": {"model", "usage"}}, message_delta {"delta":
                   {"stop_reason"}, "usage"}, message_stop; error {"error": {"type"}}
    JSON           {"model", "stop_reason", "usage"}, or {"type": "error", "error": {"type"}}

A later count stands over an earlier one, as it does for the client. What is coded in a way that
`unpack` does not know passes unread.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from cco.gateway.requested import MAX_MODEL_LENGTH
from cco.gateway.sse import Decoder, Event
from cco.gateway.unpack import PackedError, unpacker
from cco.ledger.usage import Usage

MAX_JSON_BYTES: Final = 2**25
"""A larger JSON answer is not read; the upstream's own limit for a request is 32 MB."""

_EVENTS: Final = frozenset({"message_start", "message_delta", "message_stop", "error"})
_LABEL: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class UsageFold:
    """Takes the bytes of one answer and knows at any time what they said.

    Args:
        content_type: of the answer.
        content_encoding: of the answer; empty for none.
    """

    def __init__(self, content_type: str, content_encoding: str = "") -> None:
        self.model = ""
        """As the upstream named it."""
        self.stop_reason = ""
        self.error = ""
        """Type of the error that the answer told of; empty for none."""
        self.known = False
        """The usage was told: by an answer, not by an error."""
        self.complete = False
        """The answer said that it is whole."""
        self.usage = Usage()
        """What was used, as far as it was told."""
        self._unpack = unpacker(content_encoding)
        self.is_readable = self._unpack is not None
        """What there is of it could be read: its coding was undone."""
        self._events = Decoder() if is_event_stream(content_type) else None
        self._json: list[bytes] = []
        self._json_size = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._unpack is None:
            return
        try:
            for plain in self._unpack(data):
                self._take(plain)
        except PackedError:
            self._unpack = None
            self.is_readable = False

    def finish(self) -> None:
        """Take note that no more bytes will come; an event stream has told everything before."""
        pieces, self._json = self._json, []
        if pieces:
            self._read_answer(_parse(b"".join(pieces)))

    def _take(self, plain: bytes) -> None:
        if self._events is not None:
            for event in self._events.feed(plain):
                self._read_event(event)
            return
        self._json.append(plain)
        self._json_size += len(plain)
        if self._json_size > MAX_JSON_BYTES:
            self._json.clear()
            self._unpack = None

    def _read_event(self, event: Event) -> None:
        # Most events are pieces of text: their names tell that they need not be parsed.
        if event.name not in _EVENTS and (event.name != "message" or "message_" not in event.data):
            return
        told = _parse(event.data)
        kind = told.get("type", event.name)
        if kind == "message_start":
            self._read_message(_section(told, "message"))
        elif kind == "message_delta":
            self.stop_reason = _label(_section(told, "delta"), "stop_reason") or self.stop_reason
            if told.get("usage") is not None:
                self.usage = self.usage.merged(Usage.from_mapping(told["usage"]))
        elif kind == "message_stop":
            self.complete = True
        elif kind == "error":
            self.error = _label(_section(told, "error"), "type") or "error"

    def _read_answer(self, told: Mapping[str, Any]) -> None:
        self.complete = bool(told)
        if told.get("type") == "error":
            self.error = _label(_section(told, "error"), "type") or "error"
        else:
            self._read_message(told)

    def _read_message(self, message: Mapping[str, Any]) -> None:
        model = message.get("model")
        self.model = model[:MAX_MODEL_LENGTH] if isinstance(model, str) else ""
        self.stop_reason = _label(message, "stop_reason")
        if isinstance(message.get("usage"), dict):
            self.known = True
            self.usage = Usage.from_mapping(message["usage"])


def is_event_stream(content_type: str) -> bool:
    """Say whether a media type is that of server-sent events."""
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"


def _parse(text: str | bytes) -> Mapping[str, Any]:
    """Return a JSON object, empty for anything that is none."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _section(told: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = told.get(key)
    return value if isinstance(value, dict) else {}


def _label(told: Mapping[str, Any], key: str) -> str:
    value = told.get(key)
    return value if isinstance(value, str) and _LABEL.fullmatch(value) else ""
