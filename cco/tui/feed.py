# SPDX-License-Identifier: Apache-2.0
"""Asks the daemon in a thread of its own, so that nobody waits in front of the screen.

One round of questions at a time; whoever asks for another one while it runs gets one afterwards.
What the daemon says is the same as before costs a few bytes: each question is asked with the tag
of its last answer.

Threading: `ask`, `run` and `answers` belong to the screen's thread; answers come over a queue, and
`wake` is called, from the feed's threads, whenever there is something in it.
"""

import json
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple

from cco.client import Client, error_from
from cco.errors import CcoError, Unavailable


class Query(NamedTuple):
    """One question."""

    name: str
    """What the answer is known by."""
    target: str = ""
    """Path and parameters; empty for what does not come from the daemon."""
    read: Callable[[], object] | None = None
    """Asked instead of the daemon."""


class Answer(NamedTuple):
    """What came of a question, or of something that was to be done."""

    query: Query
    document: Any = None
    """None where it is as it was, or where there is an error."""
    error: CcoError | None = None


class Feed:
    """The questions and answers of one dashboard.

    Args:
        client: of the daemon.
        wake: called from other threads when there is an answer.
    """

    def __init__(self, client: Client, wake: Callable[[], None]) -> None:
        self._client = client
        self._wake = wake
        self._tags: dict[str, tuple[str, str]] = {}
        """Target and tag of the last answer to each question."""
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._changed = threading.Condition()
        self._wanted: Sequence[Query] | None = None
        self._is_closing = False
        self._busy = 0
        self._thread = threading.Thread(target=self._serve, name="feed", daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Say whether nothing is asked or done, and every answer was taken."""
        with self._changed:
            return not self._busy and self._wanted is None and self._answers.empty()

    def ask(self, queries: Sequence[Query]) -> None:
        """Have a round of questions answered."""
        with self._changed:
            self._wanted = tuple(queries)
            self._changed.notify_all()

    def run(self, name: str, action: Callable[[], object]) -> None:
        """Have something done that may take long, beside the questions."""
        with self._changed:
            self._busy += 1
        query = Query(name, read=action)
        threading.Thread(target=self._act, args=(query,), name=name, daemon=True).start()

    def answers(self) -> list[Answer]:
        """Return what has come since the last call."""
        found = []
        while not self._answers.empty():
            found.append(self._answers.get())
        return found

    def close(self) -> None:
        """End after the question that is being asked."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; say whether it has come."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and self.is_idle

    def _serve(self) -> None:
        while True:
            with self._changed:
                while self._wanted is None and not self._is_closing:
                    self._changed.wait()
                if self._is_closing:
                    return
                queries, self._wanted = self._wanted or (), None
                self._busy += 1
            is_away = False
            for query in queries:
                if self._is_over():
                    break
                # Who does not answer one question would keep us waiting for each.
                if not (is_away and query.target):
                    answer = self._answer(query)
                    is_away = is_away or _is_away(answer)
                    self._put(answer)
            with self._changed:
                self._busy -= 1
            self._wake()

    def _is_over(self) -> bool:
        with self._changed:
            return self._is_closing

    def _act(self, query: Query) -> None:
        self._put(self._answer(query))
        with self._changed:
            self._busy -= 1
        self._wake()

    def _put(self, answer: Answer) -> None:
        self._answers.put(answer)
        self._wake()

    def _answer(self, query: Query) -> Answer:
        try:
            if query.read is not None:
                return Answer(query, query.read())
            return Answer(query, self._fetch(query))
        except CcoError as error:
            return Answer(query, error=error)
        except Exception as error:  # noqa: BLE001 - the outermost edge of this thread
            told = f"{type(error).__name__}: {error}"
            return Answer(
                query, error=CcoError("dashboard-failed", told, hint="Report it as a bug")
            )

    def _fetch(self, query: Query) -> Any:
        """Return the answer; None if it is the one before."""
        target, tag = self._tags.get(query.name, ("", ""))
        headers = {"If-None-Match": tag} if tag and target == query.target else {}
        reply = self._client.request("GET", query.target, headers=headers)
        if reply.status == 304:
            return None
        # /health says 503 and how it is.
        if reply.status >= 400 and not (reply.status == 503 and query.name == "health"):
            raise error_from(reply)
        document = json.loads(reply.body)
        self._tags[query.name] = (query.target, reply.headers.get("etag", ""))
        return document


def _is_away(answer: Answer) -> bool:
    return isinstance(answer.error, Unavailable) and answer.error.code.startswith("daemon-")
