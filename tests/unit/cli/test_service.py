# SPDX-License-Identifier: Apache-2.0
"""Controlling the daemon: by itself, against processes; through systemd, against a script."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cco import paths, units
from cco.cli import service as module
from cco.cli.service import Service
from cco.errors import CcoError, ConfigError, Denied, Unavailable
from tests.unit.cli.fakes import StandIn, health, standing_in

SUPERVISOR = """\
import fcntl, os, signal, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(fd, fcntl.LOCK_EX)
os.write(fd, f"{os.getpid()}\\n".encode())
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
print("ready", flush=True)
while (got := signal.sigwait({signal.SIGTERM, signal.SIGHUP})) == signal.SIGHUP:
    print("reload", flush=True)
"""
"""What of a supervisor can be seen from outside: its lock, its name, what it does on signals."""


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    (tmp_path / "r").mkdir(mode=0o700)
    return tmp_path / "r"


def make_service(runtime: Path, **more: str) -> Service:
    environ = {"CCO_RUNTIME_DIR": str(runtime), "HOME": str(runtime.parent), **more}
    uid = os.getuid()
    return Service(paths.locate(environ, uid=uid), environ=environ, uid=uid)


@pytest.fixture
def service(runtime: Path) -> Service:
    return make_service(runtime)


@contextmanager
def serving(service: Service, told: Any) -> Iterator[StandIn]:
    with standing_in(service.paths.socket, {"GET /health": told}) as daemon:
        yield daemon


@contextmanager
def supervising(service: Service) -> "Iterator[subprocess.Popen[str]]":
    lock = str(service.paths.pid_file)
    command = [sys.executable, "-c", SUPERVISOR, lock, "cco.daemon.supervise"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.terminate()


# How it is.


def test_nobody_answers(service: Service) -> None:
    assert service.health() is None


@pytest.mark.parametrize("status", [200, 503])
def test_health_is_told_whether_good_or_not(status: int, service: Service) -> None:
    with serving(service, (status, health())):
        assert service.health() == health()


@pytest.mark.parametrize("told", [(404, {}), (500, {}), (302, {})])
def test_somebody_else_serves_the_socket(told: tuple[int, Any], service: Service) -> None:
    with serving(service, told), pytest.raises(Unavailable) as caught:
        service.health()

    assert caught.value.code == "daemon-garbled"


def test_good_daemon_is_left_as_it_is(service: Service) -> None:
    with serving(service, health()):
        assert service.ensure() == health()
        assert service.start() is False

    assert list(service.paths.runtime.iterdir()) == [service.paths.socket]


def test_mount_that_comes_up_is_waited_for(service: Service) -> None:
    answers = iter([health(status="degraded"), health(status="degraded"), health()])
    with serving(service, lambda: next(answers)):
        assert service.wait_until_ok()["status"] == "ok"


def test_upstreams_that_are_out_keep_nobody_from_launching(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOUNT_S", 0.0)
    out = [{"name": "a", "state": "open"}, {"name": "b", "state": "no-credential"}]
    with serving(service, (503, health(status="degraded", upstreams=out))):
        assert service.ensure()["status"] == "degraded"
        assert service.wait_until_ok()["status"] == "degraded"


def test_upstreams_that_are_out_excuse_nothing_else(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOUNT_S", 0.0)
    told: dict[str, Any] = {
        "upstreams": [{"name": "a", "state": "open"}],
        "vfs": {"mounted": True, "path": "/m", "status": "ERROR: the catalogue is empty"},
    }
    with (
        serving(service, (503, health(status="degraded", **told))),
        pytest.raises(Unavailable),
    ):
        service.ensure()


def test_mount_that_does_not_come_up_is_told(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOUNT_S", 0.0)
    ill = health(status="degraded", vfs={"mounted": False, "path": "/m", "status": "no /dev/fuse"})
    with serving(service, (503, ill)), pytest.raises(Unavailable) as caught:
        service.ensure()

    assert caught.value.code == "daemon-ailing"
    assert caught.value.message == "the mount is not there (no /dev/fuse)"
    assert caught.value.hint == "See: cco daemon logs"


def test_daemon_that_does_not_come_up_is_told(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_S", 0.0)
    with pytest.raises(Unavailable) as caught:
        service.wait_until_ok()

    assert caught.value.code == "daemon-unavailable"
    assert caught.value.message == "the daemon did not come up"


# By itself.


def test_unsafe_directory_is_refused_before_anything_is_started(runtime: Path) -> None:
    runtime.chmod(0o777)
    with pytest.raises(Unavailable) as caught:
        make_service(runtime).start()

    assert caught.value.code == "runtime-unsafe"
    assert list(runtime.iterdir()) == []


def test_settings_that_cannot_be_used_stop_nothing(service: Service, tmp_path: Path) -> None:
    settings = tmp_path / "cco.toml"
    settings.write_text("[server]\nport = 'x'\n")
    broken = make_service(service.paths.runtime, CCO_CONFIG=str(settings))
    with supervising(service) as process:
        with pytest.raises(ConfigError) as caught:
            broken.restart()
        assert process.poll() is None

    assert caught.value.message.startswith(f"{settings}:2: port")


def test_nothing_runs(service: Service) -> None:
    assert service.supervisor() is None
    assert service.stop() is False
    with pytest.raises(Unavailable) as caught:
        service.reload()

    assert caught.value.hint == "Start it: cco daemon start"


def test_file_that_nobody_holds_is_no_supervisor(service: Service) -> None:
    service.paths.pid_file.write_text(f"{os.getpid()}\n")

    assert service.supervisor() is None
    assert service.stop() is False


def test_supervisor_is_found_told_and_stopped(service: Service) -> None:
    with supervising(service) as process:
        assert service.supervisor() == process.pid
        service.reload()
        assert process.stdout is not None
        assert process.stdout.readline() == "reload\n"
        assert service.stop() is True
        assert process.wait() == 0
    assert service.supervisor() is None


def test_supervisor_that_does_not_stop_is_told(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.0)
    with supervising(service) as process:
        process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable) as caught:
                service.stop()
        finally:
            process.send_signal(signal.SIGCONT)
        assert str(process.pid) in caught.value.message

    assert caught.value.code == "stop-failed"


def test_supervisor_that_does_not_answer_is_told(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.0)
    with supervising(service) as process, pytest.raises(Unavailable) as caught:
        service.start()

    assert caught.value.message == f"the daemon (pid {process.pid}) does not answer"
    assert caught.value.hint == "Run: cco daemon restart"


# Through systemd.

SYSTEMCTL = """\
#!/bin/sh
echo "$*" >> {asked}
case "$*" in
*Id,ActiveState*)
    for unit in cco.socket cco-http.socket cco.service cco-vfs.service; do
        printf 'Id=%s\\nActiveState=%s\\n\\n' $unit "$(cat {states}/$unit)"
    done ;;
