# SPDX-License-Identifier: Apache-2.0
"""Reads from a session's transcript what must survive its compaction, without a model.

Claude Code writes ``…/projects/<directory>/<session id>.jsonl``, one JSON object a line, the last
of which may be half-written at any time. It is read from its end, `TAIL_BYTES` at most, and of that
`PARSED_BYTES` at most are decoded, the newest first: what lies before is as if it were not there.
Images stand in it in full; they are passed over, and hardly count.

What counts:

- requests: texts that the user typed, also while Claude Code was busy; not tool results, commands,
  notices and summaries
- decisions: sentences that say so, see `_DECIDED`; of the user's also orders, see `_ORDERED`
- tasks: what TodoWrite last listed and what TaskCreate made, less what is completed or deleted
- files: what Edit, MultiEdit, Write and NotebookEdit were called for

Source: transcripts of Claude Code 2.1.197, interactive and ``-p``.
"""

import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cco.orchestration.facts import Newest

TAIL_BYTES: Final = 2 * 1024 * 1024
"""What one context window holds takes about as much; each line counts `_LEAST` bytes and
`_MOST` at most."""
MAX_TAIL_BYTES: Final = 16 * 1024 * 1024
"""With all of the long lines; one with an image may have megabytes."""
PARSED_BYTES: Final = 256 * 1024
_BLOCK_BYTES: Final = 256 * 1024
_LEAST: Final = 256
_MOST: Final = 64 * 1024
_MAX_LINE: Final = 512 * 1024
_MAX_TASK_LINE: Final = 16 * 1024
"""Of what TaskCreate answers; longer results of tools are none."""
_MAX_REQUESTS: Final = 12
_MAX_DECISIONS: Final = 12
_MAX_TASKS: Final = 20
_MAX_FILES: Final = 30
_CHARS: Final = 300
"""Of one request, decision or task."""
_MAX_SAID: Final = 20_000
"""Characters of one message in which decisions are looked for."""
_DATA: Final = b'"data":"'
_MADE: Final = "TaskCreate"

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|\n+")
_DECIDED: Final = re.compile(
    r"\b(?:decision:|(?:we|i) (?:have |had )?(?:decided|agreed|settled|chose)\b|decided (?:to|on|"
    r"against|that)\b|(?:we|let's|let us)(?:'ll| will)? (?:go with|stick (?:with|to))\b)",
    re.IGNORECASE,
)
_ORDERED: Final = re.compile(
    r"^(?:please )?(?:use|always|never|do not|don't|keep|prefer|avoid)\b|\b(?:must(?: not|n't)?|"
    r"instead of|rather than|no longer)\b",
    re.IGNORECASE,
)
_CHANGING: Final[Mapping[str, str]] = {
    "Edit": "file_path",
    "MultiEdit": "file_path",
    "Write": "file_path",
    "NotebookEdit": "notebook_path",
}
_MARKS: Final = (
    *(b'"user"', b'"queued_command"', b'"TodoWrite"', b'"TaskUpdate"'),
    *(f'"{name}"'.encode() for name in _CHANGING),
)
_HINTS: Final = (
    *(b"decision:", b"decided", b"agreed", b"settled", b"chose", b"go with", b"stick "),
)
"""One of them is in whatever has a decision of Claude's."""
_CLOSED: Final = ("completed", "deleted")
_NOT_TYPED: Final = re.compile(
    r"<(?:system|(?:local-)?command|bash|task|ide|user-memory|user-prompt-submit|teammate|new|fork"
    r"|cross-session|persisted)[-_][a-z_-]+[ >]|Caveat: The messages below|\[Request interrupted"
    r"|This session is being continued"
)
"""How texts begin that stand in the user's place without being theirs; other tags are theirs."""


@dataclass(frozen=True, slots=True)
class Extract:
    """What must survive; the oldest first."""

    requests: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def is_transcript(path: Path, *, session: str) -> bool:
    """Say whether a path has the form of a session's transcript."""
    return (
        path.is_absolute()
        and ".." not in path.parts
        and path.name == f"{session}.jsonl"
        and path.parent.parent.name == "projects"
    )


def read(path: Path, *, uid: int) -> Extract | None:
    """Return what is to be had of a transcript; None where there is none of this user's."""
    try:
        # Neither a link nor, without O_NONBLOCK, a named pipe is any transcript of ours.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != uid:
                return None
            return _extract(_lines_backwards(descriptor, found.st_size))
        finally:
            os.close(descriptor)
    except (OSError, ValueError):  # a path may hold what no path can
        return None


def extract(data: bytes) -> Extract:
    """Return what lines of a transcript hold; what is no whole line of one is left out."""
    return _extract(reversed(data.split(b"\n")))


def _extract(lines: Iterable[bytes]) -> Extract:
    reader = _Reader()
    for entry in _entries(lines):
        reader.take(entry)
    return Extract(
        requests=reader.requests.texts(),
        decisions=reader.decisions.texts(),
        tasks=reader.tasks(),
        files=reader.files.texts(),
    )


def _lines_backwards(descriptor: int, size: int) -> Iterator[bytes]:
    """Yield the lines of a file, the last one first, as far as `MAX_TAIL_BYTES` reach."""
    first, end = max(0, size - MAX_TAIL_BYTES), size
    ahead: list[bytes] = []  # of the line that begins in a block before, from its end
    while end > first:
        start = max(first, end - _BLOCK_BYTES)
        head, *lines = os.pread(descriptor, end - start, start).split(b"\n")
        if lines:
            yield b"".join([lines.pop(), *reversed(ahead)])
            yield from reversed(lines)
            ahead.clear()
        ahead.append(head)
        end = start
    if not first:
        yield b"".join(reversed(ahead))


