# SPDX-License-Identifier: Apache-2.0
"""The status line: one line, whatever comes in."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cco.cli import statusline
from cco.cli.statusline import AWAY, OTHER, context_share, line, parse, show
from tests.capabilities import ROOT
from tests.unit.cli.fakes import StandIn

GIVEN: dict[str, Any] = {
    "session_id": "a b/c",
    "cwd": "/p",
    "model": {"id": "claude-opus-4-8", "display_name": "Opus"},
    "workspace": {"current_dir": "/p", "project_dir": "/p"},
    "cost": {"total_cost_usd": 9.99},
    "context_window": {"context_window_size": 200_000, "used_percentage": 45},
}
TOLD: dict[str, Any] = {
    "session": {"costUsd": 1.234, "promptCacheHitRate": 0.93},
    "today": {"costUsd": 4.567, "promptCacheHitRate": 0.5},
    "budget": {"scope": "day", "action": "block", "limitUsd": 20.0, "spentUsd": 4.6},
}


def changed(**changes: Any) -> dict[str, Any]:
    return {**TOLD, **changes}


def budget(spent: float, limit: float = 10.0) -> dict[str, Any]:
    return {**TOLD["budget"], "spentUsd": spent, "limitUsd": limit}


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (
            TOLD,
            "cco $1.23 session | $4.57 today | 23% of day budget | cache 93% | context 45%",
        ),
        (
            changed(session=None, budget=None),
            "cco | $4.57 today | cache 50% | context 45%",
        ),
        (
            changed(session={"costUsd": 0, "promptCacheHitRate": None}, budget=None),
            "cco $0.00 session | $4.57 today | context 45%",
        ),
        (
            changed(session=None, budget=budget(8)),
            "cco | $4.57 today | 80% of day budget! | cache 50% | context 45%",
        ),
        (
            changed(session=None, budget=budget(0, 0)),
            "cco | $4.57 today | 100% of day budget!! | cache 50% | context 45%",
        ),
    ],
)
def test_what_is_shown(told: dict[str, Any], shown: str) -> None:
    assert show(GIVEN, told, is_plain=True) == shown


def test_colour_says_nothing_alone_and_is_left_out_if_wished() -> None:
    told = changed(budget=budget(12))
    plain, coloured = (show(GIVEN, told, is_plain=is_plain) for is_plain in (True, False))
    assert "\x1b" not in plain
    assert "120% of day budget!!" in plain
    assert "\x1b[31m120% of day budget!!\x1b[0m" in coloured
    assert coloured.replace("\x1b[31m", "").replace("\x1b[0m", "") == plain


@pytest.mark.parametrize(
    ("window", "share"),
    [
        ({"used_percentage": 0}, 0.0),
        ({"used_percentage": 99.5}, 0.995),
        (
            {
                "used_percentage": None,
                "context_window_size": 1000,
                "current_usage": {
                    "input_tokens": 100,
                    "cache_creation_input_tokens": 50,
                    "cache_read_input_tokens": 350,
                    "output_tokens": 400,
                },
            },
            0.5,
        ),
        ({"context_window_size": 1000, "current_usage": None}, None),
        ({"context_window_size": 0, "current_usage": {}}, None),
        ({"context_window_size": "1000", "current_usage": {}}, None),
        ({"used_percentage": True}, None),
        ({"used_percentage": -1}, None),
        ({"used_percentage": float("nan")}, None),
        ([], None),
        (None, None),
    ],
)
def test_context_is_shown_where_it_is_told(window: object, share: float | None) -> None:
    assert context_share({"context_window": window}) == share


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_input_that_is_none_is_nothing(data: bytes) -> None:
    assert parse(data) == {}


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, "NO_COLOR": "1", "CCO_SESSION": "t"}


@pytest.fixture
def served(served: StandIn) -> StandIn:
    served.answers["GET /api/statusline"] = TOLD
    return served


def test_daemon_is_asked_once_for_this_session(
    environ: dict[str, str], served: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps(GIVEN).encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert statusline.run(None, environ) == 0

    assert capsys.readouterr() == (show(GIVEN, TOLD, is_plain=True) + "\n", "")
    ((asked, headers, _),) = served.received
    assert asked == "GET /api/statusline?session=a%20b%2Fc"
    assert headers["x-cco-session"] == "t"


@pytest.mark.parametrize("session", [None, 7, [], "\ud83d"])
def test_session_of_any_kind_is_borne(
    session: object, environ: dict[str, str], served: StandIn
) -> None:
    assert line({"session_id": session}, environ).startswith("cco $1.23 session")


@pytest.mark.parametrize(
    "answer",
    [(500, {"error": {"code": "internal", "message": "no"}}), (404, {}), b"not JSON"],
)
def test_daemon_that_does_not_know_is_away(
    answer: Any, environ: dict[str, str], served: StandIn
) -> None:
    served.answers["GET /api/statusline"] = answer
    assert line(GIVEN, environ) == AWAY


@pytest.mark.parametrize("told", [{}, {"session": None, "today": {}, "budget": None}, []])
def test_daemon_of_another_version_gives_a_line_too(
    told: object, environ: dict[str, str], served: StandIn
) -> None:
    served.answers["GET /api/statusline"] = (200, told)
    assert line(GIVEN, environ) == OTHER


def test_no_daemon_is_no_error_and_none_is_started(environ: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cco", "statusline"],
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), **environ},
        cwd=tmp_path,
        input=json.dumps(GIVEN),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == (f"{AWAY}\n", "")
    assert list((tmp_path / "r").iterdir()) == []


def test_closed_standard_input_gives_a_line_too(environ: dict[str, str]) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -m cco statusline <&-'],
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == (f"{AWAY}\n", "")


def test_little_is_loaded(environ: dict[str, str]) -> None:
    # It runs after every answer: no settings, no daemon's control, no parser's commands.
    code = (
        "import sys; from cco.cli.main import main; import os; main(['statusline'], os.environ);"
        "print(*sorted(name for name in sys.modules if name.startswith('cco.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split("\n")[1].split() == [
        *("cco.cli", "cco.cli.main", "cco.cli.output", "cco.cli.parser", "cco.cli.statusline"),
        *("cco.client", "cco.errors", "cco.paths"),
    ]
