# SPDX-License-Identifier: Apache-2.0
"""Directives: plain lines in a prompt that tell the offline upstream how to answer.

A directive is a line of the user's own words that begins with ``offline:``. Several may stand in
one prompt; those that call tools give one block each, in parallel. Pure::

    offline: agent TYPE [PROMPT]      start a subagent; what follows a first " >> " in PROMPT is a
                                      directive of the subagent's own: agent a Plan >> agent b Do
    offline: bash COMMAND             call the Bash tool
    offline: tool NAME [JSON]         call any tool that the request offers
    offline: text N                   answer with N characters
    offline: status N [retry-after=S] [should-retry=true|false]     answer with an error status
    offline: html                     answer 200 with a page of HTML
    offline: error TYPE               stream: an error event after the first delta
    offline: silent S                 no byte for S seconds
    offline: slow S                   stream: S seconds before every ping and delta
    offline: pings N                  stream: N pings, not one
    offline: cut message_start        stream: break off after the first event
    offline: cut content              stream: break off after the first delta
    offline: cut length               declare the whole length, send half of it
    offline: stall                    nothing after message_start; not streamed: nothing at all

Only a plain prompt is directed: not a tool's result that comes back, nor what the client asks by
itself (titles, quota, web searches, compaction). A result is answered with a text that quotes it.

Every line but ``agent``, ``bash`` and ``tool`` takes ``times=N``: it holds for the first N requests
with these messages, so that a client's repetition can succeed. A line that cannot be understood
is answered with a 400 that says so.
"""

import enum
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cco.errors import RequestError

_LINE: Final = re.compile(r"^[ \t]*offline:[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_DESCRIPTION_WORDS: Final = 5
_MAX_TEXT_CHARS: Final = 64 * 1024 * 1024
_MAX_PINGS: Final = 100_000
_MAX_SECONDS: Final = 3600.0


class Cut(enum.StrEnum):
    """Where the connection breaks."""

    MESSAGE_START = "message_start"
    CONTENT = "content"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call to answer with."""

    names: tuple[str, ...]
    """The first of these that the request offers is called."""
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Script:
    """How to answer one request."""

    calls: tuple[Call, ...] = ()
    text_chars: int | None = None
    status: int | None = None
    retry_after: int | None = None
    should_retry: bool | None = None
    html: bool = False
    error: str = ""
    silent_s: float = 0.0
    slow_s: float = 0.0
    pings: int = 1
    cut: Cut | None = None
    stall: bool = False


Fields = dict[str, Any]
"""Fields of `Script` that a directive sets."""

_Reader = Callable[[Sequence[str], dict[str, str]], Fields]


def is_counted(prompt: str) -> bool:
    """Tell whether it matters how often a prompt has come."""
    return any("times=" in line for line in _LINE.findall(prompt))


def parse_script(prompt: str, *, attempt: int = 1) -> Script:
    """Read the directives of a prompt.

    Args:
        prompt: the user's own words.
        attempt: how often these messages have come, this time included.

    Raises:
        RequestError: a directive cannot be understood.
    """
    script = Script()
    for line in _LINE.findall(prompt):
        verb, _, rest = line.partition(" ")
        try:
            if verb in _CALLS:
                script = replace(script, calls=(*script.calls, _CALLS[verb](rest.strip())))
            else:
                script = replace(script, **_manner(verb, rest.split(), attempt=attempt))
        except (ValueError, KeyError, RecursionError) as exc:
            known = ", ".join(sorted((*_CALLS, *_MANNERS)))
            raise RequestError(
                "offline-directive",
                f"CCO offline upstream: the directive {line!r} is not understood; known: {known}",
            ) from exc
    return script


def _manner(verb: str, words: Sequence[str], *, attempt: int) -> Fields:
    """Return what a directive sets, nothing if it held for earlier attempts only."""
    options = dict(word.split("=", 1) for word in words if "=" in word)
    times = int(options.pop("times", attempt))
    fields = _MANNERS[verb]([word for word in words if "=" not in word], options)
    if options:
        raise ValueError(options)
    return fields if attempt <= times else {}


def _agent(rest: str) -> Call:
    kind, _, task = rest.partition(" ")
    prompt, nested, inner = f" {task}".partition(" >> ")
    if not kind:
        raise ValueError(rest)
    prompt = prompt.strip() or "Do your part"
    description = " ".join(prompt.split()[:_DESCRIPTION_WORDS])
    if nested:
        prompt += "\noffline: " + inner.strip().removeprefix("offline:").strip()
    given = {"description": description, "prompt": prompt, "subagent_type": kind}
    return Call(names=("Agent", "Task"), input=given)


def _bash(command: str) -> Call:
    if not command:
        raise ValueError(command)
    given = {"command": command, "description": "A command of the offline upstream"}
    return Call(names=("Bash",), input=given)


def _tool(rest: str) -> Call:
    name, _, given = rest.partition(" ")
    value = json.loads(given) if given.strip() else {}
    if not name or not isinstance(value, dict):
        raise ValueError(rest)
    return Call(names=(name,), input=value)


def _status(words: Sequence[str], options: dict[str, str]) -> Fields:
    """Read a status and take its own options out of `options`."""
    (word,) = words
    fields: Fields = {"status": _number(word, low=400, high=599)}
    if "retry-after" in options:
        fields["retry_after"] = _number(options.pop("retry-after"), low=0, high=10**6)
    if "should-retry" in options:
        fields["should_retry"] = {"true": True, "false": False}[options.pop("should-retry")]
    return fields


def _setting(field: str, read: Callable[[str], object]) -> _Reader:
    """Return a reader of exactly one word."""

    def parse(words: Sequence[str], _options: dict[str, str]) -> Fields:
        (word,) = words
        return {field: read(word)}

    return parse


def _flag(field: str) -> _Reader:
    """Return a reader of no word at all."""

    def parse(words: Sequence[str], _options: dict[str, str]) -> Fields:
        () = words
        return {field: True}

    return parse


def _number(word: str, *, low: int, high: int) -> int:
    value = int(word)
    if not low <= value <= high:
        raise ValueError(word)
    return value


def _seconds(word: str) -> float:
    value = float(word)
    if not 0.0 <= value <= _MAX_SECONDS:
        raise ValueError(word)
    return value


_CALLS: Final[Mapping[str, Callable[[str], Call]]] = {"agent": _agent, "bash": _bash, "tool": _tool}

_MANNERS: Final[Mapping[str, _Reader]] = {
    "status": _status,
    "html": _flag("html"),
    "stall": _flag("stall"),
    "error": _setting("error", str),
    "cut": _setting("cut", Cut),
    "silent": _setting("silent_s", _seconds),
    "slow": _setting("slow_s", _seconds),
    "pings": _setting("pings", lambda word: _number(word, low=0, high=_MAX_PINGS)),
    "text": _setting("text_chars", lambda word: _number(word, low=1, high=_MAX_TEXT_CHARS)),
}
