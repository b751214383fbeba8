# SPDX-License-Identifier: Apache-2.0
"""``cco agents eval``; the daemon is a table of answers here."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cco import paths
from cco.cli import evaluation
from cco.cli.evaluation import _duration, _read
from cco.cli.parser import build_parser
from cco.errors import BudgetExceeded, RequestError
from tests.unit.cli.fakes import StandIn, health, standing_in

TASK = {"agent": "go-specialist", "task": "A race", "mustContain": ["a", "b", "c"]}
PLAN = {"judge": "llm-eval-engineer", "tasks": [TASK], "calls": 2, "estimatedUsd": 0.25}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "r").mkdir(mode=0o700)
    return {
        "CCO_RUNTIME_DIR": str(tmp_path / "r"),
        "HOME": str(tmp_path),
        "CCO_SESSION": "the-token",
        "ANTHROPIC_API_KEY": "sk-ant-test-1",
    }


@pytest.fixture
def served(environ: dict[str, str]) -> Iterator[StandIn]:
    socket = paths.locate(environ, uid=os.getuid()).socket
    answers = {"GET /health": health(), "GET /api/evaluation": PLAN}
    with standing_in(socket, answers) as found:
        yield found


def answering(served: StandIn, *answers: Any) -> None:
    """Let the invocations be answered in this order."""
    left = iter(answers)
    served.answers["POST /api/agent/invoke"] = lambda: next(left)


def said(text: str, cost: float | None = 0.01) -> dict[str, Any]:
    return {"response": text, "costUsd": cost}


def do(environ: dict[str, str], *argv: str) -> int:
    return evaluation.run(build_parser().parse_args(["agents", "eval", *argv]), environ)


def test_answer_is_given_to_the_judge_with_all_statements(
    environ: dict[str, str], served: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(served, said("Use a mutex"), said("1: yes\n2: yes\n3: no"))

    assert do(environ, "go-specialist", "--yes") == 0
    asked, judged = [one for one in served.received if one[0].startswith("POST")]
    assert asked[2] == {"agent": "go-specialist", "task": "A race"}
    assert (judged[2]["agent"], judged[2]["context"]) == ("llm-eval-engineer", "Use a mutex")
    assert "1. a\n2. b\n3. c" in judged[2]["task"]
    assert {one[1].get("x-api-key") for one in (asked, judged)} == {"sk-ant-test-1"}
    assert all("x-cco-session" not in one[1] for one in served.received)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == [*("1/1", "go-specialist", "2/3", "$0.020000", "0", "s", "left")]
    assert shown[1] == "2 of 3 (67%) in 1 of 1 answers, $0.020000"


def test_agent_that_fails_does_not_keep_the_others_from_being_judged(
    environ: dict[str, str], served: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    served.answers["GET /api/evaluation"] = {**PLAN, "tasks": [TASK, TASK]}
    error = {"error": {"code": "upstream-error", "message": "it was overloaded", "hint": None}}
    answering(served, (502, error), said("x", None), said("1: yes\n2: yes\n3: yes"))

    assert do(environ, "--yes", "--json") == 1
    captured = capsys.readouterr()
    first, second = json.loads(captured.out)["agents"]
    assert (first["contained"], first["error"]) == (None, "it was overloaded")
    assert (second["contained"], second["costUsd"]) == ([True, True, True], None)
    assert len(captured.err.splitlines()) == 2


def test_spent_budget_ends_it(environ: dict[str, str], served: StandIn) -> None:
    answering(served, (402, {"error": {"code": "budget-spent", "message": "spent", "hint": None}}))

    with pytest.raises(BudgetExceeded):
        do(environ, "--yes")


def test_nobody_who_could_agree_is_told_what_it_takes(
    environ: dict[str, str], served: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(RequestError) as caught:
        do(environ)

    assert caught.value.message == "this takes 1 agent, 2 calls of models, about $0.250000"
    assert caught.value.hint == "Add --yes to agree"


@pytest.mark.parametrize(
    ("verdict", "held"),
    [
        ("1: yes\n2: no\n3: yes", [True, False, True]),
        ("**1** - Yes, it does\n 2) NO\n3. yes", [True, False, True]),
        ("1: yes\n2: no", None),
        ("1: yes\n2: no\n3: perhaps", None),
        ("1: yes\n2: no\n3: yes\n4: yes", None),
        ("", None),
    ],
)
def test_verdict_speaks_of_every_statement_or_is_none(
    verdict: str, held: list[bool] | None
) -> None:
    assert _read(verdict, count=3) == held


def test_time_left_is_told_in_units_of_people() -> None:
    assert [_duration(seconds) for seconds in (0, 59, 60, 3599)] == [
        "0 s",
        "59 s",
        "1 min",
        "59 min",
    ]
