# SPDX-License-Identifier: Apache-2.0
"""Which requests are the same: a digest over all that an answer depends on.

Pure. The body goes in byte for byte, less its ``stream`` member: that only says in which form the
answer shall come. The member is found by its spelling, for parsing could take two bodies for one,
and large ones would hold up everybody else. Where it cannot be told for sure, the whole body counts
and nothing is said about the form, so that such a request equals exact copies of itself only.

Header fields that count:

* ``anthropic-…``: version and betas decide what the upstream does, and new ones will come;
* ``content-type`` and ``accept-encoding``, without which bytes would be read as something else;
* whatever may say who asks: `CREDENTIAL_WORDS` in the name. Custom gateways have fields of their
  own for that, beside ``authorization`` and ``x-api-key``.

The others (``user-agent``, ``x-stainless-…``, ids of sessions, agents and traces) change no answer.
Repeating a broken stream, Claude Code 2.1.197 changes ``x-stainless-timeout`` and ``stream``, and
nothing else (measured).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cco import config
from cco.gateway.headers import Fields

MAX_SCANNED_BYTES: Final = 2**23
"""The ``stream`` member of a larger body is not looked for."""
CREDENTIAL_WORDS: Final = ("auth", "cookie", "credential", "key", "secret", "token")

_API_PREFIX: Final = "anthropic-"
_COUNTED: Final = frozenset({"accept-encoding", "content-type"})
_NOT_COUNTED: Final = frozenset({"idempotency-key"})
"""New with every request, and names nobody."""

_MAX_FOUND: Final = 1000
"""Times that the name may be there, as a value too."""
_MAX_BRACKETS: Final = 100_000
"""Brackets that are counted to find out to which object a member belongs."""
_NAME: Final = b'"stream"'
_VALUE: Final = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*(true|false)[ \t\r\n]*(?=[,}])")
_COLON: Final = re.compile(rb"[ \t\r\n]*:")
_BEFORE: Final = re.compile(rb"[ \t\r\n]*([{,])[ \t\r\n]*\Z")
_AFTER: Final = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
_BEGINNING: Final = re.compile(rb"[ \t\r\n]*\{[ \t\r\n]*")
_END: Final = re.compile(rb"\}[ \t\r\n]*\Z")
_ESCAPE: Final = b"\\u00"
_SPELT_OUT: Final = re.compile(rb"\\u00(?:7[234]|6[15Dd])")
"""A letter of the name as an escape, which no encoder writes."""
_BRACKET: Final = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+([{}\[\]])', re.DOTALL)
"""The next bracket that stands outside of strings."""


@dataclass(frozen=True, slots=True)
class Key:
    """What requests have in common that have one answer."""

    digest: bytes
    streams: bool | None
    """An event stream is asked for; None where that could not be told."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """A body without its ``stream`` member."""

    before: bytes | memoryview
    after: bytes | memoryview
    streams: bool | None


def key_of(*, method: str, target: str, headers: Fields, body: bytes, realm: str) -> Key:
    """Return what a request has in common with those that have the same answer.

    Args:
        method: as received.
        target: path and query as received.
        headers: as received.
        body: as received.
        realm: what else must be equal: where the request goes, and on whose account.
    """
    parts = _without_stream(body)
    found = hashlib.sha256()
    texts = [realm, method, target, *_counted(headers)]
    for text in texts:
        data = text.encode("utf-8", "surrogateescape")
        found.update(b"%d:" % len(data))
        found.update(data)
    found.update(b"body:" if parts.streams is not None else b"whole:")
    found.update(parts.before)
    found.update(parts.after)
    return Key(found.digest(), parts.streams)


def realm_of(upstreams: Iterable[config.Upstream], keys: Mapping[str, str]) -> str:
    """Return what stands for upstreams that may answer for one another, and for their accounts.

    Args:
        upstreams: of one family; all belong to the user, so each may answer for the others.
        keys: in place of the client's own, by the upstreams' names.
    """
    found = hashlib.sha256()
    for base_url, key in sorted((each.base_url, keys.get(each.name, "")) for each in upstreams):
        found.update(f"{len(base_url)}:{base_url}{len(key)}:{key}".encode())
    return found.hexdigest()


def _counted(headers: Fields) -> Iterator[str]:
    """Yield names and values of the fields that count; the order among names does not."""
    for name, value in sorted(
        ((name.lower(), value) for name, value in headers), key=lambda field: field[0]
    ):
        if name in _NOT_COUNTED:
            continue
        if (
            name in _COUNTED
            or name.startswith(_API_PREFIX)
            or any(word in name for word in CREDENTIAL_WORDS)
        ):
            yield name
            yield value


def _without_stream(body: bytes) -> _Parts:
    whole = _Parts(body, b"", None)
    if len(body) > MAX_SCANNED_BYTES or (_ESCAPE in body and _SPELT_OUT.search(body)):
        return whole
    found = _members(body)
    if found == []:
        return _Parts(body, b"", streams=False)
    outermost = _outermost(body, found) if found else None
    if outermost is None or len(outermost) > 1:
        return whole
    if not outermost:
        return _Parts(body, b"", streams=False)
    (begin,) = outermost
    value = _VALUE.match(body, begin + len(_NAME))
    # Of what stands before only the little that is read: a copy of it could be megabytes.
    before = _BEFORE.search(body[max(0, begin - 256) : begin])
    if value is None or before is None:
        return whole
    end = value.end(1)
    if before[1] == b",":
        begin -= len(before[0])
    elif comma := _AFTER.match(body, end):
        end = comma.end()
    view = memoryview(body)
    return _Parts(view[:begin], view[end:], streams=value[1] == b"true")


def _members(body: bytes) -> list[int] | None:
    """Return where members named ``stream`` begin, of the outermost object and of those inside.

    In JSON no quote stands bare inside a string, so that spelling with a colon behind is the name
    of a member wherever it stands. None: there are too many to look at.
    """
    found: list[int] = []
    position = -1
    for _ in range(_MAX_FOUND):
        position = body.find(_NAME, position + 1)
        if position < 0:
            return found
        if body[position - 1 : position] != b"\\" and _COLON.match(body, position + len(_NAME)):
            found.append(position)
    return None


def _outermost(body: bytes, found: Sequence[int]) -> list[int] | None:
    """Return those members that belong to the outermost object; None where that is not sure."""
    beginning = _BEGINNING.match(body)
    if beginning is None:
        return None
    if len(found) == 1:  # nearly always, and then it stands first or last
        value = _VALUE.match(body, found[0] + len(_NAME))
        if beginning.end() == found[0] or (value and _END.match(body, value.end())):
            return list(found)
    depths = _depths(body, found)
    if depths is None:
        return None
    return [member for member, depth in zip(found, depths, strict=True) if depth == 1]


def _depths(body: bytes, positions: Sequence[int]) -> list[int] | None:
    """Return in how many brackets each position stands, None where that cannot be told."""
    depths: list[int] = []
    brackets = depth = step = end = 0
    for position in positions:
        while end <= position:
            depth += step
            bracket = _BRACKET.match(body, end)
            brackets += 1
            if bracket is None or brackets > _MAX_BRACKETS:
                return None
            end = bracket.end()
            step = 1 if bracket[1] in b"{[" else -1
        depths.append(depth)
    return depths
