# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a file of the catalogue: where, why, and what was probably meant; pure."""

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from cco.errors import ConfigError

MAX_SHOWN: Final = 20
"""Problems kept of one file: a file of another kind could hold one on each of its lines."""
_MAX_WORD: Final = 64


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    file: str
    line: int
    """From 1; also 1 where the file as a whole is meant."""
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class Findings:
    """Collects the problems of one file, so that all are told at once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    @property
    def is_full(self) -> bool:
        """Tell whether more problems would be dropped, so that looking for them is in vain."""
        return len(self.problems) >= MAX_SHOWN

    def add(self, line: int, message: str) -> None:
        """Note a problem; those beyond `MAX_SHOWN` are dropped."""
        if not self.is_full:
            self.problems.append(Problem(self.file, line, message))


def refusal(code: str, problems: Sequence[Problem], *, hint: str) -> ConfigError:
    """Return the error that tells the problems, one after another."""
    told = "; ".join(map(str, problems[:MAX_SHOWN]))
    more = len(problems) - MAX_SHOWN
    return ConfigError(code, f"{told}; and {more} more" if more > 0 else told, hint=hint)


def nearest(word: str, known: Collection[str]) -> str:
    """Return a suggestion to end a message with: the nearest name, or all if they are few."""
    near = difflib.get_close_matches(word[:_MAX_WORD], sorted(known), n=1)
    if near:
        return f", did you mean '{near[0]}'?"
    return f", known are {', '.join(known)}" if 0 < len(known) < 10 else ""