*Result,StatusText*) cat {states}/trouble ;;
*property=User*) echo alice ;;
*property=MainPID*) cat {states}/pid ;;
esac
"""


class UnderSystemd(Service):
    """A service whose units a script manages."""

    def __init__(self, runtime: Path, **states: str) -> None:
        made = make_service(runtime)
        super().__init__(made.paths, environ=made._environ, uid=os.getuid())
        self.top = runtime.parent
        program = self.top / "bin" / "systemctl"
        program.parent.mkdir()
        (self.top / "states").mkdir()
        program.write_text(SYSTEMCTL.format(asked=self.top / "asked", states=self.top / "states"))
        program.chmod(0o755)
        for unit in units.ALL:
            state = states.get(unit.replace(".", "_").replace("-", "_"), "inactive")
            (self.top / "states" / unit).write_text(state)
        (self.top / "states" / "trouble").write_text("Result=success\n")
        self._manager = units.Manager("--user", {"PATH": f"{program.parent}:/usr/bin:/bin"})

    def manager(self) -> units.Manager:
        return self._manager

    def commands(self) -> list[str]:
        """Return what `systemctl` was told to do."""
        lines = (self.top / "asked").read_text().splitlines()
        done = [line.removeprefix("--user --no-pager --no-ask-password ") for line in lines]
        return [line for line in done if not line.startswith("show ")]


class OfTheSystem(UnderSystemd):
    """The system's, which serves alice, controlled by some user."""

    def __init__(self, runtime: Path, *, uid: int, **states: str) -> None:
        super().__init__(runtime, **states)
        self.paths = self.paths._replace(is_system=True)
        self._uid = uid


