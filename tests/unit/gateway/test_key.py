# SPDX-License-Identifier: Apache-2.0
import json
import random
from typing import Any

import pytest

from cco import config
from cco.gateway import key as module
from cco.gateway.headers import Fields
from cco.gateway.key import Key, key_of, realm_of


def made(body: bytes = b"{}", **overrides: Any) -> Key:
    given: dict[str, Any] = {
        "method": "POST",
        "target": "/v1/messages?beta=true",
        "headers": [("content-type", "application/json"), ("x-api-key", "k")],
        "body": body,
        "realm": "r",
    }
    return key_of(**{**given, **overrides})


@pytest.mark.parametrize(
    ("body", "rest", "streams"),
    [
        # last, as Claude Code writes it
        (b'{"a":1,"stream":true}', b'{"a":1}', True),
        (b'{"a":1,"stream":false}', b'{"a":1}', False),
        # first, in between, alone
        (b'{"stream":true,"a":1}', b'{"a":1}', True),
        (b'{"a":1,"stream":true,"b":2}', b'{"a":1,"b":2}', True),
        (b'{"stream":true}', b"{}", True),
        # with spaces, as other writers put them
        (b'{"a": 1, "stream": true}', b'{"a": 1}', True),
        (b'{"stream": true, "a": 1}', b'{"a": 1}', True),
        (b'{"a" : 1 , "stream" : true , "b" : 2}', b'{"a" : 1 , "b" : 2}', True),
        (b'{\n  "a": 1,\n  "stream": true\n}\n', b'{\n  "a": 1\n}\n', True),
        (b' { "stream":false }', b" {  }", False),
        # beside members of the same name elsewhere
        (b'{"x":[{"stream":false}],"stream":true}', b'{"x":[{"stream":false}]}', True),
        (b'{"stream":true,"x":{"stream":false}}', b'{"x":{"stream":false}}', True),
        (b'{"a":"{[\\"","stream":true,"x":{"stream":1}}', b'{"a":"{[\\"","x":{"stream":1}}', True),
        # as text, as a value, as the end of another name
        (b'{"a":"\\"stream\\":true","stream":true}', b'{"a":"\\"stream\\":true"}', True),
        (b'{"a":"stream","stream":true}', b'{"a":"stream"}', True),
        (b'{"\\"stream":1,"stream":true}', b'{"\\"stream":1}', True),
    ],
)
def test_the_stream_member_does_not_count(body: bytes, rest: bytes, streams: bool) -> None:
    assert made(body) == Key(made(rest).digest, streams)
    assert json.loads(rest) == {k: v for k, v in json.loads(body).items() if k != "stream"}


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"",
        b'{"a":1}',
        # of an object inside only
        b'{"a":{"stream":true}}',
        b'{"a":[{"b":1},{"stream":true}],"c":2}',
        # no member
        b'{"a":"stream"}',
        b'{"a":"\\"stream\\": true"}',
        b'{"stream ":true}',
    ],
)
def test_a_body_without_it_asks_for_no_stream(body: bytes) -> None:
    assert made(body).streams is False


@pytest.mark.parametrize(
    "body",
    [
        # twice: which one counts is the upstream's business
        b'{"stream":true,"a":1,"stream":false}',
        b'{"stream":true,"stream":true}',
        # not true or false
        b'{"a":1,"stream":null}',
        b'{"a":1,"stream":1}',
        b'{"a":1,"stream":"true"}',
        b'{"a":1,"stream":{"b":true}}',
        b'{"a":1,"stream":trueish}',
        # spelt otherwise
        b'{"a":1,"\\u0073tream":true}',
        b'{"a":1,"strea\\u006D":true}',
        # no JSON, or no object
        b'[{"stream":true}]',
        b'"stream":true',
        b'{"a":"x,"stream":true, {"b":1',
        b'{"a":1 "stream":true}',
        b'{"a":1,"stream":true',
        b'{"a":1,' + b" " * 300 + b'"stream":true}',
        # too much of it
        b'{"a":[' + b'{"stream":1},' * 1001 + b'1],"stream":true}',
        b'{"a":[' + b"[],".replace(b",", b",") * 60_000 + b'1],"stream":true,"b":{"stream":1}}',
        b'{"a":"' + b"x" * module.MAX_SCANNED_BYTES + b'","stream":true}',
    ],
    ids=lambda body: body[:40].decode(),
)
def test_a_body_that_is_not_clear_equals_itself_only(body: bytes) -> None:
    found = made(body)
    assert found.streams is None
    assert found == made(body)
    without = body.replace(b',"stream":true', b"").replace(b'"stream":true,', b"")
    assert without == body or found.digest != made(without).digest


def test_a_clear_body_never_equals_one_that_is_not() -> None:
    # {"a":1 is what would be left of the first, had it been taken for clear
    assert made(b'{"a":1,"stream":true').digest != made(b'{"a":1').digest