def _entries(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the entries that may matter, in the order of their lines, while there is budget."""
    tail, budget = TAIL_BYTES, PARSED_BYTES
    for line in lines:
        tail -= max(_LEAST, min(len(line), _MOST))
        if tail < 0:
            return
        if not _may_matter(line) or len(text := _without_images(line)) > _MAX_LINE:
            continue
        budget -= len(text)
        if budget < 0:
            return
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            yield entry


def _may_matter(line: bytes) -> bool:
    """Say whether a line is worth decoding: most only tell what was looked at."""
    if b'"tool_result"' in line:
        return len(line) <= _MAX_TASK_LINE and b'"task"' in line
    low = line.lower()
    return any(mark in line for mark in _MARKS) or any(hint in low for hint in _HINTS)


def _without_images(line: bytes) -> bytes:
    """Return a line with nothing where it had data."""
    head, *others = line.split(_DATA)
    return _DATA.join([head, *(other[max(0, other.find(b'"')) :] for other in others)])


class _Reader:
    """Takes entries in, the newest first."""

    def __init__(self) -> None:
        self.requests = Newest(_MAX_REQUESTS, chars=_CHARS)
        self.decisions = Newest(_MAX_DECISIONS, chars=_CHARS)
        self.files = Newest(_MAX_FILES, chars=_CHARS)
        self._changes: list[tuple[str, Mapping[str, Any]]] = []
        """Of the list of tasks: by what tool, and how; `_MADE` with a new task."""

    def take(self, entry: Mapping[str, Any]) -> None:
        """Take one entry in."""
        match entry:
            case {"type": "user", "message": dict()}:
                self._user(entry)
            case {"type": "assistant", "message": dict()}:
                for block in reversed(_blocks(entry["message"].get("content"))):
                    self._said(block, entry)
            case {
                "type": "attachment",
                "attachment": {"type": "queued_command", "commandMode": "prompt"} as queued,
            } if not queued.get("isMeta"):
                self._request(queued.get("prompt"))

    def tasks(self) -> tuple[str, ...]:
        """Return the open tasks, in the order in which they were made."""
        tasks: dict[str, tuple[str, str]] = {}  # text and status by an id
        for name, given in reversed(self._changes):
            if name == "TodoWrite":
                tasks = {key: task for key, task in tasks.items() if not key.startswith("todo")}
                for nth, todo in enumerate(given["todos"]):
                    if isinstance(todo, dict):
                        told = str(todo.get("content", "")), str(todo.get("status", ""))
                        tasks[f"todo {nth}"] = told
                continue
            key = str(given.get("id" if name == _MADE else "taskId"))
            text, status = tasks.get(key, ("", "pending"))
            text = str(given.get("subject") or text)
            if text:
                tasks[key] = text, str(given.get("status") or status)
        found = Newest(_MAX_TASKS, chars=_CHARS)
        for text, status in reversed(tasks.values()):
            if status not in _CLOSED:
                found.add(text)
        return found.texts()

    def _user(self, entry: Mapping[str, Any]) -> None:
        result = entry.get("toolUseResult")
        if any(entry.get(mark) for mark in ("isMeta", "isSidechain", "isCompactSummary")):
            return
        if not isinstance(result, dict):
            self._request(entry["message"].get("content"))
        elif isinstance(result.get("task"), dict) and isinstance(
            result["task"].get("subject"), str
        ):
            self._changes.append((_MADE, result["task"]))

    def _request(self, content: object) -> None:
        # What an editor tells of itself stands beside what was typed, in a block of its own.
        texts = [str(block.get("text") or "").strip() for block in _blocks(content)]
        if text := "\n".join(text for text in texts if text and not _NOT_TYPED.match(text)):
            self.requests.add(text)
            self._decide(text, _DECIDED, _ORDERED)

    def _said(self, block: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
        if block.get("type") == "tool_use" and isinstance(block.get("input"), dict):
            name, given = str(block.get("name")), block["input"]
            if name in _CHANGING:
                path, cwd = given.get(_CHANGING[name]), str(entry.get("cwd", ""))
                if isinstance(path, str) and path:
                    self.files.add(path.removeprefix(f"{cwd}/") if cwd else path)
            # What is to be done by a subagent is its own business.
            elif not entry.get("isSidechain") and (
                name == "TaskUpdate"
                or (name == "TodoWrite" and isinstance(given.get("todos"), list))
            ):
                self._changes.append((name, given))
        elif block.get("type") == "text" and not entry.get("isSidechain"):
            self._decide(str(block.get("text", "")), _DECIDED)

    def _decide(self, text: str, *forms: re.Pattern[str]) -> None:
        if self.decisions.is_full:
            return
        for sentence in reversed(_SENTENCE_END.split(text[:_MAX_SAID])):
            said = sentence.strip().lstrip("-*#> ")
            if any(form.search(said) for form in forms):
                self.decisions.add(said)


def _blocks(content: object) -> list[dict[str, Any]]:
    """Return the blocks of a message's content."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    blocks = content if isinstance(content, list) else []
    return [block for block in blocks if isinstance(block, dict)]
