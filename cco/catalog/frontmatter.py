# SPDX-License-Identifier: Apache-2.0
r"""Reads the front matter of an agent definition; pure.

The format is the part of YAML that needs no library and means the same to one::

    ---                                    first line of the file, exactly
    name: Chief Architect                  bare text: to the end of the line
    description: "Quoted: \"as in JSON\""  a JSON string
    tools: [Read, "mcp__server__tool"]     a list of bare or quoted texts, on one line
    ---                                    ends it, exactly
    body                                   every byte after that line

A key is a letter, then letters, digits, ``-`` or ``_``, at the start of its line, followed by a
colon and a space, and stands once. Bare text does not begin with a character that YAML reserves,
nor hold ``: `` or `` #``; in a list no bracket and no comma either. Anything else (blank lines,
comments, nesting, text over several lines) is a problem on its line.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cco.catalog.problem import Findings

Value = str | tuple[str, ...]

MARKER: Final = "---"
MAX_LINE: Final = 4096
"""Characters in a line of front matter; bounds the work on a file of another kind."""

_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_RESERVED: Final = frozenset("'\"[]{}&*!|>%@`#?-,:")
_DECODER: Final = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Field:
    """A value and its line."""

    value: Value
    line: int


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """A file taken apart."""

    fields: Mapping[str, Field]
    """By key, in the order of the file; lines with a problem are missing."""
    broken: frozenset[str]
    """What stands before the colon of the lines with a problem."""
    end_line: int
    """Line of the closing marker."""
    body: str


def read(text: str, findings: Findings) -> FrontMatter | None:
    """Take a definition apart; None where it cannot be told what is front matter."""
    if not _is_plain(text, findings):
        return None
    lines = text.split("\n")
    if lines[0] != MARKER:
        findings.add(1, f"has no front matter: the first line must be {MARKER}")
        return None
    try:
        end = lines.index(MARKER, 1)
    except ValueError:
        findings.add(1, f"the front matter has no end: a line {MARKER} must follow it")
        return None
    fields: dict[str, Field] = {}
    broken: set[str] = set()
    for number, line in enumerate(lines[1:end], start=2):
        try:
            key, value = _entry(line)
        except ValueError as exc:
            findings.add(number, str(exc))
            broken.add(line.partition(":")[0])
            continue
        if key in fields:
            findings.add(number, f"'{key}' is already on line {fields[key].line}")
        else:
            fields[key] = Field(value, number)
    return FrontMatter(fields, frozenset(broken), end + 1, "\n".join(lines[end + 1 :]))


def _is_plain(text: str, findings: Findings) -> bool:
    """Tell whether the text is one that every reader takes for the same lines."""
    if text.startswith("\ufeff"):
        findings.add(1, "begins with a byte order mark; save it as UTF-8 without one")
    elif "\r" in text:
        line = text.count("\n", 0, text.index("\r")) + 1
        findings.add(line, "has a carriage return; save it with Unix line ends (LF)")
    elif found := _CONTROL.search(text):
        line = text.count("\n", 0, found.start()) + 1
        findings.add(line, f"is not a text: it holds the control character {ord(found[0]):#04x}")
    else:
        return True
    return False


def _entry(line: str) -> tuple[str, Value]:
    """Return key and value of a line, or raise ValueError with the reason."""
    if len(line) > MAX_LINE:
        raise ValueError(f"is longer than {MAX_LINE} characters")
    key, colon, rest = line.partition(":")
    if not colon or not _KEY.fullmatch(key) or rest[:1] not in ("", " "):
        raise ValueError("is not of the form 'key: value'")
    raw = rest.strip()
    if not raw:
        raise ValueError(f"'{key}' has no value on its line")
    if raw.startswith("["):
        return key, _items(raw)
    if raw.startswith('"'):
        value, rest = _quoted(raw)
        if rest:
            raise ValueError(f"something follows the quoted text of '{key}'")
        return key, value
    return key, _bare(raw)


def _items(raw: str) -> tuple[str, ...]:
    if not raw.endswith("]"):
        raise ValueError("a list must end with ] on its line")
    rest = raw[1:-1].strip()
    items: list[str] = []
    while rest:
        if rest.startswith('"'):
            item, rest = _quoted(rest)
            before, comma, rest = rest.partition(",")
            if before:
                raise ValueError("a comma is missing after a quoted text")
        else:
            before, comma, rest = rest.partition(",")
            item = _bare(before.strip(), also="[]{}")
        items.append(item)
        rest = rest.strip()
        if comma and not rest:
            raise ValueError("a list must not end with a comma")
    return tuple(items)


def _quoted(raw: str) -> tuple[str, str]:
    """Return the JSON string at the start of `raw`, and what follows it."""
    try:
        value, end = _DECODER.raw_decode(raw)
    except ValueError as exc:
        raise ValueError("a quoted text is not a JSON string") from exc
    return str(value), raw[end:].lstrip()


def _bare(raw: str, *, also: str = "") -> str:
    if not raw:
        raise ValueError("a list has an empty place")
    odd = raw[0] in _RESERVED or raw.endswith(":") or ": " in raw or " #" in raw
    if odd or any(char in also for char in raw):
        raise ValueError(f"{raw[:40]!r} needs quotes, as in JSON")
    return raw
