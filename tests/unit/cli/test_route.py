# SPDX-License-Identifier: Apache-2.0
"""``cco route``; the daemon is a table of answers here."""

import json

import pytest

from cco.cli import route
from cco.cli.parser import build_parser
from tests.unit.cli.fakes import StandIn

CHOICES = {
    "agents": [
        {"name": "Go Specialist", "slug": "go-specialist", "score": 0.7, "reason": "words: go"},
        {"name": "QA Engineer", "slug": "qa-engineer", "score": 0.25, "reason": "words: try"},
    ]
}


def do(environ: dict[str, str], *argv: str) -> int:
    return route.run(build_parser().parse_args(["route", *argv]), environ)


def test_agents_are_shown_with_score_and_reason(
    environ: dict[str, str], served: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    served.answers["POST /api/route"] = CHOICES

    assert do(environ, "a race in Go") == 0
    assert capsys.readouterr().out.splitlines() == [
        "agent          score  because of",
        "go-specialist    0.7  words: go",
        "qa-engineer     0.25  words: try",
    ]
    assert served.received[-1][2] == {"task": "a race in Go"}
    assert do(environ, "a race in Go", "--json") == 0
    assert json.loads(capsys.readouterr().out) == CHOICES


def test_nobody_is_said_to_fit(
    environ: dict[str, str], served: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    served.answers["POST /api/route"] = {"agents": []}

    assert do(environ, "zzz") == 0
    assert capsys.readouterr().out == "no agent fits this task\n"
