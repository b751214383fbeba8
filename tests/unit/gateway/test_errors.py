# SPDX-License-Identifier: Apache-2.0
import errno
import json

import pytest

from cco import errors
from cco.errors import CcoError, UpstreamError, UpstreamRefused, UpstreamTimeout
from cco.gateway.errors import (
    AnswerCut,
    error_headers,
    render_body,
    render_event,
    status_of,
)
from cco.gateway.sse import Decoder


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (UpstreamRefused("c", "m"), 502, "api_error"),
        (UpstreamError("c", "m"), 502, "api_error"),
        (UpstreamTimeout("c", "m"), 504, "timeout_error"),
        (errors.RequestError("c", "m"), 400, "invalid_request_error"),
        (errors.NotFound("c", "m"), 404, "not_found_error"),
        (errors.Denied("c", "m"), 403, "permission_error"),
        (errors.BudgetExceeded("c", "m"), 402, "billing_error"),
        (errors.Unavailable("c", "m"), 503, "api_error"),
        (errors.StoreError("c", "m"), 500, "api_error"),
    ],
)
def test_has_the_providers_shape(error: CcoError, status: int, kind: str) -> None:
    assert status_of(error) == status
    assert json.loads(render_body(error, "id")) == {
        "type": "error",
        "error": {"type": kind, "message": "CCO: m"},
        "request_id": "id",
    }


@pytest.mark.parametrize(
    ("status", "kind", "retry_after"),
    [
        (413, "request_too_large", None),
        (421, "api_error", None),
        (429, "rate_limit_error", None),
        (500, "api_error", "1"),
    ],
)
def test_another_status_has_the_type_that_the_provider_has_for_it(
    status: int, kind: str, retry_after: str | None
) -> None:
    error = errors.RequestError("some-code", "m")
    assert json.loads(render_body(error, "id", status=status))["error"]["type"] == kind
    fields = dict(error_headers(error, "id", length=5, status=status))
    assert (fields["x-cco-error"], fields.get("retry-after")) == ("some-code", retry_after)


def test_no_error_becomes_a_401() -> None:
    def walk(kind: type[CcoError]) -> list[type[CcoError]]:
        return [kind, *(k for sub in kind.__subclasses__() for k in walk(sub))]

    assert {status_of(kind("c", "m")) for kind in walk(CcoError)} <= {
        400, 402, 403, 404, 500, 502, 503, 504
    }  # fmt: skip


def test_tells_what_to_do() -> None:
    told = json.loads(render_body(UpstreamError("c", "It broke", hint="Mend it"), "id"))
    assert told["error"]["message"] == "CCO: It broke. Mend it"


def test_fields_carry_the_code_and_when_to_try_again() -> None:
    fields = dict(error_headers(UpstreamRefused("upstream-refused", "m"), "id", length=5))
    assert fields == {
        "Content-Type": "application/json",
        "Content-Length": "5",
        "request-id": "id",
        "x-cco-error": "upstream-refused",
        "retry-after": "1",
    }


def test_does_not_ask_to_try_what_cannot_help() -> None:
    fields = dict(error_headers(UpstreamRefused("upstream-tls", "m"), "id", length=5))
    assert fields["x-should-retry"] == "false"
    assert "retry-after" not in fields
    assert "retry-after" not in dict(
        error_headers(errors.RequestError("header-invalid", "m"), "id", length=5)
    )


@pytest.mark.parametrize(
    ("before", "names"),
    [
        (b"", []),
        # behind a whole event
        (b"event: ping\ndata: {}\n\n", ["ping"]),
        # inside one: what there is of it becomes a ping, which nobody parses
        (b'event: content_block_delta\ndata: {"type":"con', ["ping"]),
        (b"event: content_bl", []),
        (b"event: content_block_delta\r\ndata: {}\r", ["ping"]),
        (b"event: content_block_delta\ndata: {}\n", ["content_block_delta"]),
        (b"data: \xe2\x82", ["ping"]),
    ],
)
def test_ends_a_stream_wherever_it_was_cut(before: bytes, names: list[str]) -> None:
    frame = render_event(UpstreamTimeout("c", "m"), "id")
    events = Decoder().feed(before + frame)

    assert [event.name for event in events] == [*names, "error"]
    assert json.loads(events[-1].data)["error"] == {"type": "timeout_error", "message": "CCO: m"}


def test_a_cut_is_a_reset_connection_for_who_serves() -> None:
    assert isinstance(AnswerCut(), ConnectionResetError)
    assert AnswerCut().errno == errno.ECONNRESET


def test_budget_is_one_sentence_and_final() -> None:
    error = errors.BudgetExceeded("budget-spent", "the day budget of $1.00 is spent: $1.02 so far")
    fields = dict(error_headers(error, "id", length=5))

    assert (fields["x-cco-error"], fields["x-should-retry"]) == ("budget-spent", "false")
    assert "retry-after" not in fields


def test_budget_that_is_reserved_is_tried_again() -> None:
    fields = dict(error_headers(errors.Unavailable("budget-reserved", "m"), "id", length=5))

    assert fields["retry-after"] == "1"
    assert "x-should-retry" not in fields
