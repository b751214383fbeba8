# SPDX-License-Identifier: Apache-2.0
"""``POST /api/agent/invoke``: one agent, one answer; or several, as they end.

Events of a stream::

    delta   {"text"}                             the next piece of the answer
    result  {"agent", …}                         the last: the members of the JSON answer
    error   {"error": {"code", …}}               instead: the answer broke off

Of a list each ``result`` has its ``index``, and in place of an answer its ``error`` if it failed;
a list with a malformed item is refused as a whole, before any is asked.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple, Self

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from cco.api import given
from cco.api.events import Event, error_of, stream
from cco.api.services import Services
from cco.catalog.definition import Agent
from cco.errors import CcoError, RequestError
from cco.gateway.call import SessionRef
from cco.gateway.proxy import CLIENT_GONE
from cco.gateway.transport import AbandonedError
from cco.orchestration.batch import Batch
from cco.orchestration.invoke import Caller
from cco.orchestration.prompt import DEFAULT_MAX_TOKENS, Invocation, check
from cco.orchestration.router import MAX_TASK as MAX_ROUTED
from cco.orchestration.router import Router
from cco.orchestration.running import Run

AUTO: Final = "auto"
"""In place of an agent's name: whoever fits the task best."""
MAX_MAX_TOKENS: Final = 1_000_000
"""More than any model gives."""
MAX_INVOCATIONS: Final = 50
"""Of one request."""


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("invoke", __name__, url_prefix="/api/agent")

    @routes.post("/invoke")
    def invoke() -> ResponseReturnValue:
        place = services.places.take()  # it may have to wait for its turn, in a thread
        try:
            response = _answer(services, given.payload(place.hold))
            response.call_on_close(place.release)
        except BaseException:
            place.release()
            raise
        return response

    return routes


def _answer(services: Services, told: dict[str, Any]) -> Response:
    caller = _caller(services, told)
    if "invocations" in told:
        return _several(services, told, caller)
    is_streamed = given.flag(told, "stream")
    asked = _Wanted.parse(told).invocation(services, _router(services))
    try:
        run = services.invoker.begin(asked, caller)
        if not is_streamed:
            return _whole(run)
        run.close_after(services.settings.agents.invoke_timeout_s)
        return _streamed(run)
    except AbandonedError:
        return Response(status=CLIENT_GONE)


def _router(services: Services) -> Router:
    """Return what chooses among the agents that the caller's session sees."""
    return services.team(given.session(services)).router


def _caller(services: Services, told: Mapping[str, Any]) -> Caller:
    return Caller(
        api_key=request.headers.get("x-api-key", ""),
        request_id=request.environ["cco.request_id"],
        session=_whose(services, told),
        client_fd=request.environ["gunicorn.socket"].fileno(),
        is_fresh="no-cache" in given.directives(),
    )


def _whose(services: Services, told: Mapping[str, Any]) -> SessionRef | None:
    """Return the session that is named, else the project."""
    project = given.project(given.text(told, "project")) if "project" in told else ""
    if session := given.session(services):
        return SessionRef(session.id, session.row.project, session.row.upstream)
    return SessionRef("", project) if project else None


class _Wanted(NamedTuple):
    """What a request asks for, of the right types and sizes."""

    agent: str
    task: str
    context: str
    max_tokens: int

    @classmethod
    def parse(cls, told: Mapping[str, Any]) -> Self:
        """Read a request.

        Raises:
            RequestError: a member is missing or wrong.
        """
        wanted = cls(
            agent=given.text(told, "agent"),
            task=given.text(told, "task"),
            context=_context(told),
            max_tokens=given.number(
                told, "maxTokens", DEFAULT_MAX_TOKENS, low=1, high=MAX_MAX_TOKENS
            ),
        )
        check(wanted.task, wanted.context)
        return wanted

    def invocation(self, services: Services, router: Router) -> Invocation:
        """Return it with the agent itself.

        Raises:
            RequestError: there is none of that name, or none for such a task.
        """
        agent, reason = self._choose(services, router)
        return Invocation(agent, self.task, self.context, self.max_tokens, reason)

    def _choose(self, services: Services, router: Router) -> tuple[Agent, str]:
        """Return the agent, and why it is this one where the caller left that to us."""
        if self.agent != AUTO:
            return services.catalog.find(self.agent), ""
        choices = router.route(self.task[:MAX_ROUTED], limit=1)
        if not choices:
            raise RequestError(
                "no-agent-fits",
                "no agent is known for such a task",
                hint="Name one yourself; list them with: cco agents",
            )
        return choices[0].agent, choices[0].reason


def _context(told: Mapping[str, Any]) -> str:
    context = told.get("context", "")
    if not isinstance(context, str | dict):
        raise RequestError("bad-member", "'context' must be a text or an object", hint=given.SEE)
    if isinstance(context, dict):
        context = json.dumps(context, ensure_ascii=False, indent=1) if context else ""
    return given.text({"context": context}, "context", "")


def _whole(run: Run) -> Response:
    """Return the whole answer as JSON."""
    try:
        for _ in run:
            pass
    finally:
        run.close()
    response = jsonify(run.result)
    response.headers["x-cco-cache"] = run.cache
    return response


def _streamed(run: Run) -> Response:
    """Return the answer as events; what has gone wrong before is no event but an answer."""

    def events() -> Iterator[Event | None]:
        try:
            for text in run:
                yield Event("delta", {"text": text}) if text else None
        except CcoError as error:
            yield Event("error", error_of(error))
        except AbandonedError:
            return
        else:
            yield Event("result", run.result)
        finally:
            run.close()  # not only when the client has taken it all

    response = stream(events(), close=run.close)
    response.headers["x-cco-cache"] = run.cache
    return response


def _several(services: Services, told: Mapping[str, Any], caller: Caller) -> Response:
    """Return the results of a list, as they end.

    Raises:
        RequestError: it is none, or too long.
    """
    items = told["invocations"]
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_INVOCATIONS:
        raise RequestError(
            "bad-member",
            f"'invocations' must be a list of 1 to {MAX_INVOCATIONS} invocations",
            hint=given.SEE,
        )
    wanted = [_parse_item(place, item) for place, item in enumerate(items)]
    invoker, router = services.invoker, _router(services)

    def invoke(place: int) -> dict[str, Any]:
        mine = replace(caller, request_id=f"{caller.request_id}-{place}")
        return invoker.invoke(wanted[place].invocation(services, router), mine)

    is_parallel = services.catalog.rules.parallel_execution
    batch = Batch(len(items), invoke, workers=services.slots.count if is_parallel else 1)

    def events() -> Iterator[Event | None]:
        yield None  # which tells that the list is accepted
        for place, outcome in batch:
            told = error_of(outcome) if isinstance(outcome, CcoError) else outcome
            yield Event("result", {"index": place, **told})

    return stream(events(), close=batch.close)


def _parse_item(place: int, item: object) -> _Wanted:
    """Read an item of a list; what is wrong with it is told with its place."""
    try:
        if not isinstance(item, dict):
            raise RequestError("bad-member", "it must be an object", hint=given.SEE)
        given.flag(item, "stream")
        return _Wanted.parse(item)
    except RequestError as error:
        message = f"invocations[{place}]: {error.message}"
        raise RequestError(error.code, message, hint=error.hint) from error
