# SPDX-License-Identifier: Apache-2.0
"""Looks at everything that a user may have wrong, for `cco doctor`; starts and changes nothing."""

import os
import pwd
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from cco import __version__, build, configfile, fuse, paths, ports, units
from cco.cli import claude, findings
from cco.cli.background import Background
from cco.cli.credential import Sources
from cco.cli.daemon import is_silent, judge
from cco.cli.enable import lingers
from cco.cli.findings import Finding, Level, good, of_error
from cco.cli.service import Service
from cco.config import Settings
from cco.errors import CcoError
from cco.paths import SOCKET

OLDEST_PYTHON: Final = (3, 11)
SYSTEM_SOCKET: Final = Path("/run") / SOCKET


class Examination:
    """One look at everything.

    Args:
        service: of the user.
        environ: of the user.
        uid: of the user.
    """

    def __init__(self, service: Service, environ: Mapping[str, str], *, uid: int) -> None:
        self._service = service
        self._paths = service.paths
        self._environ = environ
        self._uid = uid
        self._manager = service.manager()
        self._systemd = ""
        self._settings: Settings | None = None

    def run(self) -> Iterator[Finding]:
        """Yield all findings, in the order in which things build on each other."""
        yield from self._python()
        yield from self._init()
        yield from self._fuse()
        yield from self._settings_and_agents()
        yield from self._daemon()
        yield from self._files()
        yield from self._claude()
        if self._settings is not None:
            yield from Sources(
                self._manager, self._environ, systemd=self._systemd, uid=self._uid
            ).judge(self._settings.upstream)

    def _python(self) -> Iterator[Finding]:
        if sys.version_info < OLDEST_PYTHON:
            message = f"Python {sys.version.split()[0]} is older than 3.11"
            yield Finding("python-old", Level.FAIL, message, "sudo apt install python3.11")
        try:
            required = metadata.requires("cco") or []
        except metadata.PackageNotFoundError:  # laid out without its metadata
            return
        installed: dict[str, str | None] = {}
        for line in required:
            name = re.split(r"[^\w.-]", line)[0]
            try:
                installed[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                installed[name] = None
        yield from findings.packages(required, installed)

    def _init(self) -> Iterator[Finding]:
        is_systemd = Path("/run/systemd/system").is_dir()
        yield findings.init(is_systemd=is_systemd, kernel=os.uname().release)
        if is_systemd:
            self._systemd = _said(["systemctl", "--version"], self._environ)
            yield findings.systemd_version(self._systemd)
        if own := self._environ.get("CCO_RUNTIME_DIR"):
            yield good("second-daemon", f"CCO_RUNTIME_DIR names {own}, where systemd has no part")
            return
        if not is_systemd:
            return
        runtime = self._environ.get("XDG_RUNTIME_DIR") or f"/run/user/{self._uid}"
        if self._uid != 0:
            name = pwd.getpwuid(self._uid).pw_name
            yield findings.user_manager(
                name=name,
                runs=Path(runtime, "systemd/private").exists(),
                is_ssh="SSH_CONNECTION" in self._environ,
                lingers=lingers(name),
                has_variable="XDG_RUNTIME_DIR" in self._environ,
                runtime=self._paths.runtime,
            )
        if self._manager is not None:
            yield findings.units(self._manager.states(), scope=self._manager.scope)
        else:
            yield good("units", "no manager here has CCO's units, so CCO supervises itself")

    def _fuse(self) -> Iterator[Finding]:
        try:
            fuse.check_device(fuse.DEVICE)
            program = fuse.find_fusermount(fuse.fusermounts(self._environ.get("PATH", "")))
        except CcoError as error:
            yield of_error(error)
            return
        found = program.stat()
        if self._uid != 0 and not (found.st_mode & 0o4000 and found.st_uid == 0):
            real = program.resolve()
            message = f"{real} is not setuid root, so only root can mount"
            yield Finding("fusermount-powerless", Level.FAIL, message, f"sudo chmod u+s {real}")
            return
        yield good("fuse", f"{fuse.DEVICE} and {program} can be used")

    def _settings_and_agents(self) -> Iterator[Finding]:
        from cco.catalog import loader

        try:
            self._settings = configfile.load(self._environ, config=self._paths.config).settings
            yield good("settings", "the settings can be used")
        except CcoError as error:
            yield of_error(error)
        catalog = loader.load(loader.BUILTIN, user=self._paths.config)
        for problem in catalog.problems:
            yield Finding("agent-refused", Level.WARN, str(problem), "cco agents check")
        yield good("agents", f"{len(catalog.agents)} agents can be used")

    def _daemon(self) -> Iterator[Finding]:
        try:
            told = judge(self._service)[1]
        except CcoError as error:
            yield of_error(error)
            return
        newest_s = None
        if health := told["health"]:
            yield findings.versions(ours=__version__, daemons=health["version"])
            yield from findings.health(health)
            newest_s = self._newest_s()
        elif told["serves"]:
            yield good(
                "daemon", f"the system's daemon is {told['status']} and serves another login"
            )
        elif is_silent(told):
            message = "the daemon is there, and does not answer"
            yield Finding("daemon-silent", Level.FAIL, message, "cco daemon restart")
        elif told["units"].get(units.SERVICE) == "activating":
            message = "the daemon is starting, or tries to again and again"
            yield Finding("daemon-starting", Level.WARN, message, "cco daemon logs")
        else:
            yield good("daemon", "the daemon does not run; `cco` starts it when it is needed")
        yield from self._other_daemon()
        yield from self._port(told)
        built_s = datetime.fromisoformat(build.read().date).timestamp()
        yield findings.clock(now_s=time.time(), built_s=built_s, newest_s=newest_s)

    def _newest_s(self) -> float | None:
        try:
            told = self._service.client.call("GET", "/api/project/stats?fields=recent")
            times = [datetime.fromisoformat(row["time"]).timestamp() for row in told["recent"]]
        except (CcoError, KeyError, ValueError):
            return None
        return max(times, default=None)

    def _other_daemon(self) -> Iterator[Finding]:
        """Tell of a second daemon of this user."""
        if stray := self._stray():
            message = f"a second daemon of yours runs in {stray}, of a login without a manager"
            yield Finding("second-daemon", Level.WARN, message, _stop_command(stray))
        try:
            owner = SYSTEM_SOCKET.lstat().st_uid
        except OSError:
            return
        if owner == self._uid and self._paths.socket != SYSTEM_SOCKET:
            message = f"a second daemon serves you at {SYSTEM_SOCKET}, this one is used"
            yield Finding(
                "second-daemon", Level.WARN, message, "cco daemon stop; cco daemon disable"
            )

    def _stray(self) -> Path | None:
        """Return where a daemon lives that a login without manager and runtime directory began."""
        kept = {name: self._environ[name] for name in ("TMPDIR",) if name in self._environ}
        there = paths.locate(kept, uid=self._uid, logins=Path("/nonexistent"))
        if there.runtime == self._paths.runtime or "CCO_RUNTIME_DIR" in self._environ:
            return None
        return there.runtime if Background(there, kept).holder() else None

    def _port(self, told: Mapping[str, Any]) -> Iterator[Finding]:
        """Tell who has the port of Claude Code, unless it is ours."""
        if self._settings is None:
            return
        number = self._settings.server.port
        is_ours = told["units"].get(units.SOCKETS[1]) == "active" or (
            told["health"] is not None and told["health"]["http"]["url"]
        )
        if is_ours or not number:
            yield good("port", "Claude Code's port is ours")
            return
        if other := self._other_manager(number):
            command = "sudo systemctl" if other.scope == "--system" else "systemctl --user"
            name = other.scope.removeprefix("--")
            message = f"CCO's socket of the {name} manager has port {number}"
            remedy = f"{command} stop {' '.join(units.ALL)}"
            yield Finding("port-taken", Level.FAIL, message, remedy)
            return
        if owner := ports.listener(number):
            edit = f"{self._paths.config}/cco.toml: [server] port = {number + 1}"
            if self._manager is not None:
                edit = units.edit_command(units.SOCKETS[1], is_system=self._paths.is_system)
            stray = self._stray()
            stop = _stop_command(stray) if stray else "Stop it"
            message = f"port {number} is taken by {owner}"
            yield Finding("port-taken", Level.FAIL, message, f"{stop}, or take another one: {edit}")
            return
        yield good("port", f"port {number} is free")

    def _other_manager(self, port: int) -> units.Manager | None:
        """Return the service manager beside the one in use whose CCO has a port."""
        environ = {name: self._environ[name] for name in self._environ if name != "CCO_RUNTIME_DIR"}
        for is_system in (False, True):
            manager = units.find(environ, uid=self._uid, is_system=is_system)
            if manager is None or (self._manager and manager.scope == self._manager.scope):
                continue
            is_active = manager.states([units.SOCKETS[1]]).get(units.SOCKETS[1]) == "active"
            if is_active and f":{port} " in manager.property(units.SOCKETS[1], "Listen"):
                return manager
        return None

    def _files(self) -> Iterator[Finding]:
        state, config = self._paths.state, self._paths.config
        looked_at = dict.fromkeys(configfile.files(self._environ, config=config), False)
        looked_at[config] = False
        if not self._service.other():  # whose state it is, and nobody else's
            try:
                self._service.check_state()
                looked_at |= dict.fromkeys((state, state / "cco.db", self._paths.log_file), True)
            except CcoError as error:
                yield of_error(error, level=Level.WARN)
        wrong = [
            found
            for path, is_private in looked_at.items()
            if (found := self._rights(path, is_private=is_private))
        ]
        yield from wrong
        if not wrong:
            yield good("files", f"nobody else can write to {config}, or read {state}")
        there = next(one for one in (state, *state.parents) if one.exists())
        yield findings.room(there, free_bytes=shutil.disk_usage(there).free)

    def _rights(self, path: Path, *, is_private: bool) -> Finding | None:
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            message = f"{path} cannot be looked at ({error.strerror})"
            return Finding("foreign-file", Level.FAIL, message, f"ls -ld {path.parent}")
        return findings.rights(
            path, mode=found.st_mode, owner=found.st_uid, uid=self._uid, is_private=is_private
        )

    def _claude(self) -> Iterator[Finding]:
        try:
            path = claude.find(self._environ)
            version = claude.version(path, cache=Path(os.devnull))
        except CcoError as error:
            yield of_error(error)
            return
        yield good("claude", f"Claude Code {'.'.join(map(str, version))} at {path}")


def _stop_command(runtime: Path) -> str:
    return f"CCO_RUNTIME_DIR={runtime} cco daemon stop"


def _said(command: list[str], environ: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            command, env=dict(environ), capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
