# SPDX-License-Identifier: Apache-2.0
"""A gateway with budgets between a test and servers of its making, and the ways requests end."""

import contextlib
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cco import config
from cco.config import Budget
from cco.gateway.call import Answer, SessionRef
from cco.gateway.proxy import Gateway
from cco.gateway.reuse import Reuse
from cco.ledger.budgets import Budgets
from cco.ledger.prices import Prices
from cco.ledger.store import Store
from tests.forwarding import ANSWER, CHUNKED, JSON, SSE, STREAM, make_call, refusing, streamed
from tests.rawserver import RawServer, Received, Script, always, chunk, reply, serving

NOON: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
DEADLINE_S: Final = 60
SESSION: Final = SessionRef("launch", "/project")
SCOPES: Final = ("day", "project", "session")


@dataclass
class Spending:
    """A gateway with budgets, between a test and servers of its making."""

    gateway: Gateway
    budgets: Budgets
    store: Store
    servers: Sequence[RawServer]

    def ask(self, **changes: Any) -> Answer:
        return self.gateway.forward(make_call(**{"session": SESSION, **changes}))

    def spent(self) -> list[int]:
        return [state.spent_nano for state in self.budgets.states()]

    def reserved(self) -> list[int]:
        return [state.reserved_nano for state in self.budgets.states()]

    def booked(self) -> int:
        """Return the sum of what the rows cost."""
        with self.store.reading() as connection:
            [cost] = connection.execute("SELECT sum(cost_nano) FROM requests").fetchone()
        return int(cost or 0)


@contextmanager
def spending(
    directory: Path,
    *scripts: Script,
    budgets: Sequence[Budget] = tuple(Budget(scope=scope, usd=50.0) for scope in SCOPES),
    messages: str = "retry",
    **upstream: Any,
) -> Iterator[Spending]:
    """Run servers, and a gateway that may spend so much in front of them."""
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(script)) for script in scripts]
        store = stack.enter_context(Store.open(directory / "ledger.db"))
        kept = Budgets(store, now=lambda: NOON, wait_s=DEADLINE_S)
        kept.configure(budgets, Prices.load())
        gateway = Gateway(
            [
                config.Upstream(**{"name": f"up{n}", "base_url": server.url, **upstream})
                for n, server in enumerate(servers)
            ],
            store=store,
            prices=Prices.load(),
            environ={},
            budgets=kept,
            reuse=Reuse(config.Cache(messages=messages), monotonic=lambda: 0.0),
        )
        stack.callback(gateway.close)
        yield Spending(gateway, kept, store, servers)


def cut(data: bytes) -> Script:
    """Send bytes and break the connection off."""

    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(data)
        return False

    return script


def silent(data: bytes = b"") -> Script:
    """Send bytes, and nothing more as long as anybody listens."""

    def script(_: Received, sock: socket.socket) -> bool:
        sock.sendall(data)
        with contextlib.suppress(OSError):
            sock.recv(1)
        return False

    return script


HEAD: Final = reply("200 OK", SSE, CHUNKED, length=False)
HALF: Final = HEAD + chunk(STREAM[: len(STREAM) // 2])
USED: Final = STREAM[: STREAM.index(b"\n\n") + 2]

WAYS: Final[dict[str, Script]] = {
    "streamed": always(streamed(STREAM)),
    "in one piece": always(reply("200 OK", JSON, body=ANSWER)),
    "without a body": always(reply("200 OK", JSON)),
    "no usage in it": always(reply("200 OK", JSON, body=b'{"type":"message"}')),
    "html": always(reply("200 OK", "Content-Type: text/html", body=b"<p>")),
    "refused": refusing(400),
    "overloaded": refusing(529),
    "limited": refusing(429, "retry-after: 9"),
    "failed": refusing(500),
    "error event": always(streamed(b"event: error\ndata: {}\n\n")),
    "cut before the head": cut(b""),
    "cut in the head": cut(b"HTTP/1.1 200"),
    "no head at all": cut(b"hello\r\n\r\n"),
    "cut after the head": cut(HEAD),
    "cut in the body": cut(HALF),
    "cut after usage": cut(HEAD + chunk(USED)),
    "silent": silent(),
    "silent after the head": silent(HEAD),
    "silent in the body": silent(HALF),
}
