# SPDX-License-Identifier: Apache-2.0
"""Reads from a session's transcript what must survive its compaction, without a model.

Claude Code writes ``…/projects/<directory>/<session id>.jsonl``, one JSON object a line, the last
of which may be half-written at any time. It is read from its end, `TAIL_BYTES` at most, and of that
`PARSED_BYTES` at most are decoded, the newest first: what lies before is as if it were not there.

What counts:

- requests: texts that the user typed; not tool results, commands, notices and summaries
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cco.orchestration.facts import condensed

TAIL_BYTES: Final = 2 * 1024 * 1024
"""What one context window holds takes about as much."""
PARSED_BYTES: Final = 512 * 1024
_MAX_LINE: Final = 512 * 1024
_MAX_REQUESTS: Final = 12
_MAX_DECISIONS: Final = 12
_MAX_TASKS: Final = 20
_MAX_FILES: Final = 30
_CHARS: Final = 300
"""Of one request, decision or task."""

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
_CLOSED: Final = ("completed", "deleted")
_NOT_TYPED: Final = re.compile(
    r"<[a-z]+(?:[-_][a-z]+)+[ >]|Caveat: |\[Request interrupted|This session is being continued"
)
"""How texts begin that stand in the user's place without being theirs; a tag of HTML is theirs."""


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
            start = max(0, found.st_size - TAIL_BYTES)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                file.seek(start)
                data = file.read(TAIL_BYTES)
        finally:
            os.close(descriptor)
    except (OSError, ValueError):  # a path may hold what no path can
        return None
    if start:
        data = data[data.find(b"\n") + 1 :]
    return extract(data)


def extract(data: bytes) -> Extract:
    """Return what lines of a transcript hold; what is no whole line of one is left out."""
    reader = _Reader()
    for entry in reversed(list(_entries(data))):
        reader.take(entry)
    return Extract(
        requests=_last(reader.requests, _MAX_REQUESTS),
        decisions=_last(reader.decisions, _MAX_DECISIONS),
        tasks=_last(
            [text for text, status in reader.tasks.values() if status not in _CLOSED], _MAX_TASKS
        ),
        files=_last(reader.files, _MAX_FILES),
    )


def _entries(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the entries that may matter, the newest first, as long as there is budget."""
    budget = PARSED_BYTES
    for line in reversed(data.split(b"\n")):
        is_result = b'"tool_result"' in line and b'"task"' not in line
        if not line or len(line) > _MAX_LINE or is_result or b'"message"' not in line:
            continue
        budget -= len(line)
        if budget < 0:
            return
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("message"), dict):
            yield entry


@dataclass(slots=True)
class _Reader:
    """Takes entries in their order."""

    requests: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    tasks: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Text and status by an id; TodoWrite's items go by their place, marked with a `todo`."""
    files: list[str] = field(default_factory=list)

    def take(self, entry: Mapping[str, Any]) -> None:
        """Take one entry in."""
        if entry.get("type") == "user":
            self._user(entry)
        elif entry.get("type") == "assistant":
            for block in _blocks(entry):
                if block.get("type") == "tool_use" and isinstance(block.get("input"), dict):
                    self._call(str(block.get("name")), block["input"], str(entry.get("cwd", "")))
                elif block.get("type") == "text" and not entry.get("isSidechain"):
                    self._decide(str(block.get("text", "")), _DECIDED)

    def _user(self, entry: Mapping[str, Any]) -> None:
        result = entry.get("toolUseResult")
        if isinstance(result, dict):
            task = result.get("task")
            if isinstance(task, dict) and isinstance(task.get("subject"), str):
                self.tasks.setdefault(str(task.get("id")), (task["subject"], "pending"))
            return
        if any(entry.get(mark) for mark in ("isMeta", "isSidechain", "isCompactSummary")):
            return
        texts = [block["text"] for block in _blocks(entry) if isinstance(block.get("text"), str)]
        text = "\n".join(texts).strip()
        if text and not _NOT_TYPED.match(text):
            self.requests.append(text)
            self._decide(text, _DECIDED, _ORDERED)

    def _decide(self, text: str, *forms: re.Pattern[str]) -> None:
        for sentence in _SENTENCE_END.split(text[:20_000]):
            said = sentence.strip().lstrip("-*#> ")
            if any(form.search(said) for form in forms):
                self.decisions.append(said)

    def _call(self, name: str, given: Mapping[str, Any], cwd: str) -> None:
        if name in _CHANGING:
            path = given.get(_CHANGING[name])
            if isinstance(path, str) and path:
                self.files.append(path.removeprefix(f"{cwd}/") if cwd else path)
        elif name == "TodoWrite" and isinstance(given.get("todos"), list):
            for key in [key for key in self.tasks if key.startswith("todo")]:
                del self.tasks[key]
            for nth, todo in enumerate(given["todos"]):
                if isinstance(todo, dict):
                    told = str(todo.get("content", "")), str(todo.get("status", ""))
                    self.tasks[f"todo {nth}"] = told
        elif name == "TaskUpdate":
            key = str(given.get("taskId"))
            text, status = self.tasks.get(key, ("", ""))
            text = str(given.get("subject") or text)
            if text:
                self.tasks[key] = (text, str(given.get("status") or status))


def _blocks(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = entry["message"].get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    blocks = content if isinstance(content, list) else []
    return [block for block in blocks if isinstance(block, dict)]


def _last(texts: Iterable[str], number: int) -> tuple[str, ...]:
    """Return the last texts, each in one line, each at its last place only, without secrets."""
    # Only the last ones are looked at closely: a long session has thousands.
    lines: dict[str, None] = {}
    for text in dict.fromkeys(reversed(list(texts))):
        lines.setdefault(condensed(text, _CHARS))
        if len(lines) == number:
            break
    return tuple(reversed([line for line in lines if line]))
