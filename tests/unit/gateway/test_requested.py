# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from cco.gateway import requested
from cco.gateway.requested import MAX_MODEL_LENGTH, requested_max_tokens, requested_model


@pytest.mark.parametrize(
    ("body", "model"),
    [
        # as Claude Code writes it
        (b'{"model":"claude-opus-4-8","messages":[]}', "claude-opus-4-8"),
        (b' {\n "model" : "m" }', "m"),
        # elsewhere, and nested ones before it
        (b'{"tools":[{"model":"no"}],"model":"yes"}', "yes"),
        (b'{"a":"\\"model\\":\\"no\\"","model":"yes"}', "yes"),
        # escaped
        (b'{"model":"claude\\u002dx"}', "claude-x"),
        (b'{"mod\\u0065l":"m"}', "m"),
        ('{"model":"mod\u00e8le"}'.encode(), "mod\u00e8le"),
        # none, of another type, no object, no JSON, no UTF-8
        (b'{"messages":[]}', ""),
        (b'{"model":7}', ""),
        (b'{"model":null}', ""),
        (b'["model"]', ""),
        (b"", ""),
        (b"model", ""),
        (b'{"x":' * 100_000, ""),
        (b'{"a":"\xff","model":"m"}', ""),
        (b'{"model":"\xff"}', "\ufffd"),
    ],
)
def test_finds_the_model(body: bytes, model: str) -> None:
    assert requested_model(body) == model


def test_bounds_the_name() -> None:
    for body in ({"model": "m" * 10_000}, {"a": 1, "model": "m" * 10_000}):
        assert len(requested_model(json.dumps(body).encode())) == MAX_MODEL_LENGTH


def test_leaves_a_large_body_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requested, "MAX_PARSED_BYTES", 10)
    assert requested_model(b'{"a":1,"model":"m"}') == ""
    assert requested_model(b'{"model":"m","a":1}') == "m"


@pytest.mark.parametrize(
    ("body", "max_tokens"),
    [
        (b'{"model":"m","max_tokens":32000}', 32000),
        (b'{"max_tokens" : 9 }', 9),
        (b'{"a":{"max_tokens":7},"max_tokens":5}', 7),  # rather too many
        (b'{"a":"\\"max_tokens\\":7","max_tokens":5}', 5),
        (b'{"max_tokens":"5"}', 0),
        (b'{"max_tokens":-5}', 0),
        (b'{"max_tokens":99999999999999999999}', 999_999_999),
        (b"", 0),
        (b"\xff", 0),
    ],
)
def test_finds_how_long_the_answer_may_be(body: bytes, max_tokens: int) -> None:
    assert requested_max_tokens(body) == max_tokens
