# SPDX-License-Identifier: Apache-2.0
"""Which agent a task is for: by the rules' patterns first, then by the words that both share.

No model is asked. A score is from 0 to 1: agents that a rule names have `RULE` and more, all others
less. Within both, words decide (`terms.Index`): x points of them make x / (x + `HALF`).

Threading: all methods may be called from any thread.
"""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cco.catalog.catalog import Catalog
from cco.catalog.definition import Agent
from cco.errors import RequestError
from cco.orchestration.terms import Index, terms

MAX_TASK: Final = 100_000
"""Characters of the longest task that is taken."""
READ: Final = 4_000
"""Characters of it that are read: what it is about is said in its beginning, and a pattern of the
user's may be slow on more."""
RULE: Final = 0.6
"""Lowest score of an agent that a rule names."""
HALF: Final = 12.0
"""Points of words that make half of what words can make."""
NEAR: Final = 0.97
"""Share of the best score above which the less busy agent is preferred."""
FIELDS: Final[Mapping[str, float]] = {"name": 3.0, "capabilities": 3.0, "use": 3.0, "body": 0.5}
NAMED: Final = 1.3
"""How much more a word counts that stands in the agent's name."""
FIRST: Final = 4.0
"""Points of the agent that a rule names first; the second has half of it, the third a third."""
SHOWN: Final = 4
"""Words told as a reason."""
SURE: Final = 0.3
"""Score from which words alone call for an agent. Of the evaluation tasks that `suggest` answers at
this score and `AHEAD`, it names the expected agent for 98 % (measured)."""
AHEAD: Final = 1.15
"""How much better than the second the first must be for that."""
MIN_WORDS: Final = 6
"""A shorter task is an order that the session itself follows."""
_CONTROL: Final = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_QUESTION: Final = re.compile(
    r"(what|why|how|who|whose|when|where|which|is|are|was|were|do|does|did|has|have|should|am|explain|tell"
    r"|show|(can|could|will|would) (you )?(explain|tell|show|describe))\b",
    re.IGNORECASE,
)
"""Beginning of what is asked, not ordered."""
_EXCLUSION: Final = re.compile(r"; (own systems only, )?not for .*")
"""End of a description, which tells what an agent is not for."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An agent that a task may be for."""

    agent: Agent
    score: float
    reason: str


class Router:
    """Ranks the agents of a catalogue.

    Args:
        catalog: agents and rules.
        load: tells how busy the agent of a name is.
    """

    def __init__(self, catalog: Catalog, load: Callable[[str], int]) -> None:
        self._catalog = catalog
        self._load = load
        self._lock = threading.Lock()
        self._made: Index | None = None
        self._names = [
            frozenset(term for term, _ in terms(f"{agent.name} {agent.slug}"))
            for agent in catalog.agents
        ]

    def prepare(self) -> None:
        """Make the index, a third of a second of work, before somebody waits for it."""
        self._index()

    def route(self, task: str, limit: int = 5) -> tuple[Choice, ...]:
        """Return the agents that fit a task, the best first; none where nothing fits.

        Raises:
            RequestError: the task is empty, longer than `MAX_TASK`, or no text.
        """
        check(task)
        asked = " ".join(task[:READ].split())
        ruled = self._ruled(asked)
        said: dict[str, str] = {}
        for term, word in terms(asked):
            said.setdefault(term, word)
        ranked = self._index().rank(said)
        choices: list[Choice] = []
        for agent, names, found in zip(self._catalog.agents, self._names, ranked, strict=True):
            points = {
                term: value * (NAMED if term in names else 1) for term, value in found.items()
            }
            if points or agent.name in ruled:
                choices.append(_choice(agent, points, said=said, rule=ruled.get(agent.name)))
        choices.sort(key=lambda choice: -choice.score)
        return self._least_busy_first(choices)[:limit]

    def suggest(self, task: str) -> Choice | None:
        """Return the agent that a prompt clearly calls for; None for most prompts.

        Questions, chat and short orders are for the session itself, as is what fits several
        agents about as well.
        """
        asked = task.strip()
        is_order = asked[:1].isalnum() and not _QUESTION.match(asked)
        if not is_order or len(asked.split()) < MIN_WORDS:
            return None
        try:
            best, *others = self.route(asked, limit=2)
        except (RequestError, ValueError):  # no task, or nothing fits
            return None
        is_ahead = not others or best.score >= others[0].score * AHEAD
        return best if best.score >= RULE or (best.score >= SURE and is_ahead) else None

    def _ruled(self, task: str) -> dict[str, tuple[int, str]]:
        """Return the agents that rules name for a task: the place in the rule, and the reason."""
        rules = self._catalog.rules
        found: dict[str, tuple[int, str]] = {}
        for key, patterns in rules.task_patterns.items():
            match = next((hit for pattern in patterns if (hit := pattern.search(task))), None)
            if match is None:
                continue
            reason = f"rule '{key}': \"{match[0]}\""
            for place, name in enumerate(rules.task_routing.get(key, (key,))):
                for member in rules.groups.get(name, (name,)):
                    if member not in found or place < found[member][0]:
                        found[member] = place, reason
        return found

    def _least_busy_first(self, choices: list[Choice]) -> tuple[Choice, ...]:
        """Return the choices with the less busy first among those that are nearly equal."""
        ordered: list[Choice] = []
        while choices:
            near = [one for one in choices if one.score >= choices[0].score * NEAR]
            choices = choices[len(near) :]
            ordered += sorted(near, key=lambda one: self._load(one.agent.name))
        return tuple(ordered)

    def _index(self) -> Index:
        """Return the index, made when it is first asked for: the start does not wait for it."""
        with self._lock:
            if self._made is None:
                self._made = Index(list(map(_fields, self._catalog.agents)), weights=FIELDS)
            return self._made


def check(task: str) -> None:
    """Refuse what is no task.

    Raises:
        RequestError: it is empty, longer than `MAX_TASK`, or no text.
    """
    if not task.strip():
        raise RequestError("empty-task", "the task is empty", hint="Say what is to be done")
    if len(task) > MAX_TASK:
        raise RequestError(
            "task-too-large",
            f"the task is longer than {MAX_TASK} characters",
            hint="Say in a few sentences what is to be done",
        )
    if _CONTROL.search(task):
        raise RequestError(
            "task-binary", "the task holds bytes that are no text", hint="Give text in UTF-8"
        )


def _fields(agent: Agent) -> dict[str, str]:
    return {
        "name": f"{agent.name} {agent.slug} {agent.type}",
        "capabilities": " ".join(agent.capabilities),
        "use": _EXCLUSION.sub("", agent.description),
        "body": agent.body,
    }


def _choice(
    agent: Agent,
    points: Mapping[str, float],
    *,
    said: Mapping[str, str],
    rule: tuple[int, str] | None,
) -> Choice:
    total = sum(points.values())
    best = sorted(points, key=lambda term: -points[term])
    words = list(dict.fromkeys(said[term].lower() for term in best))[:SHOWN]
    shared = f"words: {', '.join(words)}" if words else ""
    if rule is None:
        return Choice(agent, round(RULE * total / (total + HALF), 4), shared)
    place, reason = rule
    total += FIRST / (1 + place)
    score = RULE + (1 - RULE) * total / (total + HALF)
    return Choice(agent, round(score, 4), f"{reason}; {shared}" if shared else reason)
