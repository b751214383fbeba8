# SPDX-License-Identifier: Apache-2.0
"""Every figure that is shown, recomputed from the ledger's rows; on a live daemon."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cco.ledger.prices import Prices
from tests.daemon import KEY, MODEL, Daemon, Launched, asking, call
from tests.integration.traffic import ask, message, post
from tests.recomputed import (
    KINDS,
    NANO,
    Row,
    figures,
    is_error,
    rate,
    rows_of,
    time_of,
    tokens,
    total,
    without_order,
)

pytestmark = pytest.mark.timeout(180)

AGENTS: Final = {"a1": "cco:chief-architect", "a2": "cco:api-designer", "a3": "Explore"}


def launch(served: Daemon, project: Path) -> Launched:
    """Begin a session of another project."""
    process = served.launch().process
    told = served.client.call(
        "POST",
        "/api/sessions",
        {"pid": process.pid, "cwd": str(project), "project": str(project)},
    )
    return Launched(told["id"], told["token"], process)


def work(served: Daemon) -> tuple[Launched, Launched]:
    """Make requests of every kind, by two sessions of two projects; return the sessions."""
    one, other = served.launch(), launch(served, served.home / "elsewhere")
    for agent_id, kind in AGENTS.items():
        told = {"session_id": "c-1", "agent_id": agent_id, "agent_type": kind}
        served.client.request("POST", "/api/hooks/SubagentStart", body=json.dumps(told).encode())
    headers = [
        {"x-claude-code-session-id": "c-1"},
        *({"x-claude-code-session-id": "c-1", "x-claude-code-agent-id": each} for each in AGENTS),
        {"x-claude-code-session-id": "c-2", "x-claude-code-agent-id": "nobody told of it"},
        {},
    ]
    prompts = [
        *("hello", "offline: text 3000", "offline: status 429", "offline: status 500"),
        *("offline: cut content", "offline: error overloaded_error", "offline: html"),
    ]
    for number, prompt in enumerate(prompts):
        for session in (one, other):
            named = headers[number % len(headers)]
            body = message(prompt)
            if number > 3:
                body = asking(prompt, stream=True)
            post(served, f"/s/{session.id}/v1/messages", body, named)
    for model in ("claude-haiku-4-5", "claude-opus-4-8-20260101", "a-model-without-a-price"):
        post(served, f"/s/{one.id}/v1/messages", message("hi", model=model), headers[1])
    for _ in range(3):
        counted = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "x"}]})
        post(served, f"/s/{one.id}/v1/messages/count_tokens", counted.encode(), headers[0])
    post(served, "/v1/messages", message("without a session"), {})
    call(served.port, "GET", "/v1/models")
    for _ in range(2):
        asked = {"agent": "chief-architect", "task": "Name three risks"}
        served.client.call("POST", "/api/agent/invoke", asked, headers={"x-api-key": KEY})
    return one, other


def test_every_figure_is_the_sum_of_rows(cco: Daemon) -> None:
    cco.start()
    one, other = work(cco)
    rows = rows_of(cco)
    # There is something of everything to be summed up.
    assert {row["cache"] for row in rows} >= {"hit", "miss", "bypass"}
    for column in ("partial", "cost_nano", "saved_nano", "prompt_saved_nano", *KINDS.values()):
        assert total(rows, column) > 0 or column == "cache_write_1h_tokens", column
    assert {0, 1} == {row["priced"] for row in rows}
    assert {"main", "Chief Architect", "Explore", "unattributed"} <= {row["agent"] for row in rows}

    _projects_are_told(cco, rows)
    _spans_are_told(cco, rows)
    _machine_is_told(cco, rows)
    _sessions_are_told(cco, rows, one, other)
    _cache_is_told(cco, rows)
    _metrics_are_told(cco, rows)
    _invocation_is_told(cco)


def _projects_are_told(cco: Daemon, rows: list[Row]) -> None:
    for project in (None, str(cco.home), str(cco.home / "elsewhere"), "/none"):
        mine = [row for row in rows if project is None or row["project"] == project]
        told = ask(cco, project=project or "")
        for member in ("byModel", "byAgent", "bySession"):  # the dearest first
            costs = [one["costUsd"] for one in told[member]]
            assert costs == sorted(costs, reverse=True)
        named = {"project": project, "since": None, "until": None}
        assert without_order(told) == without_order({**named, **figures(mine)})
        chosen = ask(cco, project=project or "", fields="cost,byDay")
        assert chosen == {"cost": told["cost"], "byDay": told["byDay"]}


def _spans_are_told(cco: Daemon, rows: list[Row]) -> None:
    middle = rows[len(rows) // 2]["started_ns"] // 1000 * 1000
    moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=middle // 1000)
    for name, mine in (
        ("since", [row for row in rows if row["started_ns"] >= middle]),
        ("until", [row for row in rows if row["started_ns"] < middle]),
    ):
        told = ask(cco, project="", **{name: moment.isoformat()})
        expected = {"project": None, "since": None, "until": None, **figures(mine)}
        assert told[name] == time_of(rows[len(rows) // 2])
        assert without_order({**told, name: None}) == without_order(expected)


def _machine_is_told(cco: Daemon, rows: list[Row]) -> None:
    told = cco.client.call("GET", "/api/machine/stats")
    named = {"project": None, "since": None, "until": None}
    assert without_order(told["totals"]) == without_order({**named, **figures(rows)})
    projects = {row["project"] for row in rows}
    assert {one["project"]: one for one in told["projects"]} == {
        project: {
            "project": project,
            "costUsd": total((r for r in rows if r["project"] == project), "cost_nano") / NANO,
            "requests": sum(row["project"] == project for row in rows),
        }
        for project in projects
    }
    assert [(one["upstream"], one["values"]["unified-status"]) for one in told["planLimits"]] == [
        ("offline", "allowed")
    ]


def _sessions_are_told(cco: Daemon, rows: list[Row], *launched: Launched) -> None:
    told = {one["id"]: one for one in cco.client.call("GET", "/api/sessions")["sessions"]}
    assert len(told) == cco.client.call("GET", "/api/machine/stats")["sessions"]
    for session in launched:
        mine = [row for row in rows if row["session_id"] == session.id]
        assert told[session.id]["costUsd"] == total(mine, "cost_nano") / NANO > 0


def _cache_is_told(cco: Daemon, rows: list[Row]) -> None:
    told = cco.client.call("GET", "/api/cache/stats")
    counts = {kind: sum(row["cache"] == kind for row in rows) for kind in ("hit", "miss")}
    coalesced = sum(row["cache"] == "coalesced" for row in rows)
    assert (told["hits"], told["misses"]) == (counts["hit"], counts["miss"])
    assert told["coalesced"] == coalesced
    assert told["hitRate"] == rate(counts["hit"], sum(counts.values()))
    assert told["savedUsd"] == total(rows, "saved_nano") / NANO
    # What an answer saved is what the same one had cost before.
    for row in rows:
        if row["saved_nano"]:
            assert row["saved_nano"] in {each["cost_nano"] for each in rows}


def _metrics_are_told(cco: Daemon, rows: list[Row]) -> None:
    text = cco.client.request("GET", "/metrics").body.decode()
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    prices = Prices.load()

    def value(name: str, **labels: str) -> float:
        (found,) = [each.value for each in samples if (each.name, each.labels) == (name, labels)]
        return found

    by_model: dict[str, list[Row]] = {}
    for row in rows:
        by_model.setdefault(prices.resolve(row["model"]) or "other", []).append(row)
    assert "other" in by_model
    for model, mine in by_model.items():
        assert value("cco_requests_total", model=model) == len(mine)
        assert value("cco_requests_errors_total", model=model) == sum(map(is_error, mine))
        assert value("cco_requests_partial_total", model=model) == total(mine, "partial")
        assert value("cco_cost_usd_total", model=model) == total(mine, "cost_nano") / NANO
        assert value("cco_saved_usd_total", model=model) == total(mine, "saved_nano") / NANO
        for column in KINDS.values():
            kind = column.removesuffix("_tokens")
            assert value("cco_tokens_total", model=model, kind=kind) == total(mine, column)
    agents = {row["agent"]: [r for r in rows if r["agent"] == row["agent"]] for row in rows}
    for agent, mine in agents.items():
        name = "other" if agent == "Explore" else agent  # Claude Code's own
        assert value("cco_agent_requests_total", agent=name) == len(mine)
        cost = total(mine, "cost_nano") / NANO
        assert value("cco_agent_cost_usd_total", agent=name) == cost
    for process in ("worker", "arbiter"):
        assert value("cco_memory_pss_bytes", process=process) > 2**20
    assert value("cco_requests_running") == 0
    assert value("cco_ledger_up") == 1


def _invocation_is_told(cco: Daemon) -> None:
    asked = {"agent": "chief-architect", "task": "Name four risks"}
    told = cco.client.call("POST", "/api/agent/invoke", asked, headers={"x-api-key": KEY})
    (row,) = [row for row in rows_of(cco) if row["request_id"] == told["requestId"]]
    assert told["costUsd"] == row["cost_nano"] / NANO > 0
    assert told["usage"] == tokens([row])
    assert (told["agent"], told["cached"]) == (row["agent"], False)
