# SPDX-License-Identifier: Apache-2.0
"""Runs one agent on one task: a single text completion through the gateway.

The agent has no tools here, and its instructions say so. What it costs is recorded like any other
request, under its name. Time and money of an invocation are bounded by ``[agents]``.

Threading: an `Invoker` is everybody's.
"""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from cco.config import Settings
from cco.errors import CcoError, RequestError, UpstreamTimeout
from cco.gateway.call import Answer, Attribution, Call, SessionRef
from cco.gateway.copying import GOOD_REASONS
from cco.gateway.errors import AnswerCut
from cco.gateway.headers import first, index
from cco.gateway.proxy import CLIENT_GONE, Gateway
from cco.gateway.transport import AbandonedError
from cco.ledger.prices import Prices
from cco.ledger.usage import Usage
from cco.orchestration.load import Load
from cco.orchestration.prompt import Invocation, affordable_tokens, compose
from cco.orchestration.reply import cut_off, refusal
from cco.orchestration.running import Run
from cco.orchestration.slots import Slots

log = logging.getLogger(__name__)

API_VERSION: Final = "2023-06-01"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and how."""

    api_key: str
    """Used where the upstream has no credential of its own; may be empty."""
    request_id: str
    """Name of the ledger's row."""
    session: SessionRef | None = None
    """Whose cost it is, and whose upstream is asked."""
    client_fd: int | None = None
    """The caller's socket; when it hangs up, all that was begun is ended."""
    is_fresh: bool = False
    """Ask in any case, also what was answered before."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """What agents share by way of the project's knowledge."""

    remembered: Callable[[str, str], str]
    """Takes project and task, returns what is known about it as text; empty for nothing."""
    learned: Callable[[str, str, str, str], None]
    """Takes project, agent, task and the agent's answer."""


