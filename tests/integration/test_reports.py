# SPDX-License-Identifier: Apache-2.0
"""Every figure that is shown, recomputed from the ledger's rows; on a live daemon."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cco.ledger.prices import Prices
from tests.daemon import KEY, MODEL, Daemon, Launched, asking, call
from tests.mounting import wait_until
from tests.rawserver import always, reply, serving

Row = Mapping[str, Any]

NANO: Final = 10**9
HOUR_NS: Final = 3600 * NANO
AGENTS: Final = {"a1": "cco:chief-architect", "a2": "cco:api-designer", "a3": "Explore"}
KINDS: Final = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cacheRead": "cache_read_tokens",
    "cacheWrite5m": "cache_write_5m_tokens",
    "cacheWrite1h": "cache_write_1h_tokens",
}


def rows_of(served: Daemon) -> list[Row]:
    """Return all requests of the ledger, read past the daemon."""
    uri = f"{(served.state / 'cco.db').as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM requests ORDER BY id")]


# What the figures must be


def total(rows: Iterable[Row], column: str) -> int:
    return sum(row[column] for row in rows)


def is_error(row: Row) -> bool:
    return bool(row["status"] == 0 or row["status"] >= 400 or row["error"])


def tokens(rows: list[Row]) -> dict[str, int]:
    found = {kind: total(rows, column) for kind, column in KINDS.items()}
    return {**found, "total": sum(found.values())}


def group(rows: list[Row]) -> dict[str, Any]:
    return {
        "costUsd": total(rows, "cost_nano") / NANO,
        "savedUsd": total(rows, "saved_nano") / NANO,
        "requests": len(rows),
        "errors": sum(map(is_error, rows)),
        "tokens": tokens(rows),
    }


def rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def grouped(rows: list[Row], member: str, column: str) -> list[dict[str, Any]]:
    names = {row[column] for row in rows}
    return [{member: name} | group([row for row in rows if row[column] == name]) for name in names]


def day_of(row: Row) -> str:
    hour = datetime.fromtimestamp(row["started_ns"] // HOUR_NS * 3600, UTC)
    return hour.astimezone().date().isoformat()


def time_of(row: Row) -> str:
    moment = datetime.fromtimestamp(row["started_ns"] // NANO, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{row['started_ns'] // 10**6 % 1000:03d}Z"


def recent(row: Row) -> dict[str, Any]:
    return {
        "time": time_of(row),
        "agent": row["agent"],
        "model": row["model"],
        "status": row["status"],
        "cache": row["cache"],
        "inputTokens": row["input_tokens"],
        "outputTokens": row["output_tokens"],
        "costUsd": row["cost_nano"] / NANO if row["priced"] else None,
        "latencyMs": row["latency_ms"],
        "ttftMs": row["ttft_ms"],
    }


def figures(rows: list[Row]) -> dict[str, Any]:
    """Return what the statistics of these requests must be, in the shape of the API."""
    hits, misses = (sum(row["cache"] == kind for row in rows) for kind in ("hit", "miss"))
    used = tokens(rows)
    days = sorted({day_of(row) for row in rows})
    latest = sorted(rows, key=lambda row: (row["started_ns"], row["id"]), reverse=True)
    return {
        "cost": {
            "totalUsd": total(rows, "cost_nano") / NANO,
            "savedUsd": total(rows, "saved_nano") / NANO,
        },
        "tokens": used,
        "requests": {
            "total": len(rows),
            "errors": sum(map(is_error, rows)),
            "partial": total(rows, "partial"),
            "unpriced": sum(not row["priced"] for row in rows),
        },
        "cache": {"hits": hits, "misses": misses, "hitRate": rate(hits, hits + misses)},
        "promptCache": {
            "hitRate": rate(used["cacheRead"], used["total"] - used["output"]),
            "savedUsd": total(rows, "prompt_saved_nano") / NANO,
        },
        "byModel": grouped(rows, "model", "model"),
        "byAgent": grouped(rows, "agent", "agent"),
        "bySession": grouped(rows, "session", "client_session"),
        "byDay": [{"day": day} | group([r for r in rows if day_of(r) == day]) for day in days],
        "recent": [recent(row) for row in latest[:50]],
    }


def without_order(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return statistics with the groups that are told in the order of their cost by name."""
    found = dict(told)
    for by in ("model", "agent", "session"):
        found[f"by{by.capitalize()}"] = {one[by]: one for one in told[f"by{by.capitalize()}"]}
    return found


