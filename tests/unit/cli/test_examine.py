# SPDX-License-Identifier: Apache-2.0
"""What `cco doctor` sees of real files, ports and a daemon; init and FUSE are tests/machine's."""

import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cco import __version__, paths, units
from cco.cli.examine import Examination
from cco.cli.findings import Finding
from cco.cli.service import Service
from tests.unit.cli.fakes import health, make_claude, standing_in


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "r").mkdir(mode=0o700)
    claude = make_claude(tmp_path / "claude")
    return {
        "CCO_RUNTIME_DIR": str(tmp_path / "r"),
        "HOME": str(tmp_path),
        "CCO_CLAUDE": str(claude),
        "PATH": os.defpath,
    }


@pytest.fixture
def config(tmp_path: Path) -> Path:
    directory = tmp_path / ".config/cco"
    directory.mkdir(parents=True)
    return directory


def examine(environ: dict[str, str]) -> dict[str, Finding]:
    uid = os.getuid()
    service = Service(paths.locate(environ, uid=uid), environ=environ, uid=uid)
    return {one.code: one for one in Examination(service, environ, uid=uid).run()}


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_stopped_daemon_is_no_fault(environ: dict[str, str]) -> None:
    found = examine(environ)
    assert found["daemon"].level == "ok"
    assert "does not run" in found["daemon"].message
    assert found["claude"].message.startswith("Claude Code 2.1.197 at ")
    assert found["second-daemon"].level == "ok"  # CCO_RUNTIME_DIR says so


def test_taken_port_names_its_owner_and_where_to_set_another(
    environ: dict[str, str], config: Path, taken: int
) -> None:
    (config / "cco.toml").write_text(f"[server]\nport = {taken}")
    found = examine(environ)["port-taken"]
    assert f"port {taken} is taken by 'python" in found.message or str(os.getpid()) in found.message
    assert str(found.remedy).endswith(f"{config}/cco.toml: [server] port = {taken + 1}")


def test_broken_settings_and_agents_are_told_with_their_line(
    environ: dict[str, str], config: Path
) -> None:
    (config / "cco.toml").write_text("[server]\nprot = 1")
    (config / "agents").mkdir()
    (config / "agents/broken.md").write_text("---\nname: x\n---\n")
    found = examine(environ)
    assert found["config-unknown-key"].message.startswith(f"{config}/cco.toml:2: unknown key")
    assert found["config-unknown-key"].remedy == "Did you mean 'port'?"
    assert f"{config}/agents/broken.md" in found["agent-refused"].message


def test_rights_of_files_are_looked_at(environ: dict[str, str], config: Path) -> None:
    (config / "cco.toml").touch()
    assert "files" in examine(environ)
    (config / "cco.toml").chmod(0o666)
    state = Path(environ["HOME"], ".local/state/cco")
    state.mkdir(parents=True, mode=0o755)
    found = examine(environ)
    assert found["writable-file"].remedy == f"chmod go-w {config}/cco.toml"
    assert found["exposed-file"].remedy == f"chmod 700 {state}"


@pytest.mark.parametrize(
    ("told", "code", "level"),
    [
        ({"version": __version__}, "version", "ok"),
        ({"version": "0.0.1"}, "version-differs", "warn"),
        ({"vfs": {"mounted": False, "path": "/m", "status": "gone"}}, "mount", "fail"),
    ],
)
def test_running_daemon_is_asked(
    environ: dict[str, str], told: dict[str, Any], code: str, level: str
) -> None:
    answers = {"GET /health": health("/m", **told), "GET /api/project/stats": {"recent": []}}
    with standing_in(Path(environ["CCO_RUNTIME_DIR"], "cco.sock"), answers):
        assert examine(environ)[code].level == level


def test_request_from_the_future_tells_of_the_clock(environ: dict[str, str]) -> None:
    recent = [{"time": "2999-01-01T00:00:00Z"}]
    answers = {"GET /health": health("/m"), "GET /api/project/stats": {"recent": recent}}
    with standing_in(Path(environ["CCO_RUNTIME_DIR"], "cco.sock"), answers):
        assert examine(environ)["clock-skew"].level == "warn"


def test_something_else_at_the_socket_is_told(environ: dict[str, str]) -> None:
    with standing_in(Path(environ["CCO_RUNTIME_DIR"], "cco.sock"), {}):
        assert examine(environ)["daemon-garbled"].level == "fail"


def test_daemon_that_is_there_and_silent_is_told(environ: dict[str, str]) -> None:
    class Silent(Service):
        def supervisor(self) -> int | None:
            return os.getpid()

    uid = os.getuid()
    service = Silent(paths.locate(environ, uid=uid), environ=environ, uid=uid)
    found = {one.code: one for one in Examination(service, environ, uid=uid).run()}
    assert found["daemon-silent"].remedy == "cco daemon restart"
    assert "daemon" not in found


def test_daemon_that_comes_up_again_and_again_is_not_told_as_stopped(
    environ: dict[str, str],
) -> None:
    class Manager(units.Manager):
        def states(self, units: Sequence[str] = ()) -> dict[str, str]:
            return {"cco.service": "activating"}

    class Starting(Service):
        def manager(self) -> units.Manager | None:
            return Manager("--user", environ)

    uid = os.getuid()
    service = Starting(paths.locate(environ, uid=uid), environ=environ, uid=uid)
    found = {one.code: one for one in Examination(service, environ, uid=uid).run()}
    assert found["daemon-starting"].remedy == "cco daemon logs"
    assert "daemon" not in found


def test_old_claude_code_is_told(environ: dict[str, str], tmp_path: Path) -> None:
    make_claude(tmp_path / "claude", version="1.0.0 (Claude Code)")
    assert examine(environ)["claude-too-old"].remedy == "Update it: claude update"
    assert not (tmp_path / ".local").exists()  # a look leaves nothing
