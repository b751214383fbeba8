# SPDX-License-Identifier: Apache-2.0
"""One invocation under way: the agent's answer, piece by piece.

Threading: one thread at a time reads a `Run`; `close` may be called by any.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

from cco.errors import CcoError, UpstreamError
from cco.gateway.call import Answer
from cco.gateway.errors import AnswerCut
from cco.gateway.headers import first, index
from cco.gateway.reuse import State
from cco.gateway.transport import AbandonedError, has_hung_up
from cco.orchestration.reply import Reply, cut_off


class Run:
    """An iterator of the answer's text.

    An item may be empty, as those of `Body` may. Whoever iterates must call `close` in the end.

    Args:
        answer: of the gateway, with status 200.
        tell: makes the result of it, once it is whole.
        held: what is let go of with it.
        late: returns the error of an invocation that took too long, None in time.
        client_fd: the caller's socket.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        tell: Callable[["Run"], dict[str, Any]],
        held: ExitStack,
        late: Callable[[], CcoError | None],
        client_fd: int | None,
    ) -> None:
        named = index(answer.headers)
        self.cache: Final = first(named, "x-cco-cache")
        """What became of it in the response cache."""
        self.result: dict[str, Any] = {}
        """The answer as `Invoker.invoke` returns it; empty before the end."""
        self.reply: Final = Reply(first(named, "content-type"))
        self._answer = answer
        self._tell = tell
        self._held = held
        self._late = late
        self._client_fd = client_fd
        self._closing = threading.Lock()
        self._timer: threading.Timer | None = None

    @property
    def is_cached(self) -> bool:
        """Another request has paid for the answer."""
        return self.cache in (State.HIT, State.COALESCED)

    def __iter__(self) -> Iterator[str]:
        """Return itself."""
        return self

    def __next__(self) -> str:
        """Return the next piece.

        Raises:
            StopIteration: the answer is whole, and `result` is there.
            UpstreamError: it broke off, or took too long.
            AbandonedError: the caller has hung up.
        """
        if self.result:
            raise StopIteration
        try:
            data = next(self._answer.body, None)
            text = self.reply.finish() if data is None else self.reply.feed(data)
        except AnswerCut as exc:
            if has_hung_up(self._client_fd):
                raise AbandonedError from exc
            raise self._late() or cut_off() from exc
        except UpstreamError as exc:
            if (late := self._late()) is not None:
                raise late from exc
            raise
        if data is None:
            self.result = self._tell(self)
        elif (late := self._late()) is not None:
            raise late
        return text

    def close_after(self, seconds: float) -> None:
        """Close it then at the latest, also if its caller has stopped reading and stays."""
        self._timer = threading.Timer(seconds, self.close)
        self._timer.daemon = True
        self._timer.start()

    def close(self) -> None:
        """Give up what has not arrived, and make room for the next one."""
        if self._timer is not None:
            self._timer.cancel()
        with self._closing:
            self._held.close()
