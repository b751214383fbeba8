# SPDX-License-Identifier: Apache-2.0
"""Figures for another program: all of them or no file, and nothing that a spreadsheet would run."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cco.cli import export
from cco.cli.parser import build_parser
from cco.errors import CcoError, RequestError
from tests.unit.cli.fakes import StandIn

Capture = pytest.CaptureFixture[str]

TOKENS = {
    "input": 1,
    "output": 2,
    "cacheRead": 3,
    "cacheWrite5m": 4,
    "cacheWrite1h": 5,
    "total": 15,
}
GROUP = {"costUsd": 0.5, "savedUsd": 0, "requests": 3, "errors": 1, "tokens": TOKENS}
STATS: dict[str, Any] = {
    "project": None,
    "cost": {"totalUsd": 0.5, "savedUsd": 0},
    "byDay": [{"day": "2026-11-28", **GROUP}],
    "byModel": [{"model": "claude-opus-x", **GROUP}],
    "byAgent": [{"agent": "=HYPERLINK(1)", **GROUP}],
    "bySession": [],
}
FACTS = {"project": "/p", "facts": [{"id": 1, "text": "-1\nzwei, ü", "session": None}]}


def request(number: int, **changes: Any) -> dict[str, Any]:
    return {"id": number, "model": "m", "costUsd": 0.25, "partial": False, **changes}


@pytest.fixture
def served(served: StandIn) -> StandIn:
    served.answers |= {
        "GET /api/project/stats": STATS,
        "GET /api/knowledge": FACTS,
        "GET /api/requests?after=0&limit=1000": {
            "total": 3,
            "requests": [request(1), request(2, costUsd=None)],
            "next": 2,
        },
        "GET /api/requests?after=2&limit=1000": {
            "total": None,
            "requests": [request(7, model="+1")],
            "next": None,
        },
    }
    return served


def do(environ: dict[str, str], *argv: str) -> int:
    return export.run(build_parser().parse_args(["export", *argv]), environ)


def test_requests_are_all_of_them(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    assert do(environ, "requests", "--format", "json") == 0

    told = json.loads(capsys.readouterr().out)
    assert told == [request(1), request(2, costUsd=None), request(7, model="+1")]


def test_table_has_names_and_no_formula(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    assert do(environ, "requests", "--format", "csv") == 0

    assert capsys.readouterr().out.splitlines() == [
        "id,model,costUsd,partial",
        "1,m,0.25,false",
        "2,m,,false",
        "7,'+1,0.25,false",
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_formulas_are_texts(text: str) -> None:
    assert export._cells([text, f"x{text}", -1, None]) == [f"'{text}", f"x{text}", -1, None]


def test_statistics_are_one_table(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    assert do(environ, "stats", "--format", "csv") == 0

    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["by"], row["name"], row["totalTokens"]) for row in rows] == [
        ("day", "2026-11-28", "15"),
        ("model", "claude-opus-x", "15"),
        ("agent", "'=HYPERLINK(1)", "15"),
    ]
    assert list(rows[0])[:6] == ["by", "name", "costUsd", "savedUsd", "requests", "errors"]


def test_statistics_are_one_document(
    environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    assert do(environ, "stats", "--format", "json", "--since", "2026-11-01", "--project", "/") == 0

    assert json.loads(capsys.readouterr().out) == STATS
    asked = served.received[-1][0]
    assert "project=%2F&" in asked
    assert "since=2026-1" in asked
    assert "byDay" in asked


def test_knowledge_is_that_of_the_project(
    environ: dict[str, str], served: StandIn, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert do(environ, "knowledge", "--format", "csv") == 0

    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert row == {"id": "1", "text": "'-1\nzwei, ü", "session": ""}
    assert served.received[-1][0] == "GET /api/knowledge?project=%2F&limit=1000"


@pytest.mark.parametrize(("form", "out"), [("csv", ""), ("json", "[]\n")])
def test_of_nothing_nothing_is_written(
    form: str, out: str, environ: dict[str, str], served: StandIn, capsys: Capture
) -> None:
    served.answers["GET /api/knowledge"] = {"project": "/", "facts": []}
    assert do(environ, "knowledge", "--format", form) == 0
    assert capsys.readouterr().out == out


def test_file_is_its_owners_alone(
    environ: dict[str, str], served: StandIn, tmp_path: Path, capsys: Capture
) -> None:
    assert do(environ, "requests", "--format", "json", "-o", str(tmp_path / "out")) == 0

    assert len(json.loads((tmp_path / "out").read_text())) == 3
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"out", "r"}
    assert capsys.readouterr() == ("", "")


def test_error_leaves_no_part_of_a_file(
    environ: dict[str, str], served: StandIn, tmp_path: Path
) -> None:
    error = (500, {"error": {"code": "internal", "message": "no"}})
    served.answers["GET /api/requests?after=2&limit=1000"] = error
    with pytest.raises(CcoError):
        do(environ, "requests", "--format", "csv", "-o", str(tmp_path / "out"))

    assert {path.name for path in tmp_path.iterdir()} == {"r"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "is_written"), [(None, False), ("\n", False), ("n\n", False), ("y\n", True)]
)
def test_nothing_is_written_over_unasked(
    typed: str | None,
    is_written: bool,
    environ: dict[str, str],
    served: StandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "out").write_text("mine")
    monkeypatch.setattr(sys, "stdin", io.StringIO() if typed is None else Terminal(typed))
    monkeypatch.setattr(sys, "stdout", Terminal())
    words = ("knowledge", "--format", "json", "-o", str(tmp_path / "out"))
    if is_written:
        assert do(environ, *words) == 0
    else:
        with pytest.raises(RequestError) as caught:
            do(environ, *words)
        assert caught.value.code == "file-exists"
        assert served.received == []

    assert ((tmp_path / "out").read_text() == "mine") is not is_written


@pytest.mark.parametrize(
    ("name", "code"), [("no/such/out", "file-unwritable"), ("r", "file-exists")]
)
def test_file_that_cannot_be_is_told(
    name: str, code: str, environ: dict[str, str], served: StandIn, tmp_path: Path
) -> None:
    with pytest.raises(RequestError) as caught:
        do(environ, "knowledge", "--format", "json", "-o", str(tmp_path / name))

    assert caught.value.code == code
    assert caught.value.hint


def test_device_is_written_to(environ: dict[str, str], served: StandIn) -> None:
    assert do(environ, "knowledge", "--format", "json", "-o", "/dev/null") == 0
    assert Path("/dev/null").is_char_device()