class Invoker:
    """Asks agents.

    Args:
        settings: models, limits and upstreams.
        gateway: requests go through it.
        prices: for the money in the answer; the same as the ledger's.
        slots: the turns of all callers, configured; they outlive the settings.
        sharing: what agents share; None for nothing.
        now_ns: the clock, Unix time in nanoseconds.
        load: told of the invocations under way.
        monotonic: the gateway's clock.
    """

    def __init__(
        self,
        settings: Settings,
        gateway: Gateway,
        prices: Prices,
        *,
        slots: Slots,
        now_ns: Callable[[], int],
        load: Load,
        sharing: Sharing | None = None,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._settings = settings
        self._gateway = gateway
        self._prices = prices
        self._slots = slots
        self._sharing = sharing
        self._now_ns = now_ns
        self._load = load
        self._monotonic = monotonic

    def invoke(self, asked: Invocation, caller: Caller) -> dict[str, Any]:
        """Return the agent's answer as `POST /api/agent/invoke` gives it.

        What was asked before, or is being asked, is not asked again: the answer that there is
        costs nothing, so no usage is told with it.

        Raises:
            RequestError, UpstreamError, AbandonedError: see `begin` and `Run`.
        """
        run = self.begin(asked, caller)
        try:
            for _ in run:
                pass
        finally:
            run.close()
        return run.result

    def begin(self, asked: Invocation, caller: Caller) -> Run:
        """Wait for a turn and ask; return when the answer has begun.

        Raises:
            RequestError: there is no credential, money or turn to ask with.
            BudgetExceeded: a budget is spent.
            UpstreamError: the provider refused or did not answer.
            AbandonedError: the caller has hung up.
        """
        if not caller.api_key and not self._gateway.has_credential(caller.session):
            raise RequestError(
                "no-credential",
                "there is no API key to ask the model provider with",
                hint="Set ANTHROPIC_API_KEY, or credential in [[upstream]]",
            )
        limits = self._settings.agents
        began_ns, deadline = self._now_ns(), self._monotonic() + limits.invoke_timeout_s
        call = self._call(asked, caller, deadline=deadline)
        with ExitStack() as held:
            turn = self._slots.turn(
                party=(caller.session and caller.session.id) or caller.request_id,
                timeout_s=min(limits.queue_timeout_s, limits.invoke_timeout_s),
                client_fd=caller.client_fd,
            )
            held.enter_context(turn)
            held.enter_context(self._load.running(asked.agent.name))
            answer = self._gateway.forward(call)
            held.callback(answer.close)
            if answer.status != 200:
                raise self._refusal(answer, deadline)
            return Run(
                answer,
                tell=lambda run: self._result(asked, call, run, began_ns=began_ns),
                held=held.pop_all(),
                late=lambda: self._late(deadline),
                client_fd=caller.client_fd,
            )

    def _call(self, asked: Invocation, caller: Caller, *, deadline: float) -> Call:
        """Return the request; its answer may be no longer than the money allows.

        Raises:
            RequestError: not even the question can be paid for.
        """
        model = self._settings.models[asked.agent.model]
        remembered = self._remembered(asked, caller)
        body = compose(asked, model=model, max_tokens=asked.max_tokens, remembered=remembered)
        affordable = affordable_tokens(
            self._prices,
            model,
            body_bytes=len(body),
            max_usd=self._settings.agents.invoke_max_usd,
        )
        if affordable is not None and affordable < asked.max_tokens:
            body = compose(asked, model=model, max_tokens=affordable, remembered=remembered)
        headers = [("content-type", "application/json"), ("anthropic-version", API_VERSION)]
        headers += [("x-api-key", caller.api_key)] if caller.api_key else []
        headers += [("cache-control", "no-cache")] if caller.is_fresh else []
        return Call(
            method="POST",
            target="/v1/messages",
            headers=headers,
            body=body,
            request_id=caller.request_id,
            started_ns=self._now_ns(),
            session=caller.session,
            agent=Attribution(agent=asked.agent.name),
            client_fd=caller.client_fd,
            reuse=True,
            same_as=self._same_as(asked, caller, model),
            deadline=deadline,
        )

    def _same_as(self, asked: Invocation, caller: Caller, model: str) -> bytes:
        """Return what requests that have one answer have in common.

        Of what the project remembers that is the project: each answer adds to it, and no question
        would ever be the same again.
        """
        project = caller.session.project if caller.session and self._sharing else ""
        return compose(asked, model=model, max_tokens=asked.max_tokens, project=project)

    def _result(self, asked: Invocation, call: Call, run: Run, *, began_ns: int) -> dict[str, Any]:
        model, reply = self._settings.models[asked.agent.model], run.reply
        usage = Usage() if run.is_cached else reply.usage
        _, cost_nano = self._prices.charge(asked=model, answered=reply.model, usage=usage)
        cost_nano = 0 if run.is_cached else cost_nano
        if not run.is_cached and reply.stop_reason in GOOD_REASONS:
            self._learn(asked, call, reply.text)
        return {
            "agent": asked.agent.name,
            **({"reason": asked.reason} if asked.reason else {}),
            "model": reply.model or model,
            "response": reply.text,
            "stopReason": reply.stop_reason,
            "cached": run.is_cached,
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
            "requestId": call.request_id,
        }

    def _refusal(self, answer: Answer, deadline: float) -> Exception:
        """Return what to raise for an answer that is none."""
        if (late := self._late(deadline)) is not None:
            return late
        if answer.status == CLIENT_GONE:
            return AbandonedError()
        try:
            data = b"".join(answer.body)
        except AnswerCut:
            return cut_off()
        return refusal(answer.status, data, code=first(index(answer.headers), "x-cco-error"))

    def _late(self, deadline: float) -> CcoError | None:
        if self._monotonic() < deadline:
            return None
        return UpstreamTimeout(
            "invoke-timeout",
            f"the agent was not done after {self._settings.agents.invoke_timeout_s:g} seconds",
            hint="Raise [agents] invoke_timeout_s, or give it a smaller task",
        )

    def _remembered(self, asked: Invocation, caller: Caller) -> str:
        if self._sharing is None or caller.session is None:
            return ""
        try:
            return self._sharing.remembered(caller.session.project, asked.task)
        except CcoError as error:  # an agent can work without
            log.warning("nothing is remembered for %s: %s", asked.agent.name, error.message)
            return ""

    def _learn(self, asked: Invocation, call: Call, text: str) -> None:
        if self._sharing is None or call.session is None or not text.strip():
            return
        try:
            self._sharing.learned(call.session.project, asked.agent.name, asked.task, text)
        except CcoError as error:  # the answer is there
            log.warning("what %s found is not kept: %s", asked.agent.name, error.message)
