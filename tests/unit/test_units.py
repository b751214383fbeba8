# SPDX-License-Identifier: Apache-2.0
"""What is said to `systemctl`, and what is made of its answers; it is a small script here."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from cco.errors import Denied, Unavailable
from cco.units import ALL, Manager, edit_command, find

SAYS_LOADED = "echo loaded"
USER = 4242


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    return tmp_path / "asked"


def with_systemctl(tmp_path: Path, script: str) -> dict[str, str]:
    """Return an environment whose `systemctl` notes how it was called and runs the script."""
    directory = tmp_path / "bin"
    directory.mkdir(exist_ok=True)
    program = directory / "systemctl"
    note = f'echo "$XDG_RUNTIME_DIR systemctl $*" >> {tmp_path}/asked\n'
    program.write_text(f"#!/bin/sh\n{note}{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{directory}:/usr/bin:/bin"}


def make_run(tmp_path: Path, *, logins: tuple[int, ...] = ()) -> Path:
    """Return a /run of a host that systemd has booted, with the managers of these users."""
    run = tmp_path / "run"
    (run / "systemd/system").mkdir(parents=True)
    for uid in logins:
        (run / f"user/{uid}/systemd").mkdir(parents=True)
        (run / f"user/{uid}/systemd/private").touch()
    return run


def test_root_has_the_systems_manager(tmp_path: Path, asked: Path) -> None:
    environ = with_systemctl(tmp_path, SAYS_LOADED)

    manager = find(environ, uid=0, is_system=True, run=make_run(tmp_path))

    assert manager == Manager("--system", environ)
    assert asked.read_text().strip() == (
        "systemctl --system --no-pager --no-ask-password"
        " show --property=LoadState --value cco.service"
    )


def test_user_has_their_own(tmp_path: Path) -> None:
    run = make_run(tmp_path, logins=(USER,))
    environ = with_systemctl(tmp_path, SAYS_LOADED)
    environ["XDG_RUNTIME_DIR"] = f"{run}/user/{USER}"

    assert find(environ, uid=USER, is_system=False, run=run) == Manager("--user", environ)


def test_login_without_runtime_directory_finds_the_same_manager(
    tmp_path: Path, asked: Path
) -> None:
    # After `su` the variable is missing, and systemctl would say that there is no bus.
    run = make_run(tmp_path, logins=(USER,))
    manager = find(with_systemctl(tmp_path, SAYS_LOADED), uid=USER, is_system=False, run=run)

    assert manager is not None
    assert manager.scope == "--user"
    manager.run("start", "cco.service")
    lines = asked.read_text().splitlines()
    assert {line.split()[0] for line in lines} == {f"{run}/user/{USER}"}


@pytest.mark.parametrize(
    ("uid", "script", "more"),
    [
        (0, "echo not-found", {}),  # our units are not installed
        (0, "echo masked", {}),
        (0, "exit 1", {}),
        (0, SAYS_LOADED, {"CCO_RUNTIME_DIR": "/somewhere"}),  # a second daemon is no unit
        (USER + 1, SAYS_LOADED, {}),  # no manager runs for this user
        (USER, SAYS_LOADED, {"XDG_RUNTIME_DIR": "/nowhere"}),
    ],
)
def test_without_our_units_there_is_no_manager(
    tmp_path: Path, uid: int, script: str, more: Mapping[str, str]
) -> None:
    run = make_run(tmp_path, logins=(USER,))

    environ = {**with_systemctl(tmp_path, script), **more}
    assert find(environ, uid=uid, is_system=uid == 0, run=run) is None


def test_user_whom_the_systems_daemon_serves_has_the_systems_manager(tmp_path: Path) -> None:
    environ = with_systemctl(tmp_path, SAYS_LOADED)
    run = make_run(tmp_path, logins=(USER,))

    assert find(environ, uid=USER, is_system=True, run=run) == Manager("--system", environ)


def test_without_systemd_nobody_is_asked(tmp_path: Path, asked: Path) -> None:
    environ = with_systemctl(tmp_path, SAYS_LOADED)

    assert find(environ, uid=0, is_system=True, run=tmp_path) is None
    assert not asked.exists()


def test_without_systemctl_there_is_no_manager(tmp_path: Path) -> None:
    environ = {"PATH": str(tmp_path)}

    assert find(environ, uid=0, is_system=True, run=make_run(tmp_path)) is None
    with pytest.raises(Unavailable, match="systemctl cannot be run"):
        Manager("--system", environ).run("start", "cco.service")


def test_failure_is_told_in_systemds_words(tmp_path: Path) -> None:
    environ = with_systemctl(
        tmp_path, "echo 'Job failed because of this.' >&2; echo 'See more.' >&2; exit 1"
    )
    with pytest.raises(Unavailable) as caught:
        Manager("--user", environ).run("start", "cco.service", "cco.socket")

    assert caught.value.code == "systemd-failed"
    assert caught.value.message == (
        "'systemctl --user start cco.service cco.socket' failed: Job failed because of this"
    )
    assert caught.value.hint == "See: systemctl --user status cco.service"


@pytest.mark.parametrize(
    "told",
    [
        "Failed to stop cco.service: Access denied",  # without polkit
        "Failed to stop cco.service: Interactive authentication required.",
    ],
)
def test_what_only_root_may_do_names_the_command(tmp_path: Path, told: str) -> None:
    environ = with_systemctl(tmp_path, f"echo '{told}' >&2; exit 4")
    with pytest.raises(Denied) as caught:
        Manager("--system", environ).run("stop", "cco.service", "cco-vfs.service")

    assert caught.value.message == "your daemon is the system's, and only root may stop that"
    assert caught.value.hint == "Run: sudo systemctl stop cco.service cco-vfs.service"


def test_each_manager_has_its_command_to_edit_a_unit() -> None:
    told = [edit_command("cco.service", is_system=is_system) for is_system in (False, True)]
    assert told == ["systemctl --user edit cco.service", "sudo systemctl edit cco.service"]


def test_property_is_told_without_its_name(tmp_path: Path, asked: Path) -> None:
    manager = Manager("--system", with_systemctl(tmp_path, "echo alice"))

    assert manager.property("cco.service", "User") == "alice"
    assert asked.read_text().split()[-4:] == ["show", "--property=User", "--value", "cco.service"]


def test_failure_without_words_is_told_by_its_status(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"failed: 5$"):
        Manager("--system", with_systemctl(tmp_path, "exit 5")).run("stop")


def test_states_of_all_units_are_read(tmp_path: Path) -> None:
    answer = (
        "Id=cco.socket\nActiveState=active\n\nActiveState=inactive\nId=cco-http.socket\n\n"
        "Id=cco.service\nActiveState=failed\n\nId=cco-vfs.service\n"
    )
    manager = Manager("--user", with_systemctl(tmp_path, f"printf '{answer}'"))

    assert manager.states() == {
        "cco.socket": "active",
        "cco-http.socket": "inactive",
        "cco.service": "failed",
        "cco-vfs.service": "unknown",
    }
    assert set(ALL) == set(manager.states())


def test_manager_that_is_gone_knows_no_states(tmp_path: Path) -> None:
    assert Manager("--user", with_systemctl(tmp_path, "exit 1")).states() == {}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("Result=success\nStatusText=Serving", ""),
        ("Result=exit-code\nStatusText=no /dev/fuse", "no /dev/fuse"),
        ("Result=exit-code\nStatusText=a=b", "a=b"),
        ("Result=exit-code\nStatusText=", "cco-vfs.service fails"),
        ("Result=signal\nStatusText=x", ""),  # it starts again
        ("", ""),
    ],
)
def test_service_that_gave_up_says_why(tmp_path: Path, answer: str, told: str) -> None:
    manager = Manager("--user", with_systemctl(tmp_path, f"printf '{answer}'"))

    assert manager.trouble("cco-vfs.service") == told


@pytest.mark.parametrize(
    ("scope", "units"),
    [
        ("--user", ["--user-unit", "cco.service", "--user-unit", "cco-vfs.service"]),
        ("--system", ["--unit", "cco.service", "--unit", "cco-vfs.service"]),
    ],
)
def test_journal_is_that_of_both_services(scope: str, units: list[str]) -> None:
    command = Manager(scope, {}).journal_command("--lines", "5")

    assert command == ["journalctl", "--quiet", *units, "--lines", "5"]
