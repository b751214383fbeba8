# SPDX-License-Identifier: Apache-2.0
"""Runs one agent on one task: a single text completion through the gateway.

The agent has no tools here, and its instructions say so. What it costs is recorded like any other
request, under its name.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cco.catalog.definition import Agent
from cco.config import Settings
from cco.errors import (
    BudgetExceeded,
    CcoError,
    Denied,
    RequestError,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from cco.gateway.call import Attribution, Call, SessionRef
from cco.gateway.errors import AnswerCut
from cco.gateway.headers import Fields, first, index
from cco.gateway.proxy import Gateway
from cco.gateway.reuse import State
from cco.ledger.prices import Prices
from cco.ledger.usage import Usage
from cco.orchestration.load import Load
from cco.orchestration.slots import Slots

API_VERSION: Final = "2023-06-01"
DEFAULT_MAX_TOKENS: Final = 8192
MAX_TASK_CHARS: Final = 400_000
TEXT_ONLY: Final = (
    "\n\nYou answer in one message and have no tools here: you cannot read files, run commands or"
    " call other agents. Work from what the message holds, and say what you would have to look at"
    " or run to be certain."
)


@dataclass(frozen=True, slots=True)
class Invocation:
    """What is asked."""

    agent: Agent
    task: str
    context: str = ""
    max_tokens: int = DEFAULT_MAX_TOKENS


class Invoker:
    """Asks agents.

    Args:
        settings: models, limits and upstreams.
        gateway: requests go through it.
        prices: for the money in the answer; the same as the ledger's.
        now_ns: the clock, Unix time in nanoseconds.
        load: told of the invocations under way.
    """

    def __init__(
        self,
        settings: Settings,
        gateway: Gateway,
        prices: Prices,
        *,
        now_ns: Callable[[], int],
        load: Load,
    ) -> None:
        self._settings = settings
        self._gateway = gateway
        self._prices = prices
        self._now_ns = now_ns
        self._load = load
        limits = settings.agents
        self._slots = Slots(limits.max_concurrent, timeout_s=limits.queue_timeout_s)

    def invoke(
        self,
        asked: Invocation,
        *,
        api_key: str,
        request_id: str,
        session: SessionRef | None = None,
        is_fresh: bool = False,
    ) -> dict[str, Any]:
        """Return the agent's answer as `POST /api/agent/invoke` gives it.

        What was asked before, or is being asked, is not asked again: the answer that there is
        costs nothing, so no usage is told with it.

        Args:
            asked: agent, task and context.
            api_key: the caller's, used where the upstream has no credential of its own.
            request_id: name of the ledger's row.
            session: whose cost it is, and whose upstream is asked.
            is_fresh: ask in any case.

        Raises:
            RequestError: the task is empty or too long, there is no credential, or all turns are
                taken.
            UpstreamError: the provider refused or did not answer.
        """
        _check(asked)
        if not api_key and not self._gateway.has_credential(session):
            raise RequestError(
                "no-credential",
                "there is no API key to ask the model provider with",
                hint="Set ANTHROPIC_API_KEY, or credential in [[upstream]]",
            )
        headers = [("content-type", "application/json"), ("anthropic-version", API_VERSION)]
        if api_key:
            headers.append(("x-api-key", api_key))
        if is_fresh:
            headers.append(("cache-control", "no-cache"))
        with self._slots.turn(), self._load.running(asked.agent.name):
            return self._ask(asked, headers=headers, request_id=request_id, session=session)

    def _ask(
        self, asked: Invocation, *, headers: Fields, request_id: str, session: SessionRef | None
    ) -> dict[str, Any]:
        model = self._settings.models[asked.agent.model]
        began_ns = self._now_ns()
        answer = self._gateway.forward(
            Call(
                method="POST",
                target="/v1/messages",
                headers=headers,
                body=_body(asked, model=model),
                request_id=request_id,
                started_ns=began_ns,
                session=session,
                agent=Attribution(agent=asked.agent.name),
                reuse=True,
            )
        )
        try:
            data = b"".join(answer.body)
        except AnswerCut as exc:
            raise UpstreamError("upstream-broken", "the provider's answer broke off") from exc
        finally:
            answer.close()
        told = _decode(data, status=answer.status)
        is_cached = first(index(answer.headers), "x-cco-cache") in (State.HIT, State.COALESCED)
        usage = Usage() if is_cached else Usage.from_mapping(told.get("usage"))
        cost_nano = 0 if is_cached else self._prices.cost(model, usage)
        return {
            "agent": asked.agent.name,
            "model": str(told.get("model", model)),
            "response": _text(told),
            "stopReason": told.get("stop_reason"),
            "cached": is_cached,
            "usage": {
                "input": usage.input,
                "output": usage.output,
                "cacheRead": usage.cache_read,
                "cacheWrite5m": usage.cache_write_5m,
                "cacheWrite1h": usage.cache_write_1h,
                "total": usage.total,
            },
            "costUsd": None if cost_nano is None else cost_nano / 1e9,
            "latencyMs": round((self._now_ns() - began_ns) / 1e6, 3),
            "requestId": request_id,
        }


def _check(asked: Invocation) -> None:
    if not asked.task.strip():
        raise RequestError("empty-task", "the task is empty", hint="Say what the agent is to do")
    if len(asked.task) + len(asked.context) > MAX_TASK_CHARS:
        raise RequestError(
            "task-too-large",
            f"task and context are longer than {MAX_TASK_CHARS} characters",
            hint="Give the agent only what it needs",
        )


def _body(asked: Invocation, *, model: str) -> bytes:
    """Return the request: the agent's text first, which never changes, then what does."""
    parts = [f"<context>\n{asked.context}\n</context>"] if asked.context else []
    request = {
        "model": model,
        "max_tokens": asked.max_tokens,
        "system": [
            {
                "type": "text",
                "text": asked.agent.body + TEXT_ONLY,
                "cache_control": {"type": "ephemeral"},
            }
        ],
        "messages": [{"role": "user", "content": "\n\n".join([*parts, asked.task])}],
    }
    return json.dumps(request, ensure_ascii=False).encode()


def _decode(data: bytes, *, status: int) -> Mapping[str, Any]:
    """Return the provider's answer.

    Raises:
        CcoError: it is a refusal, ours or the provider's, or no JSON object.
    """
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        told = None
    if status == 200 and isinstance(told, dict):
        return told
    error = told.get("error") if isinstance(told, dict) else None
    words = str(error.get("message", "")) if isinstance(error, dict) else ""
    raise _refusal(status, words or f"the provider answered {status} without a reason")


def _refusal(status: int, words: str) -> CcoError:
    words = words.removeprefix("CCO: ").rstrip(".")  # how the gateway begins its own
    if status == 402:
        return BudgetExceeded("budget-spent", words)
    if status == 401:
        return Denied("bad-credential", words, hint="Check the API key")
    if status == 502:
        return UpstreamRefused("upstream-refused", words)
    if status == 504:
        return UpstreamTimeout("upstream-timeout", words)
    return UpstreamError("upstream-error", f"the provider answered {status}: {words}")


def _text(told: Mapping[str, Any]) -> str:
    blocks = told.get("content")
    return "".join(
        str(block.get("text", ""))
        for block in (blocks if isinstance(blocks, list) else [])
        if isinstance(block, dict) and block.get("type") == "text"
    )
