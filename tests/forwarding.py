# SPDX-License-Identifier: Apache-2.0
"""A gateway between a test and a server of its making, with a real ledger."""

import itertools
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from cco import config
from cco.gateway.call import Answer, Attribution, Call
from cco.gateway.proxy import Gateway
from cco.gateway.reuse import Reuse
from cco.ledger.prices import Prices
from cco.ledger.store import Store
from tests.capabilities import ROOT
from tests.rawserver import RawServer, Script, always, chunk, reply, serving

MODEL: Final = "claude-opus-4-8"
BODY: Final = b'{"model":"%s","max_tokens":9,"messages":[]}' % MODEL.encode()
STREAM: Final = (ROOT / "tests/data/sse/001.sse").read_bytes()
"""A plain answer: 25 tokens in, 15 out, 3000 from the cache."""
STREAM_COST_NANO: Final = 25 * 5000 + 15 * 25000 + 3000 * 500
ANSWER: Final = (
    b'{"type":"message","model":"%s","content":[],"stop_reason":"end_turn",'
    b'"usage":{"input_tokens":10,"output_tokens":4}}' % MODEL.encode()
)
ANSWER_COST_NANO: Final = 10 * 5000 + 4 * 25000
REFUSAL: Final = b'{"type":"error","error":{"type":"overloaded_error","message":"no"}}'
SSE: Final = "Content-Type: text/event-stream"
CHUNKED: Final = "Transfer-Encoding: chunked"
JSON: Final = "Content-Type: application/json"

_numbers = itertools.count(1)


def make_call(**overrides: Any) -> Call:
    """Return a Messages request with a fresh id."""
    given: dict[str, Any] = {
        "method": "POST",
        "target": "/v1/messages?beta=true",
        "headers": [("content-type", "application/json"), ("x-api-key", "k")],
        "body": BODY,
        "request_id": f"cco_{next(_numbers)}",
        "started_ns": 1,
    }
    return Call(**{**given, **overrides})


def make_turn(session: int, **overrides: Any) -> Call:
    """Return a request of a client's session."""
    attribution = Attribution(client_session=f"session-{session}")
    return make_call(**{"agent": attribution, **overrides})


def refusing(status: int, *fields: str) -> Script:
    """Return a script that refuses everything with one status."""
    return always(reply(f"{status} Refused", JSON, *fields, body=REFUSAL))


def streamed(data: bytes) -> bytes:
    """Return a whole event stream as an upstream sends it."""
    return reply("200 OK", SSE, CHUNKED, length=False) + chunk(data) + chunk(b"")


def read(answer: Answer) -> bytes:
    """Return the whole body and close the answer."""
    try:
        return b"".join(answer.body)
    finally:
        answer.close()


@dataclass(frozen=True)
class Forwarding:
    """What `forwarding` gives."""

    gateway: Gateway
    server: RawServer
    store: Store
    servers: Mapping[str, RawServer] = field(default_factory=dict)
    """All of them by the names of their upstreams, where there are several."""

    def rows(self) -> list[dict[str, Any]]:
        """Return the ledger's rows in the order of recording."""
        with self.store.reading() as connection:
            cursor = connection.execute("SELECT * FROM requests ORDER BY id")
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def row(self) -> dict[str, Any]:
        """Return the only row."""
        (only,) = self.rows()
        return only

    def asked(self) -> dict[str, int]:
        """Return how many requests each of several servers has received."""
        return {name: len(server.received) for name, server in self.servers.items()}

    def get(self, call: Call | None = None) -> tuple[Answer, bytes]:
        """Forward one request and read its answer to the end."""
        answer = self.gateway.forward(call or make_call())
        return answer, read(answer)


@contextmanager
def forwarding(
    script: Script,
    directory: Path,
    *,
    tls: ssl.SSLContext | None = None,
    environ: Mapping[str, str] | None = None,
    reuse: Reuse | None = None,
    **upstream: Any,
) -> Iterator[Forwarding]:
    """Run a server and a gateway in front of it.

    Args:
        script: what the server answers.
        directory: where the ledger lies.
        tls: makes it an https server.
        environ: of the gateway.
        reuse: the answers that it keeps; None keeps as the default settings say.
        upstream: settings other than the default ones.
    """
    with serving(script, tls=tls) as server, Store.open(directory / "ledger.db") as store:
        url = server.url.replace("http:", "https:") if tls else server.url
        settings = config.Upstream(**{"name": "up", "base_url": url, **upstream})
        gateway = Gateway(
            [settings],
            store=store,
            prices=Prices.load(),
            environ=dict(environ or {}),
            reuse=reuse,
        )
        try:
            yield Forwarding(gateway, server, store)
        finally:
            gateway.close()


@contextmanager
def spreading(
    scripts: Mapping[str, Script],
    directory: Path,
    *,
    keys: Mapping[str, str] | None = None,
    monotonic: Callable[[], float] = time.perf_counter,
    settings: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Iterator[Forwarding]:
    """Run several servers and a gateway in front of them.

    Args:
        scripts: what each server answers, by the name of its upstream; in the order of settings.
        directory: where the ledger lies.
        keys: in place of the client's own, by upstream.
        monotonic: the gateway's clock.
        settings: other than the default ones, by upstream.
    """
    with ExitStack() as stack:
        servers = {name: stack.enter_context(serving(script)) for name, script in scripts.items()}
        store = stack.enter_context(Store.open(directory / "ledger.db"))
        upstreams = [
            config.Upstream(**{"name": name, "base_url": server.url, **settings.get(name, {})})
            for name, server in servers.items()
        ]
        gateway = Gateway(
            upstreams,
            store=store,
            prices=Prices.load(),
            environ={},
            keys=keys or {},
            monotonic=monotonic,
            now_ns=lambda: 1_800_000_000_000_000_000,
        )
        stack.callback(gateway.close)
        yield Forwarding(gateway, next(iter(servers.values())), store, servers)
