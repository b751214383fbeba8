# SPDX-License-Identifier: Apache-2.0
"""Errors on their way out: one shape for tools, another for Claude Code, never a 401."""

import logging
from collections.abc import Callable

import pytest
from flask import Flask
from werkzeug.exceptions import HTTPException, abort

from cco import errors
from cco.api.errors import STATUS_OF_CODE, install, is_gateway_path, status_of
from cco.errors import CcoError
from tests.unit.api.house import error_of, provider_error_of

ExpectLog = Callable[[str], None]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.RequestError("bad-json", "x"), 400),
        (errors.BudgetExceeded("budget-spent", "x"), 402),
        (errors.Denied("foreign-user", "x"), 403),
        (errors.NotFound("unknown-agent", "x"), 404),
        (errors.RequestError("body-too-large", "x"), 413),
        (errors.RequestError("foreign-host", "x"), 421),
        (errors.RequestError("agents-busy", "x"), 429),
        (errors.ConfigError("config-invalid", "x"), 500),
        (errors.StoreError("ledger-damaged", "x"), 500),
        (errors.SealError("seal-altered", "x"), 500),
        (errors.UpstreamError("upstream-broken", "x"), 502),
        (errors.UpstreamRefused("upstream-refused", "x"), 502),
        (errors.Unavailable("internal", "x"), 503),
        (errors.UpstreamTimeout("upstream-timeout", "x"), 504),
    ],
)
def test_status_of_an_error(error: CcoError, status: int) -> None:
    assert status_of(error) == status


def test_no_error_of_ours_is_a_401() -> None:
    # It would make Claude Code burn its refresh token.
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = ["x", *STATUS_OF_CODE]
    assert 401 not in {
        status_of(kind(code, "x")) for kind in kinds if issubclass(kind, CcoError) for code in codes
    }


@pytest.mark.parametrize(
    ("path", "is_gateways"),
    [
        ("/v1/messages", True),
        ("/s/abc/v1/messages", True),
        ("/s/abc/whatever", True),
        ("/v1", False),
        ("/v2/messages", False),
        ("/api/v1/x", False),
        ("/health", False),
        ("/", False),
    ],
)
def test_who_reads_the_answer(path: str, is_gateways: bool) -> None:
    assert is_gateway_path(path) is is_gateways


@pytest.fixture
def app() -> Flask:
    made = Flask("test")
    made.config["PROPAGATE_EXCEPTIONS"] = False
    install(made)

    @made.before_request
    def name() -> None:
        from flask import request

        request.environ["cco.request_id"] = "cco_1"

    return made


def serve(app: Flask, path: str, error: Exception) -> None:
    def fail() -> str:
        raise error

    app.add_url_rule(path, path, fail, methods=["GET", "POST"])


def test_error_for_tools(app: Flask) -> None:
    serve(app, "/api/x", errors.NotFound("unknown-agent", "there is none", hint="look"))
    answer = app.test_client().get("/api/x")

    assert error_of(answer) == (404, "unknown-agent")
    assert answer.get_json() == {
        "error": {"code": "unknown-agent", "message": "there is none", "hint": "look"}
    }
    assert answer.mimetype == "application/json"


@pytest.mark.parametrize("path", ["/v1/x", "/s/abc/v1/x"])
def test_error_for_claude_code(app: Flask, path: str) -> None:
    serve(app, path, errors.BudgetExceeded("budget-spent", "it is spent", hint="Raise it"))
    answer = app.test_client().get(path)

    assert provider_error_of(answer) == (402, "budget-spent", "billing_error")
    assert answer.get_json()["error"]["message"] == "CCO: it is spent. Raise it"
    assert answer.get_json()["request_id"] == answer.headers["request-id"] == "cco_1"


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (errors.RequestError("unknown-session", "x"), 400, "invalid_request_error"),
        (errors.Denied("foreign-user", "x"), 403, "permission_error"),
        (errors.RequestError("foreign-host", "x"), 421, "api_error"),
        (errors.RequestError("body-too-large", "x"), 413, "request_too_large"),
        (errors.RequestError("agents-busy", "x"), 429, "rate_limit_error"),
    ],
)
def test_types_are_the_providers(app: Flask, error: CcoError, status: int, kind: str) -> None:
    serve(app, "/v1/x", error)

    found = provider_error_of(app.test_client().get("/v1/x"))
    assert (found[0], found[2]) == (status, kind)


@pytest.mark.parametrize(
    ("code", "method", "closes"),
    [
        # the body of a request that was refused at the door is not read
        ("foreign-host", "POST", True),
        ("foreign-host", "GET", False),
        ("bad-json", "POST", False),
    ],
)
def test_connection_with_an_unread_body_is_closed(
    app: Flask, code: str, method: str, closes: bool
) -> None:
    serve(app, "/api/x", errors.RequestError(code, "x"))
    answer = app.test_client().open("/api/x", method=method)

    assert (answer.headers.get("Connection") == "close") is closes


def test_error_of_ours_is_logged_without_a_traceback(
    app: Flask, expect_log: ExpectLog, caplog: pytest.LogCaptureFixture
) -> None:
    expect_log(r"^GET /api/x: the disk is full$")
    serve(app, "/api/x", errors.StoreError("ledger-full", "the disk is full"))
    with caplog.at_level(logging.WARNING):
        assert error_of(app.test_client().get("/api/x")) == (500, "ledger-full")

    assert [record.exc_info for record in caplog.records] == [None]


@pytest.mark.parametrize("path", ["/api/x", "/v1/x"])
def test_bug_of_ours_is_logged_and_tells_nothing(
    app: Flask, path: str, expect_log: ExpectLog
) -> None:
    expect_log(f"^GET {path} failed$")
    serve(app, path, KeyError("secret"))
    answer = app.test_client().get(path)

    assert answer.status_code == 500
    assert answer.headers["x-cco-error"] == "internal"
    assert "secret" not in answer.text
    assert "cco daemon logs" in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/none", 404, "unknown-route"),
        ("GET", "/none", 404, "unknown-route"),
        ("DELETE", "/api/x", 405, "wrong-method"),
    ],
)
def test_what_is_not_served_is_told_in_the_same_shape(
    app: Flask, method: str, path: str, status: int, code: str
) -> None:
    serve(app, "/api/x", KeyError())
    answer = app.test_client().open(path, method=method)

    assert error_of(answer) == (status, code)
    assert f"{method} {path} is not served" in answer.text


def test_what_is_not_served_below_a_session_is_told_to_claude_code(app: Flask) -> None:
    assert provider_error_of(app.test_client().get("/s/abc/none")) == (
        404,
        "unknown-route",
        "not_found_error",
    )


@pytest.mark.parametrize(("status", "code"), [(413, "body-too-large"), (400, "bad-request")])
def test_refusals_of_the_framework_have_our_shape(app: Flask, status: int, code: str) -> None:
    try:
        abort(status)
    except HTTPException as error:
        serve(app, "/api/x", error)

    assert error_of(app.test_client().get("/api/x")) == (status, code)
