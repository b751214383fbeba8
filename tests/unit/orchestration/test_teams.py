# SPDX-License-Identifier: Apache-2.0
"""What a session sees of the catalogue."""

import pytest

from cco.errors import ConfigError
from cco.ledger.rows import SessionRow
from cco.orchestration import teams
from cco.orchestration.sessions import Session
from cco.orchestration.teams import Team, Teams
from tests.unit.catalog.samples import make_agent, make_catalog

CATALOG = make_catalog(
    make_agent(),
    make_agent(name="Test Engineer", category="testingAgents"),
    make_agent(name="QA Engineer", category="testingAgents"),
)


def session(agents: str) -> Session:
    row = SessionRow(
        id="s",
        token_hash="t",
        pid=1,
        start_ticks=1,
        project="/p",
        cwd="/p",
        upstream="",
        created_ns=1,
        agents=agents,
    )
    return Session(row, pidfd=-1)


def make(*groups: str) -> Teams:
    return Teams(CATALOG, groups or ("*",), lambda _: 0)


def slugs(team: Team) -> list[str]:
    return [agent.slug for agent in team.catalog.agents]


def test_session_sees_the_groups_that_it_chose_else_those_of_the_settings() -> None:
    made = make("testingAgents")

    assert slugs(made.of_session(session("leadership"))) == ["chief-architect"]
    assert slugs(made.of_session(session("leadership\ntestingAgents"))) == slugs(make().default)
    assert made.of_session(session("")) is made.of_session(None) is made.default
    assert slugs(made.default) == ["test-engineer", "qa-engineer"]


def test_router_of_a_team_knows_nobody_else() -> None:
    made = make()

    assert [one.agent.slug for one in made.of(["leadership"]).router.route("QA architecture")] == [
        "chief-architect"
    ]


def test_team_is_made_once() -> None:
    made = make()

    assert made.of(["leadership"]) is made.of(("leadership",))


def test_unknown_group_is_refused() -> None:
    with pytest.raises(ConfigError):
        make("nobody")
    with pytest.raises(ConfigError):
        make().of(["nobody"])


def test_session_whose_group_a_reload_took_away_sees_what_the_settings_say() -> None:
    made = make()

    assert made.of_session(session("gone")) is made.default


def test_many_choices_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teams, "MAX_KEPT", 2)
    made = make()
    for groups in (["leadership"], ["testingAgents"], ["leadership", "testingAgents"]):
        assert slugs(made.of(groups)) == slugs(made.of(groups))

    assert len(made._made) <= 2
    assert slugs(made.default) == slugs(make().default)
