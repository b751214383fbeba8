# SPDX-License-Identifier: Apache-2.0
"""`cco daemon enable|disable`: start at login, or at boot for one chosen login.

Which login the system's daemon serves stands in three drop-ins of the administrator's, which are
written and removed here.
"""

import argparse
import os
import pwd
from pathlib import Path
from typing import Final

from cco import units
from cco.cli.service import Service
from cco.errors import Denied, RequestError, Unavailable
from cco.paths import check_state

ETC: Final = Path("/etc/systemd/system")
STATE: Final = Path("/var/lib/cco")
LINGER: Final = Path("/var/lib/systemd/linger")
"""Holds a file for each user whose manager starts at boot, `loginctl(1)`."""

_DROP_IN: Final = "50-user.conf"
_TEXTS: Final = {
    units.SOCKETS[0]: "[Socket]\nSocketUser={name}\n",
    units.SERVICE: "[Service]\nUser={name}\n",
    units.MOUNT: "[Service]\nUser={name}\n",
}
_HEAD: Final = "# Written by: cco daemon enable --system --user {name}\n"


def run(service: Service, arguments: argparse.Namespace, *, uid: int) -> int:
    """Run `cco daemon enable` or `disable`."""
    is_enable, name = arguments.verb == "enable", arguments.user
    if not arguments.system:
        if name:
            raise RequestError(
                "user-without-system",
                "--user is the login of the system's daemon",
                hint=f"Run: sudo cco daemon {arguments.verb} --system --user {name}",
            )
        return _enable(service, uid=uid) if is_enable else _disable(service)
    if is_enable and not name:
        raise RequestError(
            "no-user",
            "the system's daemon serves one login, and none was named",
            hint="Run: sudo cco daemon enable --system --user NAME",
        )
    if uid != 0:
        words = f"{arguments.verb} --system" + (f" --user {name}" if name else "")
        raise Denied(
            "root-needed",
            f"only root may {arguments.verb} the system's daemon",
            hint=f"Run: sudo cco daemon {words}",
        )
    manager = _manager(service)
    if is_enable:
        return _enable_system(manager, name)
    served = service.other() or pwd.getpwuid(uid).pw_name
    if name and name != served:
        raise RequestError(
            "another-login",
            f"the system's daemon serves {served}, not {name}",
            hint=f"Run: sudo cco daemon disable --system --user {served}",
        )
    return _disable_system(manager)


def drop_ins(etc: Path) -> list[Path]:
    """Return the files that choose the login."""
    return [etc / f"{unit}.d" / _DROP_IN for unit in _TEXTS]


def lingers(name: str) -> bool:
    """Say whether this user's manager runs from boot on, without a login."""
    return (LINGER / name).exists()


def _enable(service: Service, *, uid: int) -> int:
    manager = _manager(service)
    manager.run("enable", units.SERVICE)
    name = pwd.getpwuid(uid).pw_name
    if manager.scope == "--system" or lingers(name):
        print("CCO starts at boot; start it now: cco daemon start")
        return os.EX_OK
    print("CCO starts when you log in; start it now: cco daemon start")
    print(f"To have it start at boot: sudo loginctl enable-linger {name}")
    return os.EX_OK


def _disable(service: Service) -> int:
    _manager(service).run("disable", units.SERVICE)
    print("CCO starts no more by itself, only when `cco` needs it")
    return os.EX_OK


def _enable_system(manager: units.Manager, name: str) -> int:
    _check_login(name)
    for path, text in zip(drop_ins(ETC), _TEXTS.values(), strict=True):
        written = (_HEAD + text).format(name=name)
        path.parent.mkdir(mode=0o755, exist_ok=True)
        path.write_text(written, encoding="utf-8")
        path.chmod(0o644)
        print(f"{path}:", *written.splitlines(), sep="\n  ")
    manager.run("daemon-reload")
    manager.run("enable", units.SERVICE)
    print(f"CCO starts at boot and serves {name}; start it now: sudo cco daemon start")
    return os.EX_OK


def _disable_system(manager: units.Manager) -> int:
    # First, for without the drop-ins the next connection would start it as root.
    manager.run("stop", *units.ALL)
    manager.run("disable", units.SERVICE)
    for path in drop_ins(ETC):
        if path.exists():
            path.unlink()
            print(f"removed {path}")
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
    manager.run("daemon-reload")
    print(f"CCO was stopped and starts no more at boot; its ledger stays in {STATE}")
    return os.EX_OK


def _check_login(name: str) -> None:
    """Check that the system's daemon can serve a login.

    Raises:
        RequestError: there is none of this name, or what was kept is somebody else's.
    """
    try:
        wanted = pwd.getpwnam(name)
    except KeyError as exc:
        raise RequestError(
            "no-such-user", f"there is no login '{name}'", hint="See: getent passwd"
        ) from exc
    check_state(STATE, uid=wanted.pw_uid, name=name)


def _manager(service: Service) -> units.Manager:
    """Return the service manager that has our units.

    Raises:
        Unavailable: none has, so nothing starts CCO but `cco` itself.
    """
    manager = service.manager()
    if manager is None:
        raise Unavailable(
            "no-units",
            "no service manager here has CCO's units, so it cannot be started at login or boot",
            hint="See what is missing: cco doctor",
        )
    return manager
