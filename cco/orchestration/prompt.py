# SPDX-License-Identifier: Apache-2.0
"""The request that asks an agent, and what it may cost; pure.

::

    system   the agent's instructions      always the same: a cache breakpoint behind them
    user     the context                   often the same: another one behind it
             what the project remembers    chosen for the task
             the task

The provider's prompt cache keeps what stands before a breakpoint, so what changes least stands
first. There are four breakpoints to a request; two are used.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from cco.catalog.definition import Agent
from cco.errors import RequestError
from cco.ledger.prices import Prices
from cco.ledger.usage import Usage

DEFAULT_MAX_TOKENS: Final = 8192
MAX_TASK_CHARS: Final = 400_000
TEXT_ONLY: Final = (
    "\n\nYou answer in one message and have no tools here: you cannot read files, run commands or"
    " call other agents. Work from what the message holds, and say what you would have to look at"
    " or run to be certain."
)

_CACHED: Final = {"cache_control": {"type": "ephemeral"}}
_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Invocation:
    """What is asked."""

    agent: Agent
    task: str
    context: str = ""
    max_tokens: int = DEFAULT_MAX_TOKENS
    reason: str = ""
    """Why this agent; empty where the caller named it."""


def check(task: str, context: str) -> None:
    """Refuse what no agent can work on.

    Raises:
        RequestError: the task is empty, or it and its context are too long or no text.
    """
    if not task.strip():
        raise RequestError("empty-task", "the task is empty", hint="Say what the agent is to do")
    if len(task) + len(context) > MAX_TASK_CHARS:
        raise RequestError(
            "task-too-large",
            f"task and context are longer than {MAX_TASK_CHARS} characters",
            hint="Give the agent only what it needs",
        )
    for name, text in (("task", task), ("context", context)):
        if "\0" in text:
            raise RequestError(
                "binary-text",
                f"the {name} is no text, it holds zero bytes",
                hint="Give text, not the content of a binary file",
            )


def compose(
    asked: Invocation, *, model: str, max_tokens: int, remembered: str = "", **more: object
) -> bytes:
    """Return the body of the request.

    Args:
        asked: agent, task and context.
        model: as the provider names it.
        max_tokens: of the answer.
        remembered: what the project knows about the task.
        more: further members.
    """
    content = [{"type": "text", "text": asked.task}]
    if remembered:
        content.insert(0, _block(f"<knowledge>\n{remembered}\n</knowledge>"))
    if asked.context:
        content.insert(0, _block(f"<context>\n{asked.context}\n</context>") | _CACHED)
    request = {
        "model": model,
        "max_tokens": max_tokens,
        "stream": True,
        "system": [_block(asked.agent.body + TEXT_ONLY) | _CACHED],
        "messages": [{"role": "user", "content": content}],
        **more,
    }
    return json.dumps(request, ensure_ascii=False).encode()


def affordable_tokens(prices: Prices, model: str, *, body_bytes: int, max_usd: float) -> int | None:
    """Return how long an answer may become at most for a request to cost no more than `max_usd`.

    The request is taken for as dear as it can be: every byte a token, all of them written to the
    prompt cache. None: the model has no price, so nothing can be said.

    Raises:
        RequestError: not even the question can be paid for (``invoke-too-dear``).
    """
    limit_nano = round(max_usd * 1e9)
    question = prices.cost(model, Usage(cache_write_5m=body_bytes))
    both = prices.cost(model, Usage(cache_write_5m=body_bytes, output=_MILLION))
    if question is None or both is None:
        return None
    if both == question:
        return _MILLION
    found = (limit_nano - question) * _MILLION // (both - question)
    if found < 1:
        raise RequestError(
            "invoke-too-dear",
            f"the question alone may cost ${question / 1e9:.6f}, and [agents] invoke_max_usd"
            f" allows ${max_usd:.6f}",
            hint="Raise it in the settings and run 'cco daemon reload', or give less context",
        )
    return found


def _block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
