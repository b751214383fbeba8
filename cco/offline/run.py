# SPDX-License-Identifier: Apache-2.0
"""One run of the offline upstream: its routes, and what it remembers between requests.

Remembered are the cached prefixes, how often messages that ask for ``times=`` have come, and the
usage reported; never a text. May be used from any thread. No sockets here.
"""

import hashlib
import re
import threading
from collections import Counter
from typing import Final
from urllib.parse import parse_qs

from cco.errors import RequestError
from cco.offline.answer import NOTICE, compose
from cco.offline.count import PrefixMemory, Usage, compact, total_tokens
from cco.offline.messages import Ask, Purpose, parse_request
from cco.offline.script import Script, is_counted, parse_script
from cco.offline.wire import Reply, document, error, reply

MODELS: Final = (
    "claude-opus-5-5",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-fable-5",
    "claude-opus-4-8",
    "claude-sonnet-5",
    "claude-sonnet-4-6",
    "claude-haiku-4-5-20251001",
)
"""What `GET /v1/models` lists; a request may name any model."""

_MAX_LISTED: Final = 1000


class Run:
    """Answers requests and keeps the account of one run.

    Args:
        mark: part of every id, so that the ids of two runs differ.
    """

    def __init__(self, *, mark: str) -> None:
        self._mark = mark
        self._memory = PrefixMemory()
        self._lock = threading.Lock()
        self._attempts: Counter[bytes] = Counter()
        self._answered = 0
        self._usage: dict[str, Usage] = {}

    @property
    def usage(self) -> dict[str, Usage]:
        """Usage by requested model of every answer begun, as far as its reply reports it."""
        with self._lock:
            return dict(self._usage)

    def refuse(self, status: int, message: str) -> Reply:
        """Plan an error reply."""
        return error(status, message, request_id=self._next_id())

    def handle(self, method: str, target: str, body: bytes) -> Reply:
        """Answer a request.

        Args:
            method: the HTTP method.
            target: path and query.
            body: all of it.
        """
        path, _, query = target.partition("?")
        try:
            match method, path:
                case "GET" | "HEAD", "/":
                    return document(200, {"name": "CCO offline upstream", "notice": NOTICE})
                case "GET", "/v1/models":
                    return document(200, _models(query))
                case "POST", "/v1/messages":
                    return self._messages(parse_request(body))
                case "POST", "/v1/messages/count_tokens":
                    ask = parse_request(body, counting=True)
                    return document(200, {"input_tokens": total_tokens(ask.body)})
                case _:
                    return self.refuse(404, f"{NOTICE} There is nothing at {method} {path}")
        except RequestError as exc:
            return self.refuse(400, exc.message)

    def _messages(self, ask: Ask) -> Reply:
        ident = self._next_id()
        script = self._script(ask)
        answer = compose(ask, script, mark=ident.removeprefix("req_offline_"))
        if script.status is not None or script.html:
            return reply(ask, script, answer, Usage(), request_id=ident)
        planned = reply(ask, script, answer, self._memory.count(ask.body), request_id=ident)
        with self._lock:
            self._usage[ask.model] = self._usage.get(ask.model, Usage()) + planned.usage
        return planned

    def _script(self, ask: Ask) -> Script:
        """Read the directives; they hold for a prompt, not for what the client asks by itself."""
        if ask.purpose is not Purpose.PROMPT:
            return Script()
        attempt = 1
        if is_counted(ask.prompt):
            key = hashlib.sha256(compact(ask.body["messages"])).digest()
            with self._lock:
                self._attempts[key] += 1
                attempt = self._attempts[key]
        return parse_script(ask.prompt, attempt=attempt)

    def _next_id(self) -> str:
        with self._lock:
            self._answered += 1
            return f"req_offline_{self._mark}_{self._answered:06d}"


def _models(query: str) -> dict[str, object]:
    """Return the models behind `after_id`, as many as `limit` allows."""
    asked = parse_qs(query)
    word = asked.get("limit", ["20"])[-1]
    if not (re.fullmatch("[0-9]{1,4}", word) and 1 <= int(word) <= _MAX_LISTED):
        raise RequestError("offline-request", f"limit: a whole number from 1 to {_MAX_LISTED}")
    after = asked.get("after_id", [""])[-1]
    if after and after not in MODELS:
        raise RequestError("offline-request", "after_id: the id of a model of this list")
    ahead = MODELS[MODELS.index(after) + 1 :] if after else MODELS
    listed = ahead[: int(word)]
    return {
        "data": [
            {
                "type": "model",
                "id": model,
                "display_name": f"{model} (offline)",
                "created_at": "1970-01-01T00:00:00Z",
            }
            for model in listed
        ],
        "has_more": len(listed) < len(ahead),
        "first_id": listed[0] if listed else None,
        "last_id": listed[-1] if listed else None,
    }
