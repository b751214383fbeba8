# SPDX-License-Identifier: Apache-2.0
"""The fenced blocks of our documents, and what a kind of block promises; pure.

::

    ```console          commands behind "$ ", each with the output that a reader will see; run by
                        tests/integration/test_documents.py, one after another in one place
    ```sh               commands that the reader adapts; each `cco …` must be understood
    ```toml             settings; must be accepted as they stand
    ```markdown         an agent's definition; must be accepted

In an output "…" stands for any text of a line, and a line of nothing but "…" for any lines.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lint.tree import files, texts

ANYTHING: Final = "…"

_FENCE: Final = re.compile(
    r"^(?P<indent> *)```(?P<kind>[a-z]+)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    kind: str
    text: str
    document: Path
    line: int
    """Of its first line in the document, from 1."""

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a `console` block, and what it prints."""

    command: str
    output: str
    place: str
    """Document and line."""


def documents() -> list[Path]:
    """Return the documents that readers follow: README.md, and the guides of man/."""
    return [path for path in files() if path == Path("README.md") or _is_guide(path)]


def blocks(document: Path, *kinds: str) -> list[Block]:
    """Return the blocks of these kinds in a document, in order."""
    text = texts()[document]
    return [
        Block(
            match["kind"],
            textwrap.dedent(match["text"]),
            document,
            text.count("\n", 0, match.start("text")) + 1,
        )
        for match in _FENCE.finditer(text)
        if match["kind"] in kinds
    ]


def steps(document: Path) -> Iterator[Step]:
    """Yield the commands of all `console` blocks of a document."""
    for block in blocks(document, "console"):
        lines = block.text.splitlines()
        begins = [nth for nth, line in enumerate(lines) if line.startswith("$ ")]
        for begin, end in zip(begins, [*begins[1:], len(lines)], strict=True):
            yield Step(
                command=lines[begin][2:],
                output="\n".join(lines[begin + 1 : end]).rstrip(),
                place=f"{document}:{block.line + begin}",
            )


def fits(told: str, printed: str) -> bool:
    """Say whether a document's output is what a command printed, spaces at line ends aside."""
    pattern = ""
    for line in told.splitlines():
        if line.strip() == ANYTHING:
            pattern += r"(?:.*\n)*?"
        else:
            pieces = (re.escape(piece) for piece in line.rstrip().split(ANYTHING))
            pattern += ".*?".join(pieces) + r"[ \t]*\n"
    return re.fullmatch(pattern, printed.rstrip() + "\n" if printed.strip() else "") is not None


def _is_guide(path: Path) -> bool:
    return path.parts[0] == "man" and path.suffix == ".md" and path.name != "README.md"
