# SPDX-License-Identifier: Apache-2.0
"""``GET /api/evaluation``: what agents are judged by, and about what it costs to judge them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from cco.api import given
from cco.api.services import Services
from cco.catalog import evaluation
from cco.catalog.catalog import CHARS_PER_TOKEN
from cco.catalog.definition import Agent
from cco.catalog.evaluation import Task
from cco.catalog.loader import BUILTIN
from cco.errors import NotFound
from cco.ledger.usage import Usage

FILE: Final[Path] = BUILTIN / "evaluation.toml"
JUDGE: Final = "llm-eval-engineer"
"""Of the sonnet tier, and knows how answers are graded."""
ANSWER_TOKENS: Final = 2_000
"""Length of an answer in the estimate; the judge reads it, and says little."""
VERDICT_TOKENS: Final = 200


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("evaluation", __name__, url_prefix="/api")

    @routes.get("/evaluation")
    def show() -> ResponseReturnValue:
        given.only_parameters("agent")
        tasks = _tasks(services, request.args.getlist("agent"))
        judge = services.catalog.find(JUDGE)
        costs = [_estimate(services, task, judge) for task in tasks]
        known = [cost for cost in costs if cost is not None]
        return jsonify(
            {
                "judge": judge.slug,
                "tasks": [
                    {
                        "agent": task.agent,
                        "task": task.task,
                        "mustContain": list(task.must_contain),
                    }
                    for task in tasks
                ],
                "calls": 2 * len(tasks),
                "estimatedUsd": sum(known) / 1e9 if len(known) == len(costs) else None,
            }
        )

    return routes


def _tasks(services: Services, names: Sequence[str]) -> list[Task]:
    """Return the tasks of some agents, of all for none.

    Raises:
        NotFound: there is no such agent, or no task for it.
    """
    slugs = [services.catalog.find(name).slug for name in names]
    found = {task.agent: task for task in evaluation.load(FILE)}
    for slug in slugs:
        if slug not in found:
            raise NotFound(
                "no-evaluation",
                f"there is no evaluation task for '{slug}'",
                hint="Only the agents that CCO ships have one",
            )
    return [found[slug] for slug in dict.fromkeys(slugs)] if slugs else list(found.values())


def _estimate(services: Services, task: Task, judge: Agent) -> int | None:
    """Return about what a task and its verdict cost, in nano-dollars; None without a price."""
    agent = services.catalog.find(task.agent)
    asked = len(agent.body) + len(task.task)
    judged = len(judge.body) + len(task.task) + sum(map(len, task.must_contain))
    costs = [
        services.prices.cost(
            services.settings.models[agent.model],
            Usage(input=asked // CHARS_PER_TOKEN, output=ANSWER_TOKENS),
        ),
        services.prices.cost(
            services.settings.models[judge.model],
            Usage(input=judged // CHARS_PER_TOKEN + ANSWER_TOKENS, output=VERDICT_TOKENS),
        ),
    ]
    known: list[Any] = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
