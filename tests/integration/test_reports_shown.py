# SPDX-License-Identifier: Apache-2.0
"""What users see of the figures: limits of plans, budgets, the command line; on a live daemon."""

import csv
import json
import subprocess
from urllib.parse import quote

import pytest

from tests.daemon import CCO, KEY, MODEL, Daemon, asking, call
from tests.integration.traffic import ask, message, post
from tests.mounting import wait_until
from tests.rawserver import always, reply, serving
from tests.recomputed import rows_of

pytestmark = pytest.mark.timeout(180)


def test_statistics_cost_nothing_where_nothing_is_new(cco: Daemon) -> None:
    cco.start()
    session = cco.launch()
    target = "/api/project/stats?project="
    post(cco, f"/s/{session.id}/v1/messages", asking("one"), {})
    first = call(cco.port, "GET", target)
    again = call(cco.port, "GET", target, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    post(cco, f"/s/{session.id}/v1/messages", asking("two"), {})
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
        post(cco, f"/s/{session.id}/v1/messages", asking("x"), {})
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
        post(
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


def test_status_line_shows_what_the_ledger_has(cco: Daemon) -> None:
    cco.configure('[[budget]]\nscope = "day"\nusd = 0.01\n')
    cco.start()
    session = cco.launch()
    headers = {"x-claude-code-session-id": "one"}
    post(cco, f"/s/{session.id}/v1/messages", asking("hello"), headers)
    cost = sum(row["cost_nano"] for row in rows_of(cco)) / 1e9
    told = cco.client.call("GET", "/api/statusline?session=one")
    assert told["session"]["costUsd"] == told["today"]["costUsd"] == cost > 0

    line = subprocess.run(
        [*CCO, "statusline"],
        env=cco.environ(CCO_SESSION=session.token, NO_COLOR="1"),
        input=json.dumps({"session_id": "one", "context_window": {"used_percentage": 12}}),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert line.startswith(f"cco ${cost:.2f} session | ${cost:.2f} today | ")
    assert f"{cost / 0.01:.0%} of day budget" in line
    assert line.endswith(" | context 12%\n")
    assert cco.run("daemon", "stop").returncode == 0
    gone = cco.run("statusline")
    assert (gone.returncode, gone.stdout) == (0, "cco: the daemon is away\n")
    assert cco.is_gone()


def test_export_has_every_request_of_the_ledger(cco: Daemon) -> None:
    cco.start()
    session = cco.launch()
    for number in range(5):
        post(cco, f"/s/{session.id}/v1/messages", asking(f"number {number}"), {})
    out = cco.base / "requests.csv"
    done = cco.run("export", "requests", "--format", "csv", "-o", str(out))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with out.open(newline="") as table:
        exported = list(csv.DictReader(table))
    rows = rows_of(cco)
    assert [row["requestId"] for row in exported] == [row["request_id"] for row in rows]
    assert [float(row["costUsd"]) for row in exported] == [row["cost_nano"] / 1e9 for row in rows]

    again = cco.run("export", "requests", "--format", "csv", "-o", str(out))
    assert again.returncode == 65
    assert "is there already" in again.stderr
    told = json.loads(cco.run("export", "stats", "--format", "json").stdout)
    assert cco.client.call("GET", "/api/project/stats?project=").items() >= told.items()
    assert told["requests"]["total"] == len(rows)
