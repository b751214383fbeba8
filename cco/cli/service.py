# SPDX-License-Identifier: Apache-2.0
"""Controls the daemon: through systemd where it has our units, else by itself.

Whoever finds no daemon starts one under a lock, so that a hundred at once start one.
"""

import os
import pwd
import select
import signal
import time
from collections.abc import Mapping
from typing import Any, Final

from cco import configfile, units
from cco.cli.background import START_S, Background
from cco.cli.output import tell
from cco.client import Client
from cco.errors import Denied, Unavailable
from cco.paths import Paths, check_state, make_runtime

MOUNT_S: Final = 10.0
"""Longest wait for the mount once the daemon answers."""
ASK_S: Final = 1.0
"""After this long the service manager is asked what keeps the mount."""
STOP_S: Final = 25.0


class Service:
    """The daemon of one user.

    Args:
        paths: where it is.
        environ: of the caller; the daemon inherits it where it is not a unit.
        uid: of the user.
    """

    def __init__(self, paths: Paths, *, environ: Mapping[str, str], uid: int) -> None:
        self.paths = paths
        self.client = Client(paths.socket)
        self._environ = environ
        self._uid = uid
        self._background = Background(paths, environ)

    def health(self) -> dict[str, Any] | None:
        """Return the daemon's health, serving or not; None where none runs.

        Raises:
            Denied: it serves somebody else.
        """
        try:
            reply = self.client.request("GET", "/health")
        except Unavailable as error:
            if error.code == "daemon-unavailable":
                return None
            raise
        if reply.status == 403:
            raise Denied(
                "foreign-daemon",
                f"the daemon at {self.paths.socket} serves another user",
                hint="See: cco daemon status",
            )
        if reply.status not in (200, 503):
            raise Unavailable(
                "daemon-garbled",
                f"{self.paths.socket} is not served by CCO",
                hint="Stop what serves it, then: cco daemon start",
            )
        told: dict[str, Any] = reply.json()
        return told

    def ensure(self) -> dict[str, Any]:
        """Return the health of a daemon that serves, started if need be.

        Raises:
            Unavailable: it does not come up, with its own reason.
            ConfigError: its settings cannot be used.
        """
        health = self.health()
        if health is not None and _serves(health):
            return health
        if health is None:
            tell("starting the daemon")
            self.start()
        return self.wait_until_ok()

    def start(self) -> bool:
        """Start the daemon and wait until it serves; return False if it did already.

        Raises:
            Unavailable: it does not come up, with its own reason.
            ConfigError: its settings cannot be used.
            RequestError: it would take over another login's ledger.
        """
        self.check_state()
        manager = self.manager()
        if manager is not None:
            return self._start_unit(manager)
        make_runtime(self.paths, uid=self._uid)
        with self._background.start_lock():
            if self._settle():
                return False
            try:
                self._background.spawn()
            except Unavailable:
                # Somebody else may have been quicker, a starter who was killed since, for one.
                if not self._settle():
                    raise
                return False
        self.wait_until_ok()
        return True

    def restart(self) -> None:
        """Start the daemon anew, or for the first time, and wait until it serves.

        Raises:
            Unavailable: it does not come up, with its own reason.
            ConfigError: its settings cannot be used; nothing was stopped.
            RequestError: as for `start`.
        """
        self.check_state()
        manager = self.manager()
        if manager is not None and self.other():
            manager.run("restart", units.SERVICE, units.MOUNT)
            return
        self._check_settings()
        if manager is None:
            self.stop()
            self.start()
        else:
            manager.run("restart", units.SERVICE, units.MOUNT)
            self.wait_until_ok()

    def wait_until_ok(self) -> dict[str, Any]:
        """Wait until daemon and mount serve.

        Raises:
            Unavailable: they do not in time; says what is missing.
        """
        began = time.monotonic()
        deadline = began + START_S
        while (health := self.health()) is None or not _serves(health):
            now = time.monotonic()
            if health is not None:
                deadline = min(deadline, now + MOUNT_S)
            trouble = self._mount_trouble() if now > began + ASK_S else ""
            if trouble or now > deadline:
                raise _why_not_ok(health, trouble)
            time.sleep(0.05)
        return health

    def stop(self) -> bool:
        """Stop daemon, sockets and mount; return False if nothing ran.

        Raises:
            Unavailable: it does not stop, or it was started by other means.
        """
        manager = self.manager()
        if manager is not None:
            states = manager.states()
            if any(state not in ("inactive", "failed") for state in states.values()):
                manager.run("stop", *units.ALL)
            if "failed" in states.values():  # whoever stops it has seen that
                manager.run("reset-failed", *units.ALL, check=False)
            if any(state != "inactive" for state in states.values()):
                return True
        pid = self.supervisor()
        if pid is None:
            return False
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            signal.pidfd_send_signal(fd, signal.SIGTERM)
            if not select.select([fd], [], [], STOP_S)[0]:
                raise Unavailable(
                    "stop-failed",
                    f"the daemon (pid {pid}) does not stop",
                    hint=f"See: cco daemon logs; as a last resort: kill -KILL {pid}",
                )
        finally:
            os.close(fd)
        return True

    def reload(self) -> None:
        """Make the daemon read its settings and agents again.

        Raises:
            Unavailable: none runs.
        """
        manager = self.manager()
        if manager is not None and manager.states().get(units.SERVICE) == "active":
            if self.paths.is_system and self._uid != 0:  # a signal is what this user may send
                os.kill(int(manager.property(units.SERVICE, "MainPID")), signal.SIGHUP)
            else:
                manager.run("reload", units.SERVICE)
        elif pid := self.supervisor():
            os.kill(pid, signal.SIGHUP)
        else:
            raise Unavailable(
                "daemon-unavailable", "no CCO daemon runs", hint="Start it: cco daemon start"
            )

    def supervisor(self) -> int | None:
        """Return the pid of the supervisor that runs here, None where none does."""
        return self._background.holder() or None

    def manager(self) -> units.Manager | None:
        """Return the service manager that runs the daemon, if one has our units."""
        return units.find(self._environ, uid=self._uid, is_system=self.paths.is_system)

    def other(self) -> str:
        """Return the login that the system's daemon serves in place of this user, if it does."""
        manager = self.manager() if self._uid == 0 and self.paths.is_system else None
        login = manager.property(units.SERVICE, "User") if manager else ""
        return "" if login in ("", "0", pwd.getpwuid(0).pw_name) else login

    def check_state(self) -> None:
        """Check that root's own daemon would not take over what one for a login has left.

        Raises:
            RequestError: it would; systemd even makes root the owner of all of it.
        """
        if self._uid == 0 and self.paths.is_system and not self.other():
            check_state(self.paths.state, uid=0, name="root")

    def _start_unit(self, manager: units.Manager) -> bool:
        """Start the daemon's unit, unless it runs, as a unit or otherwise."""
        is_new = self.supervisor() is None and manager.states().get(units.SERVICE) != "active"
        if self.other():
            manager.run("start", units.SERVICE)
            return is_new
        if is_new:
            self._check_settings()
            # It pulls in the sockets; only where the local one fails, so does this.
            manager.run("start", units.SERVICE)
        self.wait_until_ok()
        return is_new

    def _check_settings(self) -> None:
        """Read the daemon's settings: it would tell nobody but its log what is wrong.

        Raises:
            ConfigError: they cannot be used.
        """
        configfile.load(self._environ, config=self.paths.config)

    def _settle(self) -> bool:
        """Let a daemon that is just starting or stopping do so; say whether one serves then.

        Raises:
            Unavailable: one runs, but does not answer.
        """
        deadline = time.monotonic() + STOP_S
        while True:
            health, holder = self.health(), self._background.holder()
            if health is not None or not holder:
                # What a killed supervisor left (0) does not count; without any, it may be one that
                # somebody has started by hand.
                return health is not None and holder != 0
            if time.monotonic() > deadline:
                raise Unavailable(
                    "daemon-unavailable",
                    f"the daemon (pid {holder}) does not answer",
                    hint="Run: cco daemon restart",
                )
            time.sleep(0.05)

    def _mount_trouble(self) -> str:
        manager = self.manager()
        return manager.trouble(units.MOUNT) if manager else ""


def _serves(health: Mapping[str, Any]) -> bool:
    """Say whether daemon and mount do their part.

    That every upstream is out keeps nobody from launching: Claude Code says it in its own words,
    and its requests are what finds out when one is back.
    """
    vfs, states = health["vfs"], {one["state"] for one in health["upstreams"]}
    is_only_upstreams = "open" in states and states <= {"open", "no-credential"}
    is_mounted = vfs["mounted"] and vfs["status"] == "OK"
    return health["status"] == "ok" or (is_mounted and is_only_upstreams)


def _why_not_ok(health: dict[str, Any] | None, trouble: str) -> Unavailable:
    """Return why the daemon is not ok after all the waiting.

    Args:
        health: its own, None where it does not answer.
        trouble: what the mount's unit last said, empty where it said nothing.
    """
    hint = "See: cco daemon logs"
    if health is None and not trouble:
        return Unavailable("daemon-unavailable", "the daemon did not come up", hint=hint)
    told = trouble or (health["vfs"]["status"] if health else "")
    return Unavailable("daemon-ailing", f"the mount is not there ({told})", hint=hint)