# Traffic


def message(prompt: str, *, model: str = MODEL, max_tokens: int = 500) -> bytes:
    mark = {"type": "ephemeral"}
    asked = {
        "model": model,
        "max_tokens": max_tokens,
        "system": [{"type": "text", "text": "You are terse. " * 40, "cache_control": mark}],
        "messages": [{"role": "user", "content": prompt}],
    }
    return json.dumps(asked).encode()


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
            _post(served, f"/s/{session.id}/v1/messages", body, named)
    for model in ("claude-haiku-4-5", "claude-opus-4-8-20260101", "a-model-without-a-price"):
        _post(served, f"/s/{one.id}/v1/messages", message("hi", model=model), headers[1])
    for _ in range(3):
        counted = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "x"}]})
        _post(served, f"/s/{one.id}/v1/messages/count_tokens", counted.encode(), headers[0])
    _post(served, "/v1/messages", message("without a session"), {})
    call(served.port, "GET", "/v1/models")
    for _ in range(2):
        asked = {"agent": "chief-architect", "task": "Name three risks"}
        served.client.call("POST", "/api/agent/invoke", asked, headers={"x-api-key": KEY})
    return one, other


def _post(served: Daemon, target: str, body: bytes, headers: Mapping[str, str]) -> None:
    try:
        call(served.port, "POST", target, body=body, headers=headers)
    except (ConnectionError, OSError, ValueError):
        pass  # an answer that was cut
    except Exception as exc:
        if type(exc).__name__ != "IncompleteRead":
            raise


def ask(served: Daemon, **query: str) -> dict[str, Any]:
    told = served.client.call("GET", f"/api/project/stats?{urlencode(query)}")
    assert isinstance(told, dict)
    return told


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


