# SPDX-License-Identifier: Apache-2.0
"""Starting at login or boot: what is written and said; `systemctl` is a note-taker here."""

import os
import pwd
from pathlib import Path

import pytest

from cco import paths, units
from cco.cli import enable
from cco.cli.parser import build_parser
from cco.cli.service import Service
from cco.errors import Denied, RequestError, Unavailable

ME = pwd.getpwuid(os.getuid()).pw_name
Capture = pytest.CaptureFixture[str]


class Managed(Service):
    """A service under a manager that notes what it is told."""

    scope = "--user"

    def manager(self) -> units.Manager | None:
        return units.Manager(self.scope, self._environ) if self.scope else None


@pytest.fixture
def service(tmp_path: Path) -> Managed:
    program = tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n')
    program.chmod(0o755)
    environ = {"CCO_RUNTIME_DIR": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    uid = os.getuid()
    return Managed(paths.locate(environ, uid=uid), environ=environ, uid=uid)


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("etc", "linger"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(enable, "ETC", tmp_path / "etc")
    monkeypatch.setattr(enable, "LINGER", tmp_path / "linger")
    monkeypatch.setattr(enable, "STATE", tmp_path / "state")


def do(service: Service, words: str, *, uid: int = 4242) -> int:
    arguments = build_parser().parse_args(["daemon", *words.split()])
    return enable.run(service, arguments, uid=uid)


def asked(tmp_path: Path) -> list[str]:
    lines = (tmp_path / "asked").read_text().splitlines()
    return [line.replace(" --no-pager --no-ask-password", "") for line in lines]


def test_enable_without_linger_says_what_boot_takes(
    service: Managed, tmp_path: Path, capsys: Capture
) -> None:
    assert do(service, "enable", uid=os.getuid()) == 0
    assert asked(tmp_path) == ["--user enable cco.service"]
    assert capsys.readouterr().out == (
        "CCO starts when you log in; start it now: cco daemon start\n"
        f"To have it start at boot: sudo loginctl enable-linger {ME}\n"
    )


def test_enable_of_a_lingering_user_is_at_boot(
    service: Managed, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "linger" / ME).touch()
    assert do(service, "enable", uid=os.getuid()) == 0
    assert capsys.readouterr().out == "CCO starts at boot; start it now: cco daemon start\n"


def test_disable_takes_it_back(service: Managed, tmp_path: Path) -> None:
    assert do(service, "disable") == 0
    assert asked(tmp_path) == ["--user disable cco.service"]


def test_without_units_nothing_can_be_enabled(service: Managed) -> None:
    service.scope = ""
    with pytest.raises(Unavailable) as caught:
        do(service, "enable")
    assert (caught.value.code, caught.value.hint) == (
        "no-units",
        "See what is missing: cco doctor",
    )


def test_system_daemon_of_a_login_is_written_down_and_shown(
    service: Managed, tmp_path: Path, capsys: Capture
) -> None:
    service.scope = "--system"
    assert do(service, f"enable --system --user {ME}", uid=0) == 0
    head = f"# Written by: cco daemon enable --system --user {ME}\n"
    files = enable.drop_ins(tmp_path / "etc")
    assert [path.read_text() for path in files] == [
        f"{head}[Socket]\nSocketUser={ME}\n",
        f"{head}[Service]\nUser={ME}\n",
        f"{head}[Service]\nUser={ME}\n",
    ]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o644}
    assert asked(tmp_path) == ["--system daemon-reload", "--system enable cco.service"]
    shown = capsys.readouterr().out
    assert f"{files[0]}:\n  # Written by" in shown
    assert shown.endswith(f"serves {ME}; start it now: sudo cco daemon start\n")


def test_disabling_it_stops_it_before_the_login_is_forgotten(
    service: Managed, tmp_path: Path
) -> None:
    service.scope = "--system"
    do(service, f"enable --system --user {ME}", uid=0)
    kept = tmp_path / "etc/cco.service.d/mine.conf"
    kept.touch()
    (tmp_path / "asked").unlink()

    assert do(service, "disable --system", uid=0) == 0

    assert asked(tmp_path) == [
        f"--system stop {' '.join(units.ALL)}",
        "--system disable cco.service",
        "--system daemon-reload",
    ]
    left = [path for path in (tmp_path / "etc").rglob("*") if path.is_file()]
    assert left == [kept]  # the administrator's own


@pytest.mark.parametrize(
    ("words", "uid", "kind", "hint"),
    [
        ("enable --user ada", 1, RequestError, "Run: sudo cco daemon enable --system --user ada"),
        ("disable --user ada", 1, RequestError, "Run: sudo cco daemon disable --system --user ada"),
        ("enable --system", 0, RequestError, "Run: sudo cco daemon enable --system --user NAME"),
        (
            "enable --system --user ada",
            1,
            Denied,
            "Run: sudo cco daemon enable --system --user ada",
        ),
        ("disable --system", 1, Denied, "Run: sudo cco daemon disable --system"),
        ("enable --system --user no.body", 0, RequestError, "See: getent passwd"),
    ],
)
def test_what_cannot_be_names_the_command_that_can(
    service: Managed, words: str, uid: int, kind: type[Exception], hint: str
) -> None:
    with pytest.raises(kind) as caught:
        do(service, words, uid=uid)
    assert getattr(caught.value, "hint", None) == hint


def test_disable_of_a_login_that_is_not_served_stops_nothing(
    service: Managed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.scope = "--system"
    monkeypatch.setattr(Managed, "other", lambda _self: "alice")
    with pytest.raises(RequestError, match="serves alice, not bob"):
        do(service, "disable --system --user bob", uid=0)
    assert not (tmp_path / "asked").exists()
    assert do(service, "disable --system --user alice", uid=0) == 0


@pytest.mark.needs("root")
def test_ledger_of_one_login_is_not_given_to_another(service: Managed, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/cco.db").touch()
    os.chown(tmp_path / "state", 4242, -1)
    with pytest.raises(RequestError) as caught:
        do(service, f"enable --system --user {ME}", uid=0)
    assert caught.value.code == "foreign-state"
    assert not (tmp_path / "asked").exists()
