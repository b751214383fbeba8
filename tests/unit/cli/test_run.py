# SPDX-License-Identifier: Apache-2.0
"""Launching: from which project, to which upstream, and what the launched program finds."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cco import paths
from cco.cli import run
from cco.cli.claude import Plan
from cco.cli.run import project_of, upstream_of
from cco.cli.service import Service
from cco.config import Settings, Upstream
from cco.errors import ConfigError, Unavailable
from tests.capabilities import ROOT
from tests.ordinary import ask_as_ordinary_user, open_directory
from tests.unit.cli.fakes import (
    CCO,
    Noted,
    StandIn,
    health,
    make_claude,
    make_noting_claude,
    run_cco,
    standing_in,
)

SESSION = "0123456789abcdef"
TOKEN = "the-token"

# The project.


def test_project_is_the_top_of_the_git_tree(tmp_path: Path) -> None:
    (tmp_path / "repo/.git").mkdir(parents=True)
    (tmp_path / "repo/a/b").mkdir(parents=True)
    (tmp_path / "worktree/a").mkdir(parents=True)
    (tmp_path / "worktree/.git").write_text("gitdir: /somewhere\n")  # a file, in a linked worktree
    (tmp_path / "plain/a").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "repo/a")
    (tmp_path / "repo/a/inner/.git").mkdir(parents=True)

    table = {
        "repo": "repo",
        "repo/a/b": "repo",
        "worktree/a": "worktree",
        "plain/a": "plain/a",  # without git the directory itself
        "link": "repo",  # the canonical path
        "repo/a/inner": "repo/a/inner",
        "gone": "gone",  # a project of the past
    }
    assert {name: project_of(tmp_path / name) for name in table} == {
        name: tmp_path / project for name, project in table.items()
    }


def test_directory_above_that_may_not_be_searched_is_passed_over() -> None:
    with open_directory() as top:
        (top / "closed/mine").mkdir(parents=True)
        (top / "closed/mine").chmod(0o777)

        def ask() -> str:
            os.chdir(top / "closed/mine")
            return str(project_of(Path.cwd()))

        (top / "closed").chmod(0o711)
        assert ask_as_ordinary_user(ask) == str(top / "closed/mine")
        fd = os.open(top / "closed/mine", os.O_RDONLY)
        (top / "closed").chmod(0)

        def ask_from_inside() -> str:
            os.fchdir(fd)
            return str(project_of(top / "closed/mine"))

        assert ask_as_ordinary_user(ask_from_inside) == str(top / "closed/mine")
        os.close(fd)
        (top / "closed").chmod(0o700)


# The upstream.


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

    assert run.without_session(around) == {"PATH": "/bin"}
    mine = {"ANTHROPIC_BASE_URL": "http://x", "PATH": "/bin"}
    assert run.without_session(mine) == mine


# The file with merged settings.


def plan_with_file(file: Path | None) -> Plan:
    return Plan(("claude",), {}, file=file, file_text='{"env": {}}' if file else "")


def test_settings_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / f"cco-settings-{os.getpid()}.json"
    before = os.umask(0)
    try:
        run._write_settings(plan_with_file(file), runtime=tmp_path)
    finally:
        os.umask(before)

    assert file.stat().st_mode & 0o7777 == 0o600
    assert file.read_text() == '{"env": {}}'


def test_settings_file_is_never_written_through_a_link(tmp_path: Path) -> None:
    file = tmp_path / f"cco-settings-{os.getpid()}.json"
    (tmp_path / "precious").write_text("mine")
    file.symlink_to(tmp_path / "precious")
    run._write_settings(plan_with_file(file), runtime=tmp_path)

    assert (tmp_path / "precious").read_text() == "mine"
    assert not file.is_symlink()


def test_settings_of_launches_that_are_gone_are_removed(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    living = os.getppid()
    for name in (gone.pid, living, "abc"):
        (tmp_path / f"cco-settings-{name}.json").touch()
    (tmp_path / "cco-other-1.json").touch()
    run._write_settings(plan_with_file(None), runtime=tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cco-other-1.json",
        f"cco-settings-{living}.json",
    ]


# The mount.


@pytest.mark.parametrize("text", ["OK", "OK\n"])
def test_mount_that_is_well_passes(text: str, tmp_path: Path) -> None:
    (tmp_path / "health").write_text(text)

    run.check_mount(tmp_path)


def test_mount_that_is_ill_says_so(tmp_path: Path) -> None:
    (tmp_path / "health").write_text("ERROR: the catalogue is empty. Run: cco agents check\n")
    with pytest.raises(Unavailable) as caught:
        run.check_mount(tmp_path)

    assert caught.value.code == "mount-ailing"
    assert "the catalogue is empty" in caught.value.message


def test_mount_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        run.check_mount(tmp_path)

    assert caught.value.code == "mount-unreadable"
    assert caught.value.hint == "Run: cco daemon restart"


def test_daemon_without_http_cannot_launch() -> None:
    warning = {"code": "no-http", "message": "no", "hint": "free the port"}
    with pytest.raises(Unavailable) as caught:
        run._api_url(health(http={"url": None}, warnings=[warning]), port=3000)

    assert (caught.value.code, caught.value.hint) == ("no-http", "free the port")
    assert run._api_url(health(), port=3000) == "http://127.0.0.1:3000"


# The whole launch, of a program that notes what it finds, with a daemon that answers by a table.


class Launch:
    """What a launch needs."""

    def __init__(self, top: Path) -> None:
        self.runtime = top / "r"
        self.mount = self.runtime / "cco"
        self.project = top / "project"
        self.claude = make_noting_claude(top / "bin" / "claude", status=7)
        self.environ = {
            "CCO_RUNTIME_DIR": str(self.runtime),
            "CCO_CLAUDE": str(self.claude),
            "HOME": str(top),
        }
        self.mount.mkdir(parents=True)
        self.runtime.chmod(0o700)
        (self.mount / "health").write_text("OK\n")
        (self.project / ".git").mkdir(parents=True)
        (self.project / "sub").mkdir()
        self.answers: dict[str, Any] = {
            "GET /health": health(self.mount),
            "POST /api/sessions": (201, {"id": SESSION, "token": TOKEN}),
        }

    def run(self, *argv: str, stdin: str = "", **more: str) -> "subprocess.CompletedProcess[str]":
        return run_cco(
            *argv, environ={**self.environ, **more}, cwd=self.project / "sub", stdin=stdin
        )


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    return Launch(tmp_path)


def test_launch_becomes_claude_code(launch: Launch) -> None:
    with standing_in(launch.runtime / "cco.sock", launch.answers) as daemon:
        done = launch.run("-p", "a  b", "", stdin="piped")

    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")  # quiet without a terminal
    noted = Noted.of(launch.claude)
    base_url = f"http://127.0.0.1:3000/s/{SESSION}"
    assert noted.argv == [
        str(launch.claude),
        "--plugin-dir",
        f"{launch.mount}/plugin",
        "--settings",
        json.dumps({"env": {"ANTHROPIC_BASE_URL": base_url}}),
        "-p",
        "a  b",
        "",
    ]
    assert noted.environ["CCO_SESSION"] == TOKEN
    assert noted.environ["ANTHROPIC_BASE_URL"] == base_url
    assert noted.environ["ANTHROPIC_DEFAULT_HAIKU_MODEL"] == Settings().models["haiku"]
    assert noted.stdin == "piped"
    ((_, _, registered),) = [one for one in daemon.received if one[0] == "POST /api/sessions"]
    assert registered == {
        "pid": registered["pid"],
        "cwd": str(launch.project / "sub"),
        "project": str(launch.project),
        "upstream": "",
    }


def test_launched_program_has_its_signals(launch: Launch) -> None:
    # Python ignores SIGPIPE; a shell below Claude Code would hang in `yes | head`.
    with standing_in(launch.runtime / "cco.sock", launch.answers):
        launch.run()

    ignored = Noted.of(launch.claude).ignored_signals
    assert [
        number.name
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM)
        if ignored >> (number - 1) & 1
    ] == []


def test_launch_inside_a_session_gets_a_session_of_its_own(launch: Launch) -> None:
    outer = "f" * 16
    launch.answers["GET /api/sessions"] = {
        "sessions": [{"id": outer, "upstream": "https://outer.example"}]
    }
    with standing_in(launch.runtime / "cco.sock", launch.answers) as daemon:
        launch.run(ANTHROPIC_BASE_URL=f"http://127.0.0.1:3000/s/{outer}", CCO_SESSION="outer-token")

    assert Noted.of(launch.claude).environ["CCO_SESSION"] == TOKEN
    assert daemon.received[-1][2]["upstream"] == "https://outer.example"


def test_users_settings_go_into_a_file_of_the_runtime_directory(launch: Launch) -> None:
    with standing_in(launch.runtime / "cco.sock", launch.answers):
        launch.run("--settings", '{"model": "opus"}')

    argv = Noted.of(launch.claude).argv
    file = Path(argv[argv.index("--settings") + 1])
    assert file.parent == launch.runtime
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["model"] == "opus"


@pytest.mark.parametrize("form", ["--project={}", "--project {}"])
def test_project_may_be_another_directory(form: str, launch: Launch, tmp_path: Path) -> None:
    # Paths in the environment are meant from where the user is.
    other = tmp_path / "other"
    other.mkdir()
    relative = {
        name: os.path.relpath(launch.environ[name], launch.project / "sub")
        for name in ("CCO_CLAUDE", "CCO_RUNTIME_DIR")
    }
    with standing_in(launch.runtime / "cco.sock", launch.answers) as daemon:
        done = launch.run("run", *form.format(other).split(), "--", "-p", **relative)

    assert done.returncode == 7, done.stderr
    assert Noted.of(launch.claude).argv[-1] == "-p"
    assert daemon.received[-1][2]["project"] == str(other)
    assert Path(Noted.of(launch.claude).environ["PWD"]).samefile(other)


def test_project_that_is_not_there_is_told(launch: Launch) -> None:
    done = launch.run("run", "--project", "nowhere")

    assert done.returncode == os.EX_NOINPUT
    assert done.stderr == "cco: nowhere cannot be entered (No such file or directory)\n"


def test_directory_that_has_been_removed_is_told(launch: Launch, tmp_path: Path) -> None:
    script = f'mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *CCO],
        env={**os.environ, **launch.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == os.EX_NOINPUT
    assert done.stderr.startswith("cco: the current directory is no more\n")


@pytest.mark.parametrize(
    ("text", "status"),
    [(None, os.EX_UNAVAILABLE), ("ERROR: it is ill", os.EX_UNAVAILABLE)],
)
def test_nothing_is_launched_without_the_mount(
    text: str | None, status: int, launch: Launch
) -> None:
    # Claude Code would ignore a dead plugin directory without a word.
    (launch.mount / "health").unlink()
    if text is not None:
        (launch.mount / "health").write_text(text)
    with standing_in(launch.runtime / "cco.sock", launch.answers) as daemon:
        done = launch.run()

    assert done.returncode == status
    assert not Path(f"{launch.claude}.argv").exists()
    assert [one[0] for one in daemon.received if one[0].startswith("POST")] == []


def test_old_claude_code_is_refused_before_anything_is_started(launch: Launch) -> None:
    make_claude(launch.claude, version="2.1.0 (Claude Code)")
    done = launch.run()

    assert done.returncode == os.EX_UNAVAILABLE
    assert "is too old" in done.stderr
    assert [path.name for path in launch.runtime.iterdir()] == ["cco"]


def test_direct_launch_is_plain_claude_code(launch: Launch) -> None:
    done = launch.run("run", "--direct", "--", "-p", "x")

    noted = Noted.of(launch.claude)
    assert done.returncode == 7
    assert done.stderr == "cco: launching Claude Code without CCO\n"
    assert noted.argv == [str(launch.claude), "-p", "x"]
    assert not {"CCO_SESSION", "ANTHROPIC_BASE_URL", "ORCHESTRATOR_ENABLED"} & set(noted.environ)


def test_dry_run_shows_everything_and_starts_nothing(launch: Launch) -> None:
    done = launch.run("run", "--dry-run", "--", "--settings", '{"a": 1}', "-p", "x")

    assert done.returncode == 0, done.stderr
    assert not Path(f"{launch.claude}.argv").exists()
    headings = [line for line in done.stdout.splitlines() if line.endswith(":")]
    assert headings == ["argv:", "environment:", "files:", "upstream:"]
    assert f"  {launch.claude}\n  --plugin-dir\n  {launch.mount}/plugin\n" in done.stdout
    assert "\n  CCO_SESSION=TOKEN\n" in done.stdout
    assert "\n  ANTHROPIC_BASE_URL=http://127.0.0.1:3000/s/SESSION\n" in done.stdout
    assert "(0600): your --settings with ANTHROPIC_BASE_URL over it" in done.stdout
    assert "The daemon does not run; it would be started." in done.stdout
    assert [path.name for path in launch.runtime.iterdir()] == ["cco"]


def test_dry_run_shows_the_upstream_that_the_session_would_have(launch: Launch) -> None:
    with standing_in(launch.runtime / "cco.sock", launch.answers) as daemon:
        done = launch.run("run", "--dry-run", ANTHROPIC_BASE_URL="https://mine.example")

    assert done.stdout.endswith("upstream:\n  https://mine.example\n")
    assert {one[0] for one in daemon.received} == {"GET /health"}  # nothing is registered
