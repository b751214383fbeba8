# SPDX-License-Identifier: Apache-2.0
"""`cco knowledge`: what is asked of the daemon, what people read, and what is asked of them."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cco.cli import knowledge
from cco.cli.parser import build_parser, help_text
from cco.errors import NotFound, RequestError
from tests.unit.cli.fakes import StandIn

Capture = pytest.CaptureFixture[str]

FACT = {
    "id": 7,
    "project": "/p",
    "type": "decision",
    "text": "Money is kept in cents",
    "source": "user",
    "session": None,
    "time": "2026-11-28T10:00:00Z",
}
LONG = {**FACT, "id": 12, "type": "completion", "source": "Test Engineer", "text": "a\nb " * 100}
STATS = {
    "project": "/p",
    "enabled": True,
    "injectTokens": 1500,
    "facts": 2,
    "textBytes": 400,
    "byType": {"decision": 1, "completion": 1},
    "byProject": [],
    "memories": 3,
    "limits": {"factsPerProject": 1000, "bytesPerProject": 1000000},
}


@pytest.fixture
def served(served: StandIn) -> StandIn:
    served.answers |= {
        "POST /api/knowledge": (201, FACT),
        "GET /api/knowledge": {"project": "/p", "facts": [FACT, LONG]},
        "GET /api/knowledge/stats": STATS,
        "DELETE /api/knowledge": {"forgotten": 2},
        "DELETE /api/knowledge/7": {},
        "DELETE /api/knowledge/12": {},
    }
    return served


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    top = tmp_path / "project"
    (top / "sub").mkdir(parents=True)
    (top / ".git").mkdir()
    monkeypatch.chdir(top / "sub")
    return top


def do(environ: dict[str, str], *argv: str) -> int:
    return knowledge.run(build_parser().parse_args(["knowledge", *argv]), environ)


def asked(served: StandIn) -> list[tuple[str, dict[str, list[str]], Any]]:
    """Return method and path, query and payload of what was asked, greetings left out."""
    found = []
    for target, _, payload in served.received:
        method, _, rest = target.partition(" ")
        parts = urlsplit(rest)
        if parts.path != "/health":
            found.append((f"{method} {parts.path}", parse_qs(parts.query), payload))
    return found


class Terminal(io.StringIO):
    """Standard input of a person."""

    def isatty(self) -> bool:
        return True


def test_fact_is_stored_for_the_project_around(
    environ: dict[str, str], served: StandIn, project: Path, capsys: Capture
) -> None:
    assert do(environ, "store", " Money is kept in cents ") == os.EX_OK

    payload = {"project": str(project), "type": "decision", "text": "Money is kept in cents"}
    assert asked(served) == [("POST /api/knowledge", {}, payload)]
    assert capsys.readouterr().out == "stored as 7, a decision of /p\n"


def test_query_of_a_whole_log_is_cut_to_what_is_looked_for(
    environ: dict[str, str], served: StandIn, project: Path
) -> None:
    assert do(environ, "search", "error: ü🚀 " * 5_000) == os.EX_OK

    ((_, query, _),) = asked(served)
    assert 400 < len(query["q"][0]) <= 500


def test_fact_is_read_from_standard_input(
    environ: dict[str, str],
    served: StandIn,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("two\nlines\n"))
    argv = ("--type", "issue", "--project", str(tmp_path), "--json", "-")
    assert do(environ, "store", *argv) == os.EX_OK

    payload = {"project": str(tmp_path), "type": "issue", "text": "two\nlines"}
    assert asked(served) == [("POST /api/knowledge", {}, payload)]
    assert json.loads(capsys.readouterr().out) == FACT


def test_bytes_that_are_no_text_are_refused(
    environ: dict[str, str], served: StandIn, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"))
    with pytest.raises(RequestError) as caught:
        do(environ, "store", "-")

    assert caught.value.code == "not-text"
    assert asked(served) == []


def test_facts_are_listed_in_columns(
    environ: dict[str, str], served: StandIn, project: Path, capsys: Capture
) -> None:
    assert do(environ, "list", "--type", "issue", "--limit", "5") == os.EX_OK

    query = {"project": [str(project)], "limit": ["5"], "type": ["issue"]}
    assert asked(served) == [("GET /api/knowledge", query, None)]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "id  type        since       from           what is known"
    assert lines[1] == " 7  decision    2026-11-28  user           Money is kept in cents"
    assert lines[2].startswith("12  completion  2026-11-28  Test Engineer  a b a b a b")
    assert lines[2].endswith("…")
    assert {len(line.split("  ")[-1]) <= 100 for line in lines} == {True}


def test_facts_are_searched(
    environ: dict[str, str], served: StandIn, project: Path, capsys: Capture
) -> None:
    assert do(environ, "search", "how & why?", "--json") == os.EX_OK

    query = {"project": [str(project)], "limit": ["20"], "q": ["how & why?"]}
    assert asked(served) == [("GET /api/knowledge", query, None)]
    assert json.loads(capsys.readouterr().out) == [FACT, LONG]


@pytest.mark.parametrize(
    ("argv", "told"),
    [(("list",), "nothing is known yet\n"), (("search", "x"), "nothing was found\n")],
)
def test_nothing_is_said_to_be_nothing(
    argv: tuple[str, ...],
    told: str,
    environ: dict[str, str],
    served: StandIn,
    project: Path,
    capsys: Capture,
) -> None:
    served.answers["GET /api/knowledge"] = {"project": "/p", "facts": []}
    assert do(environ, *argv) == os.EX_OK

    assert capsys.readouterr().out == told


def test_stats_are_shown(
    environ: dict[str, str], served: StandIn, project: Path, capsys: Capture
) -> None:
    served.answers["GET /api/knowledge/stats"] = {**STATS, "enabled": False}
    assert do(environ, "stats") == os.EX_OK

    out = capsys.readouterr().out
    for words in ("/p (switched off)", "2 of 1000", "400 of 1000000 bytes", "1500 tokens"):
        assert words in out
    assert do(environ, "stats", "--json") == os.EX_OK
    assert json.loads(capsys.readouterr().out) == {**STATS, "enabled": False}


def test_one_fact_is_forgotten_without_a_question(
    environ: dict[str, str], served: StandIn, project: Path, capsys: Capture
) -> None:
    assert do(environ, "forget", "7") == os.EX_OK

    assert asked(served) == [("DELETE /api/knowledge/7", {}, None)]
    assert capsys.readouterr().out == "1 fact forgotten\n"


@pytest.mark.parametrize("answer", ["y\n", "YES\n", "n\n", "\n", ""])
@pytest.mark.parametrize("argv", [("7", "12", "7"), ("--all",)])
def test_more_than_one_are_forgotten_when_a_person_agrees(
    argv: tuple[str, ...],
    answer: str,
    environ: dict[str, str],
    served: StandIn,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    is_agreed = answer.strip().lower() in ("y", "yes")
    assert do(environ, "forget", *argv) == (os.EX_OK if is_agreed else 1)

    out = capsys.readouterr().out
    assert out.startswith("Forget 2 facts")
    assert out.endswith("2 facts forgotten\n" if is_agreed else "nothing was forgotten\n")
    gone = [target for target, _, _ in asked(served) if target.startswith("DELETE")]
    all_of_them = ["DELETE /api/knowledge"]
    each = ["DELETE /api/knowledge/7", "DELETE /api/knowledge/12"]
    assert gone == ([] if not is_agreed else all_of_them if argv == ("--all",) else each)


def test_without_a_person_somebody_must_have_agreed(
    environ: dict[str, str],
    served: StandIn,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    for argv in (("7", "12"), ("--all",)):
        with pytest.raises(RequestError) as caught:
            do(environ, "forget", *argv)
        assert caught.value.code == "not-agreed"
        assert do(environ, "forget", *argv, "--yes", "--json") == os.EX_OK
        assert json.loads(capsys.readouterr().out) == {"forgotten": 2}


@pytest.mark.parametrize("argv", [(), ("7", "--all")])
def test_what_is_forgotten_must_be_said(
    argv: tuple[str, ...], environ: dict[str, str], served: StandIn, project: Path
) -> None:
    with pytest.raises(RequestError) as caught:
        do(environ, "forget", *argv)

    assert caught.value.code == "bad-arguments"
    assert asked(served) == []


def test_fact_that_is_not_there_is_told(
    environ: dict[str, str], served: StandIn, project: Path
) -> None:
    error = {"code": "unknown-fact", "message": "there is no fact 8", "hint": None}
    served.answers["DELETE /api/knowledge/8"] = (404, {"error": error})

    with pytest.raises(NotFound):
        do(environ, "forget", "8")


def test_help_says_what_is_kept_and_where() -> None:
    text = help_text("knowledge")

    assert text is not None
    for words in ("one place where CCO keeps text of sessions", "knowledge.db", "enabled = false"):
        assert words in " ".join(text.split())
