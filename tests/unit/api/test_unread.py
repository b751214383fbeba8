# SPDX-License-Identifier: Apache-2.0
"""Answers to what never became a request."""

import json

import pytest

from cco.api.unread import ERRORS, refusal


def parts(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines)
    assert fields["content-length"] == str(len(body))
    assert fields["connection"] == "close"
    return int(first.split(" ")[1]), fields, body


@pytest.mark.parametrize("status", ERRORS)
def test_each_refusal_has_a_sentence_of_its_own(status: int) -> None:
    found, fields, body = parts(refusal(status, b"GET /api/agents HTTP/1.1\r\n"))
    told = json.loads(body)["error"]
    assert found == status
    assert told["code"] == fields["x-cco-error"]
    assert told["message"]
    assert told["hint"]
    codes = {parts(refusal(other, b""))[1]["x-cco-error"] for other in ERRORS}
    assert len(codes) == len(ERRORS)


@pytest.mark.parametrize(
    "path", [b"/v1/messages", b"/s/abc/v1/messages?beta=true", b"/v1/" + b"x" * 9000]
)
def test_claude_code_reads_it_in_the_providers_shape(path: bytes) -> None:
    _, fields, body = parts(
        refusal(431, b"POST " + path + b" HTTP/1.1\r\nx-api-key: sk-ant-test-1")
    )
    told = json.loads(body)
    assert (told["type"], told["error"]["type"]) == ("error", "api_error")
    assert told["request_id"] == fields["request-id"]
    assert b"sk-ant" not in body


@pytest.mark.parametrize("head", [b"", b"\x16\x03\x01", b"nonsense", b"GET http://x/v1/y HTTP/1.1"])
def test_what_asked_for_nothing_is_answered_all_the_same(head: bytes) -> None:
    assert set(json.loads(parts(refusal(400, head))[2])["error"]) == {"code", "message", "hint"}
