# SPDX-License-Identifier: Apache-2.0
"""What reads untrusted bytes, fed with inputs of chance; each target checks what always holds.

An input follows from a number, so a failure is repeated by ``--only NAME --from NUMBER``.
"""

import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import brotli
import zstandard

from cco.gateway import wire
from cco.gateway.fold import UsageFold
from cco.gateway.key import key_of
from cco.gateway.rebuild import rebuild_message
from cco.gateway.requested import requested_max_tokens, requested_model
from cco.gateway.sse import Decoder, Event
from cco.gateway.unpack import PackedError, unpacker
from cco.ledger.prices import Prices
from cco.ledger.usage import Usage
from tests import generated
from tests.capabilities import ROOT

STREAMS: Final = [path.read_bytes() for path in sorted((ROOT / "tests/data/sse").glob("*.sse"))]
PRICES: Final = Prices.load()
MODELS: Final = ("claude-opus-4-8", "claude-sonnet-4-6-20260101", "unknown", "")
PIECES: Final = (
    b"\n\n",
    b"\r",
    b"data: ",
    b"event: message_stop",
    b"{",
    b'"usage":{',
    b"\xff",
    b"-1",
)
PACKERS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}
COUNTS: Final[tuple[Any, ...]] = (
    0,
    1,
    7,
    -1,
    1.5,
    "12",
    None,
    True,
    [],
    {},
    10**30,
    float("nan"),
    float("inf"),
)
COUNTED: Final = (
    *("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    *("cache_creation", "server_tool_use", "service_tier", "speed", "iterations"),
)
INSIDE: Final = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", "web_search_requests")


def damaged(chance: random.Random, data: bytes) -> bytes:
    """Return bytes with some of them changed, taken out, doubled or put in."""
    made = bytearray(data)
    for _ in range(chance.randrange(6)):
        low = chance.randrange(len(made) + 1)
        high = min(len(made), low + chance.randrange(40))
        match chance.randrange(4):
            case 0:
                made[low:high] = chance.randbytes(chance.randrange(4))
            case 1:
                del made[low:high]
            case 2:
                made[low:low] = made[low:high]
            case _:
                made[low:low] = chance.choice(PIECES)
    return bytes(made)


def split(chance: random.Random, data: bytes) -> Iterator[bytes]:
    """Yield bytes in pieces, some of them empty."""
    places = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(8)))
    for low, high in pairwise([0, *places, len(data)]):
        yield data[low:high]


def sse(chance: random.Random) -> None:
    """Events are the same wherever the bytes are split."""
    data = damaged(chance, chance.choice(STREAMS))

    def events(pieces: Iterable[bytes]) -> list[Event]:
        decoder = Decoder(max_event_bytes=chance_bytes)
        return [event for piece in pieces for event in decoder.feed(piece)]

    chance_bytes = chance.choice([50, 2**20])
    assert events(split(chance, data)) == events([data])


def fold(chance: random.Random) -> None:
    """Usage is the same wherever the bytes are split, and never negative."""
    data = damaged(chance, chance.choice(STREAMS))
    kind = chance.choice(["text/event-stream", "application/json"])

    def told(pieces: Iterable[bytes]) -> tuple[object, ...]:
        found = UsageFold(kind)
        for piece in pieces:
            found.feed(piece)
        found.finish()
        return found.usage, found.model, found.error, found.known, found.complete

    usage, *_ = seen = told(split(chance, data))
    assert seen == told([data])
    assert isinstance(usage, Usage)
    assert usage.total >= 0


def usage(chance: random.Random) -> None:
    """Whatever is reported is a usage, and its cost is no less than nothing."""

    def value() -> Any:
        if chance.random() < 0.3:
            return {name: chance.choice(COUNTS) for name in chance.sample(INSIDE, 2)}
        return chance.choice([*COUNTS, chance.randrange(10**7)])

    def reported() -> Any:
        return {name: value() for name in chance.sample(COUNTED, chance.randrange(len(COUNTED)))}

    found = Usage.from_mapping(reported()).merged(Usage.from_mapping(reported()))
    assert found.total >= 0
    cost = PRICES.cost(chance.choice(MODELS), found)
    assert cost is None or cost >= 0


def http(chance: random.Random) -> None:
    """A body is the same wherever the bytes are split; what is no HTTP is said to be none."""
    fields = "".join(f"{name}: {text}\r\n" for name, text in generated.fields(chance))
    framing = chance.choice(["Transfer-Encoding: chunked\r\n", "Content-Length: 9\r\n", ""])
    chunks = b"4;x\r\nabcd\r\n" * chance.randrange(4) + b"0\r\nt: u\r\n\r\n"
    head = f"HTTP/1.1 200 OK\r\n{fields}{framing}\r\n".encode("latin-1")
    data = damaged(chance, head + chunks)
    try:
        found = wire.split_head(data)
        if found is None:
            return
        told, rest = found
        whole, parts = wire.framing_of("POST", told), wire.framing_of("POST", told)
    except wire.MalformedError:
        return
    body = whole.feed(rest)
    got = b""
    for piece in split(chance, rest):
        if not parts.malformed:
            got += parts.feed(piece)
    assert got == body
    assert (parts.done, parts.malformed) == (whole.done, whole.malformed)


def key(chance: random.Random) -> None:
    """A request equals itself, and what it asks for can be told of any bytes."""
    body = generated.body(chance)
    if chance.random() < 0.5:
        body = damaged(chance, body)
    given: dict[str, Any] = {"method": "POST", "target": "/v1/messages", "realm": "r"}
    headers = generated.fields(chance)
    assert key_of(**given, headers=headers, body=body) == key_of(
        **given, headers=[*headers], body=bytes(bytearray(body))
    )
    other = key_of(**given, headers=headers, body=body + b"\0")
    assert other.digest != key_of(**given, headers=headers, body=body).digest
    assert isinstance(requested_model(body), str)
    assert requested_max_tokens(body) >= 0


def unpack(chance: random.Random) -> None:
    """What was packed comes out, wherever it is split; damage is told and nothing else happens."""
    coding = chance.choice(list(PACKERS))
    plain = chance.choice(STREAMS)
    packed = PACKERS[coding](plain)
    is_good = chance.random() < 0.5
    feed = unpacker(coding)
    assert feed is not None
    pieces = split(chance, packed if is_good else damaged(chance, packed))
    try:
        got = b"".join(part for piece in pieces for part in feed(piece))
    except PackedError:
        assert not is_good
    else:
        assert got == plain or not is_good


def rebuild(chance: random.Random) -> None:
    """A stream becomes a message, or nothing."""
    found = rebuild_message(damaged(chance, chance.choice(STREAMS)))
    assert found is None or isinstance(json.loads(found)["content"], list)


TARGETS: Final[Mapping[str, Callable[[random.Random], None]]] = {
    target.__name__: target for target in (sse, fold, usage, http, key, unpack, rebuild)
}


def run(name: str, number: int) -> None:
    """Feed a target with the input of a number."""
    TARGETS[name](random.Random(f"{name} {number}"))
