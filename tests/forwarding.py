# SPDX-License-Identifier: Apache-2.0
"""A gateway between a test and a server of its making, with a real ledger."""

import itertools
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cco import config
from cco.gateway.call import Answer, Call
from cco.gateway.proxy import Gateway
from cco.ledger.prices import Prices
from cco.ledger.store import Store
from tests.capabilities import ROOT
from tests.rawserver import RawServer, Script, chunk, reply, serving

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
    **upstream: Any,
) -> Iterator[Forwarding]:
    """Run a server and a gateway in front of it.

    Args:
        script: what the server answers.
        directory: where the ledger lies.
        tls: makes it an https server.
        environ: of the gateway.
        upstream: settings other than the default ones.
    """
    with serving(script, tls=tls) as server, Store.open(directory / "ledger.db") as store:
        url = server.url.replace("http:", "https:") if tls else server.url
        settings = config.Upstream(**{"name": "up", "base_url": url, **upstream})
        gateway = Gateway(
            [settings], store=store, prices=Prices.load(), environ=dict(environ or {})
        )
        try:
            yield Forwarding(gateway, server, store)
        finally:
            gateway.close()
