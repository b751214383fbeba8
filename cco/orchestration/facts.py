# SPDX-License-Identifier: Apache-2.0
"""What knowledge consists of, what may be kept, and how it is said within a cap; pure."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cco.errors import RequestError
from cco.orchestration.redaction import find_secret, redact

TYPES: Final = (
    "decision",
    "architecture",
    "configuration",
    "issue",
    "implementation",
    "completion",
)
"""The most valuable first: the last ones make room when there is too much."""
USER: Final = "user"
"""Source of what the user stored; everything else was gathered."""

MAX_TEXT: Final = 4_000
"""Characters of one fact."""
MAX_SOURCE: Final = 100
"""Characters of the name of who told it."""
BYTES_PER_TOKEN: Final = 2
"""The count behind every cap, conservative on purpose: English has some four bytes to a token."""

_MAX_SCANNED: Final = 20_000
"""Characters of a gathered text that are looked at."""
_MAX_WORDS: Final = 32
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_WORD: Final = re.compile(r"\w+")
_UNSPACED: Final = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003ffff]+"
)
"""Of scripts without spaces between words, or with endings where others have none."""
_FRAME: Final = re.compile(r"<(?=/[a-z]|[a-z]+[-_:][a-z])", re.IGNORECASE)
"""Begins a tag like those that clients and models put around what is told, or ends any."""
_MIN_PREFIX: Final = 3
"""Shorter words would match the beginning of almost anything."""
_LINE_CHARS: Final = 400
"""What is shown of one fact among others."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is known of a project."""

    id: int
    project: str
    type: str
    text: str
    source: str
    """`USER`, or the name of the agent that told it."""
    session: str
    """Launch of cco that it came from; "" where it came from none."""
    created_ns: int


def check_type(type_: str) -> None:
    """Look whether there is such a type.

    Raises:
        RequestError: there is none.
    """
    if type_ not in TYPES:
        raise RequestError(
            "unknown-type", f"there is no type {type_[:40]!r}", hint=f"Known: {', '.join(TYPES)}"
        )


def checked(text: str, type_: str) -> str:
    """Return a text as it is kept, having looked whether it may be.

    Raises:
        RequestError: it is empty, too long or no text, it holds a secret, or there is no such type.
    """
    check_type(type_)
    text = text.strip()
    if not text:
        raise RequestError("empty-text", "there is nothing to store", hint="Say what is known")
    if len(text) > MAX_TEXT:
        raise RequestError(
            "text-too-long",
            f"a fact has at most {MAX_TEXT} characters, this one has {len(text)}",
            hint="Store the point of it, and the path of the rest",
        )
    if _CONTROL.search(text):
        raise RequestError("not-text", "this is no plain text", hint="Store words, not data")
    if kind := find_secret(text):
        raise RequestError(
            "secret-refused",
            f"the text seems to hold {kind}, which is never stored",
            hint="Leave it out, and say where it is kept instead",
        )
    return text


def condensed(text: str, limit: int) -> str:
    """Return a gathered text in one line of at most `limit` characters, without secrets.

    It cannot end the frame in which it will be told, and go on as somebody else's words.
    """
    text = "".join(c if c.isprintable() else " " for c in redact(text[:_MAX_SCANNED]))
    line = " ".join(_FRAME.sub("\u2039", text).split())
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"


class Newest:
    """The last of many gathered texts, each condensed and at its last place only.

    Args:
        number: of them.
        chars: of each at most.
    """

    def __init__(self, number: int, *, chars: int) -> None:
        self._number = number
        self._chars = chars
        self._seen: set[str] = set()
        self._lines: dict[str, None] = {}

    @property
    def is_full(self) -> bool:
        """Whether no older one will be taken."""
        return len(self._lines) >= self._number

    def add(self, text: str) -> None:
        """Take in a text that is older than all before."""
        # Only what is shown is looked at closely: a long session has thousands.
        if not self.is_full and text not in self._seen:
            self._seen.add(text)
            if line := condensed(text, self._chars):
                self._lines.setdefault(line)

    def texts(self) -> tuple[str, ...]:
        """Return them, the oldest first."""
        return tuple(reversed(self._lines))


def match_expression(query: str) -> str:
    """Return what FTS5 is to look for: any of the words, or what begins with them; "" for none.

    Every word is quoted, so nothing that a person types can be taken for an operator.
    """
    # Not folded further than FTS5 does: it keeps an ß.
    words = dict.fromkeys(word.lower() for word in _WORD.findall(query))
    return " OR ".join(
        f'"{word}"{"*" if len(word) >= _MIN_PREFIX else ""}' for word in list(words)[:_MAX_WORDS]
    )


def unspaced_parts(query: str) -> list[str]:
    """Return the pairs of characters to look for where a query has no spaces between its words.

    FTS5 takes a whole sentence in such a script for one word.
    """
    parts = dict.fromkeys(
        run[at : at + 2] for run in _UNSPACED.findall(query) for at in range(max(1, len(run) - 1))
    )
    return list(parts)[:_MAX_WORDS]


def shown(fact: Fact) -> str:
    """Return a fact as one line of a list; nothing in it can pass for a heading or an order."""
    day = time.strftime("%Y-%m-%d", time.gmtime(fact.created_ns // 10**9))
    by = "" if fact.source == USER else f", told by {condensed(fact.source, MAX_SOURCE)}"
    return f"- {fact.type} ({day}{by}): {condensed(fact.text, _LINE_CHARS)}\n"


def section(
    head: str, lines: Iterable[str], limit_bytes: int, *, newest_first: bool = False
) -> str:
    """Return a heading with the lines that fit below it into so many bytes, "" where none does.

    A line that is too long gives way to shorter ones behind it.

    Args:
        head: the heading.
        lines: in their order.
        limit_bytes: of all of it.
        newest_first: whether the last ones matter most.
    """
    given = list(lines)
    kept: list[str] = []
    room = limit_bytes - len(head.encode())
    for line in reversed(given) if newest_first else given:
        if len(line.encode()) <= room:
            kept.append(line)
            room -= len(line.encode())
    if newest_first:
        kept.reverse()
    return head + "".join(kept) if kept else ""
