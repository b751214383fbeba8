# SPDX-License-Identifier: Apache-2.0
"""The object graph: what a reload changes, and what a failed one leaves alone."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cco.api import warned
from cco.api.services import NO_URL, Services
from cco.errors import ConfigError
from tests.unit.api.house import House, open_house
from tests.unit.catalog.samples import make_definition

ExpectLog = Callable[[str], None]

PREPARE = Services.prepare
"""Of a real daemon; in a `House` nothing is prepared."""


def agents_of(house: House) -> int:
    manifest = json.loads(house.services.published.read(".manifest").data)
    assert isinstance(manifest["agentCount"], int)
    return manifest["agentCount"]


def write_agent(top: Path, slug: str, **changes: str) -> Path:
    path = top / ".config/cco/agents" / f"{slug}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(make_definition({"name": slug.title().replace("-", " "), **changes}))
    return path


def test_everything_is_there_from_the_start(house: House, tmp_path: Path) -> None:
    services = house.services

    assert services.health() == "OK"
    assert warned.of_daemon(services) == []
    assert services.mount_path == str(tmp_path / "r/cco")
    assert agents_of(house) == len(services.catalog.agents) > 0
    assert services.store.health()["status"] == "ok"
    assert services.uptime_s() >= 0


def test_reload_takes_new_agents_and_settings(house: House, tmp_path: Path) -> None:
    services = house.services
    before, agents = services.published, agents_of(house)
    write_agent(tmp_path, "my-agent")
    (tmp_path / "cco.toml").write_text('[vfs]\naccess = "owner"\n[models]\nopus = "new"')
    services.reload()

    assert services.published.generation != before.generation
    assert agents_of(house) == agents + 1
    assert services.catalog.find("my-agent").name == "My Agent"
    assert services.settings.vfs.access == "owner"
    assert services.settings.models["opus"] == "new"
    assert warned.of_daemon(services) == []


def test_mount_hears_of_a_reload(house: House, tmp_path: Path) -> None:
    lines = house.mount()
    write_agent(tmp_path, "my-agent")
    house.services.reload()

    told = json.loads(next(lines))
    assert told["generation"] == house.services.published.generation
    assert "plugin/agents/userAgents/my-agent.md" in {one["path"] for one in told["entries"]}
    lines.close()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("[server]\nprot = 1", "unknown key 'prot'"),
        ('[agents]\ngroups = ["nobody"]', "no group or category 'nobody'"),
        ('[ledger]\nprices = "/no/such/file"', "/no/such/file"),
    ],
)
def test_failed_reload_changes_nothing_and_says_so(
    settings: str, told: str, house: House, tmp_path: Path, expect_log: ExpectLog
) -> None:
    services = house.services
    before = (
        services.settings,
        services.catalog,
        services.published,
        services.gateway,
        services.invoker,
    )
    expect_log("^nothing was reloaded: ")
    (tmp_path / "cco.toml").write_text(settings)
    write_agent(tmp_path, "my-agent")  # this would be good by itself
    services.reload()

    after = (
        services.settings,
        services.catalog,
        services.published,
        services.gateway,
        services.invoker,
    )
    assert all(one is other for one, other in zip(before, after, strict=True))
    (warning,) = warned.of_daemon(services)
    assert warning.code == "reload-failed"
    assert str(warning.hint).endswith(", then: cco daemon reload")  # until then it stands there
    assert told in warning.message

    (tmp_path / "cco.toml").write_text("")
    services.reload()
    assert warned.of_daemon(services) == []
    assert services.catalog.find("my-agent").origin == "user"


def test_broken_agent_of_the_users_is_a_warning(house: House, tmp_path: Path) -> None:
    path = write_agent(tmp_path, "my-agent", model="gpt")
    house.services.reload()

    (warning,) = warned.of_daemon(house.services)
    assert warning.code == "agent-refused"
    assert warning.message.startswith(f"{path}:4: ")
    assert warning.hint == "Correct it and run: cco daemon reload"
    assert house.services.health() == "OK"


def test_groups_of_the_settings_limit_what_a_session_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = '[agents]\ngroups = ["leadership"]'
    with open_house(tmp_path, monkeypatch, settings=settings) as house:
        house.register()
        (session,) = house.services.sessions.live()
        plugin = house.services.published.read("plugin/.claude-plugin/plugin.json", session)

    assert {path.split("/")[2] for path in json.loads(plugin.data)["agents"]} == {"leadership"}


def test_daemon_without_http_says_what_that_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_house(tmp_path, monkeypatch, http_url=None) as house:
        (warning,) = warned.of_daemon(house.services)
        hooks = house.services.published.read("plugin/hooks/hooks.json").data

    assert warning.code == "no-http"
    assert warning.hint
    assert NO_URL.encode() in hooks


@pytest.mark.parametrize("settings", ['[agents]\ngroups = ["nobody"]', "[server]\nport = 1.5"])
def test_settings_that_cannot_be_used_leave_nothing_behind(
    settings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    with pytest.raises(ConfigError), open_house(tmp_path, monkeypatch, settings=settings):
        pass

    assert set(threading.enumerate()) == before


def test_mount_point_may_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_house(tmp_path, monkeypatch, settings='[vfs]\nmount = "/elsewhere"') as house:
        assert house.services.mount_path == "/elsewhere"


def test_disk_that_cannot_be_written_keeps_nobody_from_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_log: ExpectLog
) -> None:
    expect_log("The ledger cannot be written")
    expect_log("earlier sessions cannot be restored")
    (tmp_path / "file").touch()
    settings = f'[ledger]\ndatabase = "{tmp_path}/file/cco.db"'
    expect_log(".*")  # what is lost is counted at the end
    with open_house(tmp_path, monkeypatch, settings=settings) as house:
        assert house.services.health() == "OK"
        assert house.services.store.health()["status"] == "degraded"
        session, token = house.register()
        assert house.services.sessions.by_id(session)
        assert house.services.sessions.by_token(token)
        assert house.services.runs.name("c", "a") == "unattributed"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("cco:chief-architect", "Chief Architect"),
        ("chief-architect", "Chief Architect"),
        ("general-purpose", "general-purpose"),  # Claude Code's own
        ("", ""),
    ],
)
def test_agent_types_have_names(given: str, name: str, shared_house: House) -> None:
    assert shared_house.services.agent_name(given) == name


def test_spent_budgets_are_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_log: ExpectLog
) -> None:
    expect_log("the day budget of")
    expect_log("the session budget of")
    settings = """
