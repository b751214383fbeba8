# SPDX-License-Identifier: Apache-2.0
"""``/v1/…`` and ``HEAD /``, also under ``/s/<session id>``: Claude Code's own API, passed through.

The target goes upstream as the client wrote it, so it is taken from the request line, not from
the decoded path that WSGI offers.
"""

import errno
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import Headers

from cco.api import given, wire
from cco.api.errors import status_of
from cco.api.services import Services
from cco.errors import CcoError, RequestError, Unavailable
from cco.gateway.call import Answer, Attribution, Call, SessionRef
from cco.gateway.errors import AnswerCut
from cco.gateway.places import Place
from cco.log import tell_about

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PREFIX: Final = re.compile(r"^/s/[^/?]*")
METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Passed(Response):
    """An answer with nothing of the framework's own in its head."""

    default_mimetype = None
    autocorrect_location_header = False
    automatically_set_content_length = False

    def get_wsgi_headers(self, environ: "WSGIEnvironment") -> Headers:
        """Return the fields as they are; the framework would write URLs among them anew."""
        return self.headers

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer; what cannot be sent is given up, for nobody else would close it."""
        try:
            return super().__call__(environ, start_response)
        except BaseException:
            self.close()
            raise


def blueprint(services: Services) -> Blueprint:
    """Return the routes of this module."""
    routes = Blueprint("gateway", __name__)

    @routes.route("/", methods=["HEAD", "GET"])
    @routes.route("/s/<session_id>", methods=["HEAD", "GET"])
    @routes.route("/s/<session_id>/", methods=["HEAD", "GET"])
    def root(session_id: str | None = None) -> ResponseReturnValue:
        """Answer the client's probe for a connection; the upstream need not hear of it."""
        return Response("CCO\n", mimetype="text/plain")

    @routes.route("/v1/<path:rest>", methods=METHODS, provide_automatic_options=False)
    @routes.route(
        "/s/<session_id>/v1/<path:rest>", methods=METHODS, provide_automatic_options=False
    )
    def forward(rest: str, session_id: str | None = None) -> ResponseReturnValue:
        session = None if session_id is None else _session(services, session_id)
        target = request.environ["RAW_URI"]
        if session_id is not None:
            target = PREFIX.sub("", target, count=1)  # as written, which may not be as decoded
        headers = list(wire.current.headers)
        agent = _attribution(services, headers)
        if session is not None:
            tell_about(SESSION=session.id, PROJECT=session.project)
        tell_about(AGENT=agent.agent)
        call = Call(
            method=request.method,
            target=target,
            headers=headers,
            body=b"",
            request_id=request.environ["cco.request_id"],
            started_ns=time.time_ns(),
            session=session,
            agent=agent,
            client_fd=request.environ["gunicorn.socket"].fileno(),
        )
        try:
            place = services.places.take()  # first: a body may be long in coming
        except Unavailable as error:
            return _refused(services.gateway.refuse(call, error, status_of(error)))
        try:
            try:
                body = given.body(place.hold)
            except CcoError as error:
                place.release()
                return _refused(services.gateway.refuse(call, error, status_of(error)))
            call = replace(call, body=body, started_ns=time.time_ns())
            return _respond(services.gateway.forward(call), place)
        except BaseException:
            place.release()
            raise

    return routes


def _session(services: Services, session_id: str) -> SessionRef:
    """Return the session of a prefix.

    Raises:
        RequestError: it is not live; its requests must not go to a default upstream.
    """
    found = services.sessions.by_id(session_id)
    if found is None:
        raise RequestError(
            "unknown-session",
            f"session '{session_id[:64]}' is not known to this CCO",
            hint="Leave Claude Code and start it again with cco",
        )
    return SessionRef(found.id, found.row.project, found.row.upstream)


def _attribution(services: Services, headers: Sequence[tuple[str, str]]) -> Attribution:
    told = dict(headers)
    client_session = told.get("x-claude-code-session-id", "")
    agent_id = told.get("x-claude-code-agent-id", "")
    parent_id = told.get("x-claude-code-parent-agent-id", "")
    return Attribution(
        client_session=client_session,
        agent_id=agent_id,
        agent=services.runs.name(client_session, agent_id),
        parent_agent_id=parent_id,
        parent_agent=services.runs.name(client_session, parent_id) if agent_id else "",
    )


def _refused(answer: Answer) -> Response:
    response = Passed(answer.body, status=answer.status, headers=answer.headers)
    response.headers["Connection"] = "close"  # the body was not read
    return response


def _respond(answer: Answer, place: Place) -> Response:
    body = _Bytes(answer, place)
    response = Passed(body, status=f"{answer.status} {answer.reason}".strip())
    response.headers = Headers(list(answer.headers))
    response.direct_passthrough = True
    return response


class _Bytes:
    """The answer's bytes for WSGI; a cut upstream cuts the client's connection too."""

    def __init__(self, answer: Answer, place: Place) -> None:
        self._answer = answer
        self._place = place

    def close(self) -> None:
        """Give up what is left, and the place."""
        self._answer.close()
        self._place.release()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._answer.body)
        except AnswerCut as exc:
            # Gunicorn closes the connection without the end mark, and logs nothing.
            raise ConnectionResetError(errno.ECONNRESET, str(exc)) from exc
