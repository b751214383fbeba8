# SPDX-License-Identifier: Apache-2.0
"""Launching: from which project, and what the launched program finds."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cco.catalog import loader
from cco.cli import run
from cco.cli.claude import Plan
from cco.cli.run import project_of
from cco.config import Settings
from cco.errors import Unavailable
from tests.capabilities import ROOT
from tests.ordinary import ask_as_ordinary_user, open_directory
from tests.unit.cli.fakes import (
    CCO,
    Noted,
    health,
    make_claude,
    make_noting_claude,
    run_cco,
    standing_in,
)

SESSION = "0123456789abcdef"
TOKEN = "the-token"
SEEN = {"agents": 119, "contextTokens": 7448}
"""What a session sees of the catalogue."""

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
            "POST /api/sessions": (201, {**SEEN, "id": SESSION, "token": TOKEN}),
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
        "agents": ["*"],
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
    assert done.stderr.splitlines() == [
        "cco: nowhere cannot be entered (No such file or directory)",
        "     Give --project a directory of yours",
    ]


@pytest.mark.parametrize(
    "words",
    [
        "",
        "config check",
        "invoke auto x",
        "knowledge list",
        "stats --project .",
    ],
)
def test_directory_that_has_been_removed_is_told(
    words: str, launch: Launch, tmp_path: Path
) -> None:
    script = f'mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *CCO, *words.split()],
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
    assert headings == ["argv:", "environment:", "files:", "upstream:", "agents:"]
    assert f"  {launch.claude}\n  --plugin-dir\n  {launch.mount}/plugin\n" in done.stdout
    assert "\n  CCO_SESSION=TOKEN\n" in done.stdout
    assert "\n  ANTHROPIC_BASE_URL=http://127.0.0.1:3000/s/SESSION\n" in done.stdout
    assert "(0600): your --settings with ANTHROPIC_BASE_URL over it" in done.stdout
    assert "The daemon does not run; it would be started." in done.stdout
    assert [path.name for path in launch.runtime.iterdir()] == ["cco"]


def test_dry_run_shows_the_upstream_that_the_session_would_have(launch: Launch) -> None:
    with standing_in(launch.runtime / "cco.sock", launch.answers) as daemon:
        done = launch.run("run", "--dry-run", ANTHROPIC_BASE_URL="https://mine.example")

    assert "upstream:\n  https://mine.example\n" in done.stdout
    assert {one[0] for one in daemon.received} == {"GET /health"}  # nothing is registered


@pytest.mark.parametrize(
    ("options", "file", "groups"),
    [
        ((), "", ["*"]),
        ((), "[agents]\ngroups = ['Linux', 'leadership']\n", ["Linux", "leadership"]),
        (("--agents", "Web Frontend, Testing,"), "[agents]\ngroups = ['Linux']\n", None),
    ],
)
def test_project_and_option_choose_the_groups_of_a_session(
    options: tuple[str, ...], file: str, groups: list[str] | None, launch: Launch
) -> None:
    (launch.project / ".cco.toml").write_text(file)
    with standing_in(launch.runtime / "cco.sock", launch.answers) as daemon:
        done = launch.run("run", *options, "--", "-p", "x")
        shown = launch.run("run", *options, "--dry-run")

    expected = groups or ["Web Frontend", "Testing"]
    assert done.returncode == 7
    ((_, _, registered),) = [one for one in daemon.received if one[0] == "POST /api/sessions"]
    assert registered["agents"] == expected
    team = loader.load(loader.BUILTIN, user=None).in_groups(expected)
    size = f"{len(team.agents)}, ~{team.context_tokens} tokens of context"
    assert f"agents:\n  {', '.join(expected)}: {size}\n" in shown.stdout


def test_dry_run_knows_the_groups_too(launch: Launch) -> None:
    done = launch.run("run", "--agents", "Linx", "--dry-run")
    assert done.returncode == os.EX_CONFIG
    assert "there is no group or category 'Linx'" in done.stderr

    (launch.project / ".cco.toml").write_text("[agents]\ngroups = ['Linx']\n")
    done = launch.run("run", "--dry-run")
    assert done.returncode == os.EX_CONFIG
    assert f"{launch.project}/.cco.toml:2" in done.stderr


@pytest.mark.parametrize("given", ["", " , "])
def test_option_that_names_no_group_does_not_mean_all(given: str, launch: Launch) -> None:
    done = launch.run("run", "--agents", given)
    assert done.returncode == os.EX_DATAERR
    assert "--agents names no group" in done.stderr


def test_group_that_is_not_there_is_told_before_anything_is_launched(launch: Launch) -> None:
    error = {
        "code": "unknown-group",
        "message": "there is no group or category 'Linx'",
        "hint": "Did you mean Linux?",
    }
    launch.answers["POST /api/sessions"] = (400, {"error": error})
    with standing_in(launch.runtime / "cco.sock", launch.answers):
        done = launch.run("run", "--agents", "Linx")

    assert done.returncode == os.EX_DATAERR
    assert done.stderr == ("cco: there is no group or category 'Linx'\n     Did you mean Linux?\n")
    assert not Path(f"{launch.claude}.argv").exists()