def test_statistics_cost_nothing_where_nothing_is_new(cco: Daemon) -> None:
    cco.start()
    session = cco.launch()
    target = "/api/project/stats?project="
    _post(cco, f"/s/{session.id}/v1/messages", asking("one"), {})
    first = call(cco.port, "GET", target)
    again = call(cco.port, "GET", target, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    _post(cco, f"/s/{session.id}/v1/messages", asking("two"), {})
    after = call(cco.port, "GET", target, headers={"If-None-Match": first.headers["etag"]})
    assert (after.status, after.json()["requests"]["total"]) == (200, 2)


def test_plan_limits_are_the_last_that_were_told(cco: Daemon) -> None:
    answer = reply(
        "200 OK",
        "Content-Type: application/json",
        "anthropic-ratelimit-unified-5h-utilization: 0.42",
        "anthropic-ratelimit-unified-status: allowed",
        body=b"{}",
    )
    with serving(always(answer)) as server:
        cco.start()
        assert cco.client.call("GET", "/api/machine/stats?fields=planLimits") == {"planLimits": []}
        cco.configure(f'[[upstream]]\nname = "second"\nbase_url = "{server.url}"\nfamily = "x"\n')
        session = cco.launch(upstream=server.url)
        _post(cco, f"/s/{session.id}/v1/messages", asking("x"), {})
        (told,) = cco.client.call("GET", "/api/machine/stats?fields=planLimits")["planLimits"]
        assert told["values"] == {
            "unified-5h-utilization": "0.42",
            "unified-status": "allowed",
        }
        assert told["ageSeconds"] >= 0
        assert KEY not in json.dumps(told)

        cco.worker  # noqa: B018 - it is there; the reload keeps it, and what it knows
        assert cco.run("daemon", "reload").returncode == 0
        (after,) = cco.client.call("GET", "/api/machine/stats?fields=planLimits")["planLimits"]
        assert {**after, "ageSeconds": 0} == {**told, "ageSeconds": 0}
        assert after["ageSeconds"] >= told["ageSeconds"]


def test_a_spent_budget_stops_the_client_and_says_why(cco: Daemon) -> None:
    cco.configure(
        '[[budget]]\nusd = 0.001\n[[budget]]\nscope = "session"\nusd = 0.0005\naction = "warn"\n'
    )
    cco.start()
    session = cco.launch()
    target = f"/s/{session.id}/v1/messages"
    spent = 0.0
    for number in range(50):
        answer = call(cco.port, "POST", target, body=message(f"offline: text 400\n{number}"))
        if answer.status != 200:
            break
        spent = ask(cco, project="", fields="cost")["cost"]["totalUsd"]
    assert (answer.status, answer.headers["x-cco-error"]) == (402, "budget-spent")
    assert answer.headers["x-should-retry"] == "false"
    told = answer.json()["error"]
    assert told["type"] == "billing_error"
    assert told["message"].startswith("CCO: the day budget of $0.001 is spent: $0.00")
    assert spent >= 0.001

    row = rows_of(cco)[-1]
    assert (row["status"], row["error"], row["attempts"]) == (402, "budget-spent", 0)
    warnings = [one["message"] for one in cco.health()["warnings"] if one["code"] == "budget-spent"]
    assert [text.partition(" of ")[0] for text in warnings] == [
        "the day budget",
        "the session budget",
    ]
    # A restart forgets no money, and a limit that is raised lets the client go on.
    assert cco.run("daemon", "restart").returncode == 0
    again = cco.launch()
    body = message("more")
    assert call(cco.port, "POST", f"/s/{again.id}/v1/messages", body=body).status == 402
    cco.configure("[[budget]]\nusd = 5.0\n")
    assert cco.run("daemon", "reload").returncode == 0
    wait_until(
        lambda: call(cco.port, "POST", f"/s/{again.id}/v1/messages", body=body).status == 200,
        "the raised limit holds",
    )
    assert not [one for one in cco.health()["warnings"] if one["code"] == "budget-spent"]


def test_command_line_shows_what_the_api_says(cco: Daemon) -> None:
    cco.start()
    session = cco.launch()
    for number in range(3):
        _post(
            cco,
            f"/s/{session.id}/v1/messages",
            message(f"number {number}"),
            {"x-claude-code-session-id": "c-1"},
        )
    told = ask(cco, project="")
    shown = cco.run("stats", "--json")
    assert json.loads(shown.stdout) == told
    cost = f"${told['cost']['totalUsd']:.6f}"
    for by, name in (("model", MODEL), ("agent", "main"), ("session", "c-1")):
        lines = cco.run("stats", "--by", by, "--since", "24h").stdout.splitlines()
        assert lines[0] == f"cost      {cost}"
        # Everything was spent within the last hour.
        assert lines[2].startswith(f"burn      {cost}/h over the last hour, $")
        assert lines[-1].split()[0] == name
        assert lines[-1].endswith(cost)
    assert "\x1b" not in cco.run("stats").stdout
    home = quote(str(cco.home), safe="")
    assert cco.client.call("GET", f"/api/project/stats?project={home}")["cost"] == told["cost"]
    assert cost in cco.run("sessions").stdout
    done = cco.run("stats", "--since", "yesterday")
    assert (done.returncode, done.stdout) == (65, "")
    assert "'yesterday' is not a time" in done.stderr
    assert "Traceback" not in done.stderr


pytestmark = pytest.mark.timeout(180)
