# SPDX-License-Identifier: Apache-2.0
"""What the provider answered an agent's request, read as it arrives; pure.

An event stream is asked for; a provider that answers with one JSON message is understood too.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from cco.errors import (
    BudgetExceeded,
    CcoError,
    Denied,
    Unavailable,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from cco.gateway.fold import UsageFold, is_event_stream
from cco.gateway.sse import Decoder
from cco.ledger.usage import Usage

LATER: Final = "Ask again in a while"
"""What to do about a provider that is busy or broken."""


class Reply:
    """An answer with status 200.

    Args:
        content_type: of the answer.
    """

    def __init__(self, content_type: str) -> None:
        self._fold = UsageFold(content_type)
        self._events = Decoder() if is_event_stream(content_type) else None
        self._pieces: list[str] = []
        self._json: list[bytes] = []

    @property
    def text(self) -> str:
        """All of it so far."""
        return "".join(self._pieces)

    @property
    def model(self) -> str:
        """As the provider named it; empty if it did not."""
        return self._fold.model

    @property
    def stop_reason(self) -> str | None:
        """Why it ended."""
        return self._fold.stop_reason or None

    @property
    def usage(self) -> Usage:
        """What it used."""
        return self._fold.usage

    def feed(self, data: bytes) -> str:
        """Take the next bytes; return the text in them.

        Raises:
            UpstreamError: they tell of an error.
        """
        self._fold.feed(data)
        if self._events is None:
            self._json.append(data)
            return ""
        found = ""
        for event in self._events.feed(data):
            if event.name == "error":
                raise _told_error(_object(event.data))
            if event.name in ("content_block_start", "content_block_delta"):
                found += _text_of(_object(event.data))
        if found:
            self._pieces.append(found)
        return found

    def finish(self) -> str:
        """Take note that no more will come; return text that was not told before.

        Raises:
            UpstreamError: it is not whole, or is no answer.
        """
        if self._events is not None:
            if not self._fold.complete:
                raise cut_off()
            return ""
        self._fold.finish()
        told = _object(b"".join(self._json))
        if not told or told.get("type") == "error":
            raise refusal(200, b"".join(self._json))
        blocks = told.get("content")
        for block in blocks if isinstance(blocks, list) else []:
            self._pieces.append(_text_in(block))
        return self.text


def cut_off() -> UpstreamError:
    """Return the error for an answer that ended before it was whole."""
    return UpstreamError("upstream-broken", "the provider's answer broke off", hint=LATER)


def refusal(status: int, data: bytes, *, code: str = "") -> CcoError:
    """Return the error that an answer stands for.

    Args:
        status: of the answer.
        data: its body.
        code: the gateway's, where the answer is its own.
    """
    error = _object(data).get("error")
    words = str(error.get("message", "")) if isinstance(error, dict) else ""
    words = _sentence(words) or f"the provider answered {status} without a reason"
    if status in _REFUSALS:
        return _REFUSALS[status](code, words)
    hint = LATER if status == 429 or status >= 500 else "Correct what it names"
    told = f"the provider answered {status}: {words}"
    return UpstreamError(code or "upstream-error", told, hint=hint)


_REFUSALS: Final[Mapping[int, Callable[[str, str], CcoError]]] = {
    401: lambda _, words: Denied("bad-credential", words, hint="Check the API key"),
    402: lambda code, words: BudgetExceeded(
        code or "budget-spent", words, hint="See what was spent: cco stats --by day"
    ),
    502: lambda code, words: UpstreamRefused(
        code or "upstream-refused", words, hint="See: cco daemon status"
    ),
    503: lambda code, words: (
        Unavailable(code, words, hint=LATER)
        if code
        else UpstreamError("upstream-error", f"the provider answered 503: {words}", hint=LATER)
    ),
    504: lambda code, words: UpstreamTimeout(code or "upstream-timeout", words, hint=LATER),
}
"""By status; every other one is the provider's error."""


def _told_error(told: Mapping[str, Any]) -> UpstreamError:
    """Return the error that an ``error`` event stands for."""
    error = told.get("error")
    error = error if isinstance(error, dict) else {}
    words = _sentence(str(error.get("message", ""))) or "the provider gave up without a reason"
    if error.get("type") == "timeout_error":
        return UpstreamTimeout("upstream-timeout", words, hint=LATER)
    return UpstreamError("upstream-error", words, hint=LATER)


def _sentence(words: str) -> str:
    """Return words of the provider's, or of the gateway's, as a sentence of ours."""
    return words.removeprefix("CCO: ").rstrip(".")


def _text_of(event: Mapping[str, Any]) -> str:
    """Return the text that an event adds."""
    delta = event.get("delta", event.get("content_block"))
    if isinstance(delta, dict) and delta.get("type") in ("text", "text_delta"):
        return str(delta.get("text", ""))
    return ""


def _text_in(block: object) -> str:
    if isinstance(block, dict) and block.get("type") == "text":
        return str(block.get("text", ""))
    return ""


def _object(data: bytes | str) -> Mapping[str, Any]:
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