CHANGES: list[dict[str, Any]] = [
    {"body": b"{ }"},
    {"method": "PUT"},
    {"target": "/v1/messages"},
    {"target": "/v1/messages?beta=false"},
    {"realm": "s"},
    {"headers": [("content-type", "application/json"), ("x-api-key", "K")]},
    {"headers": [("content-type", "application/json"), ("authorization", "k")]},
    {"headers": [("content-type", "application/json")]},
    {"headers": [("content-type", "text/json"), ("x-api-key", "k")]},
]
COUNTED = [
    "anthropic-version",
    "Anthropic-Beta",
    "anthropic-something-new",
    "accept-encoding",
    "cookie",
    "x-portkey-api-key",
    "helicone-auth",
    "X-Team-Token",
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_what_counts(change: dict[str, Any]) -> None:
    assert made(**change).digest != made().digest


@pytest.mark.parametrize("name", COUNTED)
def test_fields_that_count(name: str) -> None:
    def digest(*fields: tuple[str, str]) -> bytes:
        return made(headers=list(fields)).digest

    assert len({digest(), digest((name, "a")), digest((name, "b"))}) == 3
    assert digest((name, "a"), (name, "b")) != digest((name, "b"), (name, "a"))
    assert digest((name, "a")) == digest((name.upper(), "a"), ("user-agent", "x"))


@pytest.mark.parametrize(
    "name",
    [
        "accept",
        "content-length",
        "host",
        "idempotency-key",
        "traceparent",
        "user-agent",
        "x-app",
        "x-claude-code-agent-id",
        "x-claude-code-session-id",
        "x-client-request-id",
        "x-stainless-retry-count",
        "x-stainless-timeout",
    ],
)
def test_fields_that_do_not_count(name: str) -> None:
    fields: Fields = [("content-type", "application/json"), (name, "1"), ("x-api-key", "k")]
    assert made(headers=fields) == made()


def test_parts_do_not_run_into_each_other() -> None:
    assert made(method="PO", target="ST/").digest != made(method="POST", target="/").digest
    one: Fields = [("cookie", "a"), ("token", "b")]
    other: Fields = [("cookie", "a1:btoken")]
    assert made(headers=one).digest != made(headers=other).digest
    assert made(b"x", realm="r").digest != made(b"", realm="rx").digest


def test_takes_bytes_as_they_come() -> None:
    odd = "\udcff\xe4"
    found = made(b"\xff\x00", target=f"/{odd}", headers=[("cookie", odd)], realm=odd)
    assert len(found.digest) == 32


def test_bodies_that_decode_to_the_same_are_not_the_same() -> None:
    # The provider's prompt cache goes by bytes too.
    bodies = [b'{"a":1,"b":2}', b'{"b":2,"a":1}', b'{"a":1.0,"b":2}', b'{"a": 1,"b":2}']
    assert len({made(body).digest for body in bodies}) == len(bodies)


def dumped(value: dict[str, Any], rng: random.Random) -> bytes:
    return json.dumps(
        value,
        indent=rng.choice([None, 0, 1, 2]),
        separators=rng.choice([None, (",", ":"), (" , ", " : ")]),
        ensure_ascii=rng.choice([True, False]),
    ).encode("utf-8", "surrogatepass")


def value_of(rng: random.Random, depth: int = 0) -> Any:
    texts = ["stream", '"stream":true', "\\", '"', "{", "]", "é\n", "", '\\"stream\\":', ",", "}"]
    kind = rng.randrange(7 if depth < 3 else 5)
    if kind == 5:
        return [value_of(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 6:
        names = rng.sample(["stream", "a", '"stream', "b c", "\\", 'x"stream"'], rng.randrange(4))
        return {name: value_of(rng, depth + 1) for name in names}
    return [True, False, None, rng.random(), "".join(rng.choices(texts, k=3))][kind]


def test_random_bodies_are_equal_if_all_else_is() -> None:
    for seed in range(1500):
        rng = random.Random(seed)
        rest = {f"k{n}": value_of(rng) for n in range(rng.randrange(5))}
        members = list(rest.items())
        at = rng.randrange(len(members) + 1)
        layout = rng.randrange(1 << 30)
        bodies = [
            dumped(dict([*members[:at], *extra, *members[at:]]), random.Random(layout))
            for extra in ([], [("stream", True)], [("stream", False)])
        ]
        found = [made(body) for body in bodies]
        assert [key.streams for key in found] == [False, True, False], (seed, bodies[1])
        assert found[1].digest == found[2].digest, (seed, bodies[1])
        if members:
            assert found[0].digest == found[1].digest, (seed, bodies[1])


def test_random_bytes_harm_nobody() -> None:
    pieces = [b'"stream"', b":", b"true", b"false", b",", b"{", b"}", b"[", b"]", b'"', b"\\", b" "]
    for seed in range(4000):
        rng = random.Random(seed)
        body = b"".join(rng.choices(pieces, k=rng.randrange(14)))
        found = made(body)
        try:
            told = json.loads(body)
        except ValueError:
            continue
        if isinstance(told, dict) and isinstance(told.get("stream"), bool):
            assert found.streams in (None, told["stream"]), body
        else:
            assert not found.streams, body


def test_a_realm_is_its_urls_and_their_keys() -> None:
    one = config.Upstream(name="one", base_url="http://127.0.0.1:1")
    two = config.Upstream(name="two", base_url="http://127.0.0.1:2")
    realms = [
        realm_of([one], {}),
        realm_of([two], {}),
        realm_of([one, two], {}),
        realm_of([one], {"one": "k"}),
        realm_of([one], {"one": "l"}),
    ]
    assert len(set(realms)) == len(realms)
    assert realm_of([one, two], {}) == realm_of([two, one], {})
    assert realm_of([one], {"two": "k"}) == realms[0]
