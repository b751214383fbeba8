# SPDX-License-Identifier: Apache-2.0
"""How often the router is right; the figures are shown after the tests."""

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from cco.catalog.loader import BUILTIN, load
from cco.orchestration.router import Router
from tests.capabilities import ROOT

EVALUATION: Final = BUILTIN / "evaluation.toml"
HOLDOUT: Final = ROOT / "tests/data/routing/holdout.toml"
SUGGESTED: Final = 0.95
"""Of what is suggested unasked, nearly all must be right."""

OPENED: Final = """
import sys
opened = []
sys.addaudithook(lambda event, told: event == "open" and opened.append(str(told[0])))
from cco.catalog.loader import BUILTIN, load
from cco.orchestration.router import Router
router = Router(load(BUILTIN, user=None), lambda name: 0)
assert router.route("review my pull request, a slow SQL query")
print(*opened, sep="\\n")
"""


@pytest.fixture(scope="module")
def router() -> Router:
    return Router(load(BUILTIN, user=None), lambda _: 0)


def tasks(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["task"]
    return found


def measure(router: Router, path: Path) -> tuple[float, float, list[str]]:
    """Return how often the expected agent is first, how often among three, and the misses."""
    places, missed = [], []
    for task in tasks(path):
        slugs = [choice.agent.slug for choice in router.route(task["task"], limit=3)]
        expected = {task["agent"], *task.get("also", ())}
        places.append(next((n for n, slug in enumerate(slugs) if slug in expected), 3))
        if places[-1]:
            missed.append(f"{task['agent']}: {', '.join(slugs)}")
    return places.count(0) / len(places), 1 - places.count(3) / len(places), missed


def test_evaluation_tasks_get_the_expected_agent(
    router: Router, show: Callable[[str], None]
) -> None:
    first, among, missed = measure(router, EVALUATION)
    show(f"router, evaluation tasks: {first:.1%} first (90 %), {among:.1%} among three")

    assert first >= 0.90, missed


def test_tasks_in_the_words_of_users_get_the_expected_agent(
    router: Router, show: Callable[[str], None]
) -> None:
    """Nobody who wrote rules or descriptions wrote these, and nobody tunes by them."""
    first, among, missed = measure(router, HOLDOUT)
    show(
        f"router, hold-out of {len(tasks(HOLDOUT))}: {first:.1%} first (75 %),"
        f" {among:.1%} among three (90 %)"
    )

    assert len(tasks(HOLDOUT)) == 60
    assert first >= 0.75, missed
    assert among >= 0.90, missed


def test_suggestions_are_right(router: Router, show: Callable[[str], None]) -> None:
    given = [*tasks(EVALUATION), *tasks(HOLDOUT)]
    made = right = 0
    for task in given:
        if choice := router.suggest(task["task"]):
            made += 1
            right += choice.agent.slug in {task["agent"], *task.get("also", ())}
    show(
        f"router, suggestions: {made} for {len(given)} tasks,"
        f" {right / made:.1%} right ({SUGGESTED:.0%})"
    )

    assert made > 30
    assert right / made >= SUGGESTED


def test_index_never_reads_the_tasks_that_it_is_judged_by() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OPENED],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    opened = done.stdout.splitlines()

    assert str(BUILTIN / "rules.toml") in opened  # what is opened is seen
    assert not [path for path in opened if "evaluation" in path or "holdout" in path]