[[budget]]
usd = 1.0
action = "warn"
[[budget]]
scope = "session"
usd = 1.0
"""
    with open_house(tmp_path, monkeypatch, settings=settings) as house:
        budgets, session = house.services.budgets, house.register()[0]
        assert warned.of_daemon(house.services) == []
        for name in (session, "of a launch that is over"):
            budgets.admit(
                project="", session=name, model="claude-sonnet-4-6", body_bytes=9, max_tokens=9
            ).settle(2_000_000_000)

        told = [(one.code, one.message) for one in warned.of_daemon(house.services)]
        assert told == [
            ("budget-spent", "the day budget of $1.00 is spent: $4.00 so far"),
            ("budget-spent", "the session budget of $1.00 is spent: $2.00 so far"),
        ]
        (tmp_path / "cco.toml").write_text("[[budget]]\nusd = 9.0\n")
        house.services.reload()
        assert warned.of_daemon(house.services) == []
        ((spent, limit),) = [(one.spent_nano, one.limit_nano) for one in budgets.states()]
        assert (spent, limit) == (4_000_000_000, 9_000_000_000)


def test_first_prompt_of_a_session_does_not_wait_for_the_index(house: House) -> None:
    session = house.services.sessions.by_id(house.register()[0])
    assert session is not None
    PREPARE(house.services, session)
    [preparing] = house.services._preparing
    preparing.join()
    assert house.services.team(session).router._made is not None
    PREPARE(house.services, session)  # the end of the daemon waits for it
    assert house.services._preparing != [preparing]


def test_what_is_known_of_plans_outlives_a_reload(house: House) -> None:
    limits = house.services.limits
    house.services.reload()

    assert house.services.limits is limits


def test_broken_rules_of_the_user_are_told_with_their_line_and_the_rest_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tmp_path / ".config/cco/rules.toml"
    rules.parent.mkdir(parents=True)
    rules.write_text("[taskPatterns]\nreview = '('\n'Go Specialist' = 'frobnicate'\n")
    with open_house(tmp_path, monkeypatch) as house:
        (warning,) = house.ask("GET", "/health").get_json()["warnings"]
        told = house.ask("POST", "/api/route", {"task": "frobnicate the pull request"}).get_json()

    assert warning["message"].startswith(f"{rules}:2: 'review' has the pattern '('")
    assert told["agents"][0]["slug"] == "go-specialist"
