# SPDX-License-Identifier: Apache-2.0
"""What the mount asks and says."""

import hashlib
import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.unit.api.house import PID, House, error_of, open_house

US = str(os.getuid())
PRIVATE = ("CLAUDE.md", "plugin/hooks/hooks.json", "plugin/context/startup.md")
PUBLIC = ("agents.sealed", ".manifest", "README.txt")


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/api/vfs/watch"),
        ("POST", "/api/vfs/report"),
        ("GET", "/api/vfs/file?path=CLAUDE.md"),
        ("GET", "/api/vfs/file?path=README.txt"),
    ],
)
def test_nothing_of_it_is_served_over_tcp(method: str, target: str, house: House) -> None:
    _, token = house.register()
    answer = house.ask(method, target, headers={"x-cco-session": token}, by_tcp=True)

    assert error_of(answer) == (403, "unix-socket-only")


def test_file_comes_with_its_digest(house: House) -> None:
    _, token = house.register()
    headers = {"x-cco-caller-uid": US, "x-cco-session": token}
    for path in (*PUBLIC, *PRIVATE):
        answer = house.ask("GET", f"/api/vfs/file?path={quote(path)}", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["x-cco-digest"] == hashlib.sha256(answer.data).hexdigest()
        assert answer.data == house.services.published.read(path).data


@pytest.mark.parametrize(
    ("headers", "may_read_private"),
    [
        ({"x-cco-caller-uid": US, "x-cco-session": "TOKEN"}, True),
        ({"x-cco-session": "TOKEN"}, True),
        ({"x-cco-caller-uid": US}, False),  # outside of every session
        ({"x-cco-caller-uid": US, "x-cco-session": ""}, False),
        ({"x-cco-caller-uid": US, "x-cco-session": "another"}, False),
        # another user who has got hold of a token, root included
        ({"x-cco-caller-uid": str(os.getuid() + 1), "x-cco-session": "TOKEN"}, False),
        ({"x-cco-caller-uid": "", "x-cco-session": "TOKEN"}, False),
        ({"x-cco-caller-uid": f"+{US}", "x-cco-session": "TOKEN"}, False),
    ],
)
def test_unsealed_files_are_for_processes_of_a_session(
    headers: dict[str, str], may_read_private: bool, house: House
) -> None:
    _, token = house.register()
    given = {name: value.replace("TOKEN", token) for name, value in headers.items()}
    for path in (*PUBLIC, *PRIVATE):
        answer = house.ask("GET", f"/api/vfs/file?path={quote(path)}", headers=given)
        if path in PUBLIC or may_read_private:
            assert answer.status_code == 200
        else:
            assert error_of(answer) == (403, "not-in-session")


def test_session_that_has_ended_opens_nothing(house: House) -> None:
    session, token = house.register()
    house.ask("DELETE", f"/api/sessions/{session}")
    answer = house.ask("GET", "/api/vfs/file?path=CLAUDE.md", headers={"x-cco-session": token})

    assert error_of(answer) == (403, "not-in-session")


def test_owner_may_open_the_files_to_all_their_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = '[vfs]\naccess = "owner"'
    with open_house(tmp_path, monkeypatch, settings=settings) as house:
        target = "/api/vfs/file?path=CLAUDE.md"
        assert house.ask("GET", target, headers={"x-cco-caller-uid": US}).status_code == 200
        stranger = {"x-cco-caller-uid": str(os.getuid() + 1)}
        assert error_of(house.ask("GET", target, headers=stranger)) == (403, "not-in-session")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "missing-member"),
        ("?path=", 404, "unknown-file"),
        ("?path=health", 404, "unknown-file"),  # the mount makes it
        ("?path=..%2Fetc%2Fpasswd", 404, "unknown-file"),
        ("?path=plugin", 404, "unknown-file"),
    ],
)
def test_other_paths_are_not_there(query: str, status: int, code: str, shared_house: House) -> None:
    assert error_of(shared_house.ask("GET", f"/api/vfs/file{query}")) == (status, code)


def test_mount_hears_the_tree_and_reports(house: House) -> None:
    answer = house.ask("POST", "/api/vfs/watch", {"pid": PID, "path": "/m"})
    lines = iter(answer.response)
    line = next(lines)
    assert answer.mimetype == "application/x-ndjson"
    assert isinstance(line, bytes)
    told = json.loads(line)
    assert told["health"] == "OK"
    assert told["entries"] == house.services.published.entries()
    assert house.services.mounts.report is not None
    assert not house.services.mounts.report.is_serving

    figures = {"pssBytes": 1000, "rssBytes": 2000, "cpuPercent": 0.5}
    reported = house.ask(
        "POST", "/api/vfs/report", {"pid": PID, "path": "/m", "status": "ok", **figures}
    )
    assert (reported.status_code, reported.data) == (204, b"")
    report = house.services.mounts.report
    assert report is not None
    assert (report.is_serving, report.message, report.path) == (True, "", "/m")
    assert report.figures == figures

    house.ask("POST", "/api/vfs/report", {"pid": PID, "status": "error", "message": "it is ill"})
    report = house.services.mounts.report
    assert (report.is_serving, report.message, report.figures) == (False, "it is ill", {})
    answer.close()
    assert house.services.mounts.report is None


def test_figures_of_another_kind_are_left_out(house: House) -> None:
    lines = house.mount()
    told = {"pid": PID, "status": "ok", "pssBytes": "many", "rssBytes": None, "cpuPercent": []}
    assert house.ask("POST", "/api/vfs/report", told).status_code == 204
    assert house.services.mounts.report is not None
    assert house.services.mounts.report.figures == {}
    lines.close()


@pytest.mark.parametrize("told", [{}, {"pid": 1}, {"path": "/m"}, {"pid": "1", "path": "/m"}])
def test_mount_that_does_not_say_who_it_is_is_refused(
    told: dict[str, object], shared_house: House
) -> None:
    assert shared_house.ask("POST", "/api/vfs/watch", told).status_code == 400
    assert shared_house.services.mounts.report is None
