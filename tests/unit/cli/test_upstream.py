# SPDX-License-Identifier: Apache-2.0
"""Where a launch sends its requests."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cco import paths
from cco.cli.service import Service
from cco.cli.upstream import upstream_of, without_session
from cco.config import Settings, Upstream
from cco.errors import ConfigError
from tests.unit.cli.fakes import StandIn, health, standing_in

SESSION = "0123456789abcdef"


class Scene:
    """A home, a project and perhaps a daemon."""

    def __init__(self, top: Path) -> None:
        self.home = top / "home"
        self.project = top / "project"
        self.runtime = top / "run"
        for directory in (self.home, self.project, self.runtime):
            directory.mkdir()

    def settings_of(self, where: str, url: object) -> None:
        """Write Claude Code settings with a base URL."""
        place = {
            "user": self.home / ".claude/settings.json",
            "other": self.home / "other/settings.json",
            "project": self.project / ".claude/settings.json",
            "local": self.project / ".claude/settings.local.json",
        }[where]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps({"env": {"ANTHROPIC_BASE_URL": url}}))

    def upstream(
        self,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        configured: tuple[str, ...] = ("https://api.anthropic.com",),
    ) -> str:
        full = {
            "HOME": str(self.home),
            "CCO_RUNTIME_DIR": str(self.runtime),
            **(environ or {}),
        }
        uid = os.getuid()
        return upstream_of(
            arguments,
            full,
            project=self.project,
            settings=Settings(upstream=tuple(Upstream(base_url=url) for url in configured)),
            service=Service(paths.locate(full, uid=uid), environ=full, uid=uid),
        )


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_nobody_has_set_an_upstream(scene: Scene) -> None:
    assert scene.upstream() == ""
    assert scene.upstream("-p", "x", environ={"ANTHROPIC_BASE_URL": ""}) == ""


def test_places_count_in_claude_codes_own_order(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    inline = json.dumps({"env": {"ANTHROPIC_BASE_URL": "https://inline.example"}})
    environ = {"ANTHROPIC_BASE_URL": "https://environ.example"}

    assert scene.upstream(environ=environ) == "https://environ.example"
    scene.settings_of("user", "https://user.example")
    assert scene.upstream(environ=environ) == "https://user.example"
    scene.settings_of("project", "https://project.example")
    scene.settings_of("local", "https://local.example")
    configured = ("https://project.example", "https://local.example/")
    assert scene.upstream(environ=environ, configured=configured) == "https://local.example"
    assert (
        scene.upstream("--settings", inline, environ=environ, configured=configured)
        == "https://inline.example"
    )
    assert capsys.readouterr().err == ""


def test_claude_codes_own_directory_may_be_elsewhere(scene: Scene) -> None:
    scene.settings_of("user", "https://user.example")
    scene.settings_of("other", "https://other.example")

    where = {"CLAUDE_CONFIG_DIR": str(scene.home / "other")}
    assert scene.upstream(environ=where) == "https://other.example"


@pytest.mark.parametrize("where", ["project", "local"])
def test_project_may_not_send_the_credential_elsewhere(
    where: str, scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nobody is at the terminal to agree.
    scene.settings_of(where, "https://evil.example")
    scene.settings_of("user", "https://user.example")

    assert scene.upstream() == "https://user.example"
    told = capsys.readouterr().err
    assert "https://evil.example, which is not a configured upstream: not used" in told
    assert told.count("\n") == 1


def test_project_may_name_a_configured_upstream(scene: Scene) -> None:
    scene.settings_of("project", "https://team.example/")

    assert scene.upstream(configured=("https://a.example", "https://team.example")) == (
        "https://team.example/"
    )


@pytest.mark.parametrize("near", ["https://team.example.evil.example", "https://team.example/x"])
def test_name_that_only_begins_like_a_configured_one_is_another(near: str, scene: Scene) -> None:
    scene.settings_of("project", near)

    assert scene.upstream(configured=("https://team.example",)) == ""


@pytest.mark.parametrize("url", [1, None, [], {}, ""])
def test_nonsense_in_settings_is_nothing(url: object, scene: Scene) -> None:
    for where in ("user", "project", "local"):
        scene.settings_of(where, url)

    assert scene.upstream(environ={"ANTHROPIC_BASE_URL": "https://x.example"}) == (
        "https://x.example"
    )


def test_unreadable_settings_argument_is_an_error(scene: Scene) -> None:
    with pytest.raises(ConfigError):
        scene.upstream("--settings", "{")


@pytest.fixture
def daemon(scene: Scene) -> Iterator[StandIn]:
    sessions = [
        {"id": SESSION, "upstream": "https://outer.example"},
        {"id": "f" * 16, "upstream": None},
    ]
    answers = {"GET /health": health(), "GET /api/sessions": {"sessions": sessions}}
    with standing_in(scene.runtime / "cco.sock", answers) as found:
        yield found


@pytest.mark.parametrize(
    ("url", "upstream"),
    [
        # a launch inside a session finds the gateway of the session around it
        (f"http://127.0.0.1:3000/s/{SESSION}", "https://outer.example"),
        (f"http://127.0.0.1:3000/s/{SESSION}/", "https://outer.example"),
        (f"http://localhost:4711/s/{SESSION}", "https://outer.example"),
        (f"http://[::1]:3000/s/{SESSION}", "https://outer.example"),
        (f"http://127.0.0.1:3000/s/{'f' * 16}", ""),  # that brought no upstream along
        (f"http://127.0.0.1:3000/s/{'0' * 16}", ""),  # and has ended
        # what only looks like one is the user's
        ("http://127.0.0.1:3000/s/team", "http://127.0.0.1:3000/s/team"),
        (f"http://127.0.0.1:3000/x/{SESSION}", f"http://127.0.0.1:3000/x/{SESSION}"),
        (f"https://host.example/s/{SESSION}", f"https://host.example/s/{SESSION}"),
        (f"http://127.0.0.1:3000/s/{SESSION}/v1", f"http://127.0.0.1:3000/s/{SESSION}/v1"),
        (
            f"http://127.0.0.1.evil.example:1/s/{SESSION}",
            f"http://127.0.0.1.evil.example:1/s/{SESSION}",
        ),
    ],
)
def test_launch_inside_a_session_goes_where_that_goes(
    url: str, upstream: str, scene: Scene, daemon: StandIn
) -> None:
    assert scene.upstream(environ={"ANTHROPIC_BASE_URL": url}) == upstream


def test_launch_inside_a_session_that_outlived_its_daemon_goes_to_the_settings(
    scene: Scene,
) -> None:
    url = f"http://127.0.0.1:3000/s/{SESSION}"

    assert scene.upstream(environ={"ANTHROPIC_BASE_URL": url}) == ""


def test_settings_that_a_session_has_left_in_the_project_are_nobodys_upstream(
    scene: Scene, daemon: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.settings_of("project", f"http://127.0.0.1:3000/s/{SESSION}")
    scene.settings_of("user", "https://user.example")

    assert scene.upstream() == "https://user.example"
    assert capsys.readouterr().err == ""


def test_environment_of_the_session_around_is_taken_away() -> None:
    around = {"CCO_SESSION": "t", "ANTHROPIC_BASE_URL": "http://x", "PATH": "/bin"}

    assert without_session(around) == {"PATH": "/bin"}
    mine = {"ANTHROPIC_BASE_URL": "http://x", "PATH": "/bin"}
    assert without_session(mine) == mine
