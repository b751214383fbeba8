# SPDX-License-Identifier: Apache-2.0
"""The application as a whole: nothing is looked at before the caller is admitted."""

import re
from collections.abc import Callable

import pytest

from cco.api.access import Guard
from cco.api.routes import health
from cco.log import _about
from tests.unit.api.house import House, error_of, provider_error_of

ROUTES = [
    ("GET", "/health"),
    ("GET", "/api/agents"),
    ("GET", "/api/agents/x"),
    ("POST", "/api/agent/invoke"),
    ("GET", "/api/sessions"),
    ("POST", "/api/sessions"),
    ("POST", "/api/hooks/Stop"),
    ("GET", "/api/project/stats"),
    ("GET", "/api/unseal/agents"),
    ("POST", "/api/vfs/watch"),
    ("GET", "/"),
    ("GET", "/none"),
]
GATEWAY = [("POST", "/v1/messages"), ("GET", "/v1/models"), ("POST", "/s/abc/v1/messages")]


@pytest.mark.parametrize(("method", "path"), [*ROUTES, *GATEWAY])
@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.example"}, 421, "foreign-host"),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 421, "foreign-host"),
        ({"Origin": "http://evil.example"}, 403, "foreign-origin"),
        ({"Origin": "null"}, 403, "foreign-origin"),
        ({"Origin": ""}, 403, "foreign-origin"),
    ],
)
def test_strangers_get_nothing_on_any_route(
    method: str, path: str, headers: dict[str, str], status: int, code: str, shared_house: House
) -> None:
    answer = shared_house.ask(method, path, data=b"{", headers=headers, by_tcp=True)

    if (method, path) in GATEWAY:
        assert provider_error_of(answer)[:2] == (status, code)
    else:
        assert error_of(answer) == (status, code)
    if method == "POST":
        assert answer.headers["Connection"] == "close"  # its body is not read


@pytest.mark.parametrize("by_tcp", [True, False])
def test_another_user_gets_nothing(by_tcp: bool, house: House) -> None:
    house.services.guard = Guard(uid=house.services.uid + 1)

    assert error_of(house.ask("GET", "/health", by_tcp=by_tcp)) == (403, "foreign-user")


def test_owner_gets_the_same_on_both_sockets(house: House) -> None:
    for by_tcp in (True, False):
        assert house.ask("GET", "/api/agents", by_tcp=by_tcp).status_code == 200


def test_every_request_has_an_id_of_its_own(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def describe(_: object) -> dict[str, str]:
        seen.append(_about.get()["REQUEST_ID"])
        return {"status": "ok"}

    monkeypatch.setattr(health, "describe", describe)
    for _ in range(2):
        house.ask("GET", "/health")

    assert all(re.fullmatch(r"cco_[0-9a-f]{24}", one) for one in seen)
    assert len(set(seen)) == 2


def test_bug_is_logged_with_its_request(
    house: House, monkeypatch: pytest.MonkeyPatch, expect_log: Callable[[str], None]
) -> None:
    expect_log("GET /health failed")

    def describe(_: object) -> dict[str, str]:
        raise ZeroDivisionError

    monkeypatch.setattr(health, "describe", describe)

    assert error_of(house.ask("GET", "/health")) == (500, "internal")


@pytest.mark.parametrize("path", ["/api//agents", "//api/agents", "/api/agents/"])
def test_nobody_is_sent_elsewhere(path: str, house: House) -> None:
    # A redirect would be no answer that clients expect.
    assert house.ask("GET", path).status_code == 404


def test_members_keep_their_order(house: House) -> None:
    answer = house.ask("GET", "/health")

    assert answer.text.startswith('{"status":')
