# SPDX-License-Identifier: Apache-2.0
"""The tasks that agents are judged by: one for each agent that CCO ships.

Nothing that chooses agents may read them.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from cco.catalog import files
from cco.catalog.problem import Problem, refusal


@dataclass(frozen=True, slots=True)
class Task:
    """What an agent is asked, and what makes an answer a good one."""

    agent: str
    """Slug of the agent that it is for."""
    task: str
    must_contain: tuple[str, ...]


def load(file: Path) -> tuple[Task, ...]:
    """Return the tasks of a file, in its order.

    Raises:
        ConfigError: `evaluation-invalid`.
    """
    text = files.read_text(file)
    if isinstance(text, str):
        try:
            return tuple(
                Task(str(row["agent"]), str(row["task"]), tuple(map(str, row["must_contain"])))
                for row in tomllib.loads(text)["task"]
            )
        except (ValueError, KeyError, TypeError) as exc:
            text = Problem(files.shown(file), 1, f"holds no tasks ({exc})")
    raise refusal("evaluation-invalid", [text], hint="Reinstall CCO: its own files are damaged")