ALL = "cco.socket cco-http.socket cco.service cco-vfs.service"


def test_unit_is_started(runtime: Path) -> None:
    service = UnderSystemd(runtime)
    with serving(service, health()):
        assert service.start() is True

    assert service.commands() == ["start cco.service"]


def test_daemon_of_somebody_else_says_so(service: Service) -> None:
    with serving(service, (403, {})), pytest.raises(Denied) as caught:
        service.health()

    assert caught.value.message == f"the daemon at {service.paths.socket} serves another user"


def test_root_controls_the_daemon_of_a_chosen_login_without_asking_it(runtime: Path) -> None:
    service = OfTheSystem(runtime, uid=0)
    with serving(service, (403, {})):
        assert service.other() == "alice"
        assert service.start() is True
        service.restart()

    assert service.commands() == ["start cco.service", "restart cco.service cco-vfs.service"]


def test_chosen_login_reloads_its_daemon_by_a_signal(runtime: Path) -> None:
    service = OfTheSystem(runtime, uid=4242, cco_service="active")
    assert service.other() == ""
    with supervising(service) as process:
        (service.top / "states/pid").write_text(str(process.pid))
        service.reload()
        assert process.stdout is not None
        assert process.stdout.readline() == "reload\n"

    assert service.commands() == []


def test_unit_that_runs_is_not_started(runtime: Path) -> None:
    service = UnderSystemd(runtime, cco_service="active")
    with serving(service, health()):
        assert service.start() is False

    assert service.commands() == []


def test_unit_with_settings_that_cannot_be_used_is_not_started(runtime: Path) -> None:
    service = UnderSystemd(runtime)
    (service.paths.config).mkdir(parents=True)
    (service.paths.config / "cco.toml").write_text("x = 1")
    for act in (service.start, service.restart):
        with pytest.raises(ConfigError):
            act()
    assert service.commands() == []


def test_units_are_restarted_together(runtime: Path) -> None:
    service = UnderSystemd(runtime, cco_service="active")
    with serving(service, health()):
        service.restart()

    assert service.commands() == ["restart cco.service cco-vfs.service"]


@pytest.mark.parametrize(
    ("states", "commands", "stopped"),
    [
        ({}, [], False),
        # the sockets too, so that nothing revives it
        ({"cco_socket": "active"}, [f"stop {ALL}"], True),
        ({"cco_service": "activating"}, [f"stop {ALL}"], True),
        ({"cco_service": "deactivating"}, [f"stop {ALL}"], True),
        ({"cco_vfs_service": "failed"}, [f"reset-failed {ALL}"], True),
        (
            {"cco_service": "active", "cco_vfs_service": "failed"},
            [f"stop {ALL}", f"reset-failed {ALL}"],
            True,
        ),
    ],
)
def test_units_are_stopped(
    states: dict[str, str], commands: list[str], stopped: bool, runtime: Path
) -> None:
    service = UnderSystemd(runtime, **states)

    assert service.stop() is stopped
    assert service.commands() == commands


def test_unit_is_reloaded(runtime: Path) -> None:
    service = UnderSystemd(runtime, cco_service="active")
    service.reload()

    assert service.commands() == ["reload cco.service"]


def test_supervisor_started_by_hand_is_controlled_where_the_units_rest(runtime: Path) -> None:
    service = UnderSystemd(runtime)
    with supervising(service) as process:
        assert process.stdout is not None
        service.reload()
        assert process.stdout.readline() == "reload\n"
        with serving(service, health()):
            assert service.start() is False
        assert service.stop() is True
    assert service.commands() == []


def test_mounts_unit_says_why_it_gave_up(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ASK_S", 0.0)
    service = UnderSystemd(runtime)
    (service.top / "states" / "trouble").write_text("Result=exit-code\nStatusText=no fusermount\n")
    with serving(service, (503, health(status="degraded"))), pytest.raises(CcoError) as caught:
        service.start()

    assert caught.value.code == "daemon-ailing"
    assert caught.value.message == "the mount is not there (no fusermount)"
