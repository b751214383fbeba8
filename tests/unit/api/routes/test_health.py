# SPDX-License-Identifier: Apache-2.0
"""``GET /health``: what counts as ill, and what is only a warning."""

from pathlib import Path
from typing import Any

import pytest

from cco import __version__
from cco.api.routes.health import are_out
from tests.unit.api.house import House, error_of, open_house

MEMBERS = [
    *(
        "status",
        "version",
        "uptimeSeconds",
        "startedAt",
        "vfs",
        "ledger",
        "upstreams",
        "http",
        "warnings",
    ),
]


def health(house: House) -> tuple[int, dict[str, Any]]:
    answer = house.ask("GET", "/health")
    told: dict[str, Any] = answer.get_json()
    assert list(told) == MEMBERS
    return answer.status_code, told


def test_daemon_with_its_mount_is_ok(house: House) -> None:
    lines = house.mount()
    status, told = health(house)

    assert (status, told["status"]) == (200, "ok")
    assert told["version"] == __version__
    assert told["uptimeSeconds"] >= 0
    assert told["vfs"] == {"mounted": True, "path": "/m", "status": "OK"}
    assert told["ledger"] == {"status": "ok"}
    assert told["http"] == {"url": "http://127.0.0.1:3000"}
    assert [one["name"] for one in told["upstreams"]] == ["anthropic"]
    assert told["warnings"] == []
    lines.close()


def test_daemon_without_mount_cannot_serve(house: House) -> None:
    status, told = health(house)

    assert (status, told["status"]) == (503, "degraded")
    assert told["vfs"] == {
        "mounted": False,
        "path": house.services.mount_path,
        "status": "not mounted",
    }


def test_mount_that_is_ill_says_why(house: House) -> None:
    lines = house.mount(is_serving=False, message="no /dev/fuse")
    status, told = health(house)

    assert (status, told["status"]) == (503, "degraded")
    assert (told["vfs"]["mounted"], told["vfs"]["path"]) == (False, "/m")
    assert told["vfs"]["status"].endswith("no /dev/fuse")
    lines.close()


def test_what_a_user_should_mend_is_a_warning(tmp_path: Path, monkeypatch: Any) -> None:
    with open_house(tmp_path, monkeypatch, http_url=None) as house:
        lines = house.mount()
        status, told = health(house)
        lines.close()

    assert (status, told["status"]) == (200, "ok")
    (warning,) = told["warnings"]
    assert set(warning) == {"code", "message", "hint"}
    assert warning["code"] == "no-http"
    assert told["http"] == {"url": None}


@pytest.mark.parametrize(
    ("states", "out"),
    [
        (["closed"], False),
        (["open"], True),
        (["open", "open"], True),
        (["open", "closed"], False),
        (["open", "half-open"], False),
        (["open", "no-credential"], True),  # nothing is left to ask
        (["no-credential"], False),  # worth a warning only
    ],
)
def test_all_upstreams_out_is_ill(states: list[str], out: bool) -> None:
    assert are_out([{"name": "x", "state": state} for state in states]) is out


def test_chosen_members_that_are_the_same_cost_nothing(house: House) -> None:
    lines = house.mount()
    target = "/health?fields=status,startedAt,upstreams"
    first = house.ask("GET", target)
    again = house.ask("GET", target, headers={"If-None-Match": first.headers["ETag"]})
    lines.close()

    assert list(first.get_json()) == ["status", "startedAt", "upstreams"]
    assert (again.status_code, again.data) == (304, b"")
    assert error_of(house.ask("GET", "/health?fields=x")) == (400, "unknown-field")


def test_what_cannot_serve_says_so_whatever_was_asked_for(house: House) -> None:
    assert house.ask("GET", "/health?fields=version").status_code == 503
