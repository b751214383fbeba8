# SPDX-License-Identifier: Apache-2.0
"""Where CCO keeps its things, decided once from the environment and the uid.

==========================  =======================  ============================  ==============
who                         mount                    Unix socket                   state
==========================  =======================  ============================  ==============
uid 0, the system's daemon  /run/cco                 /run/cco.sock                 /var/lib/cco
XDG_RUNTIME_DIR             $XDG_RUNTIME_DIR/cco     $XDG_RUNTIME_DIR/cco.sock     ~/.local/state
neither                     /run/user/UID/cco        /run/user/UID/cco.sock        likewise
not even that               $TMPDIR/cco-UID/cco      $TMPDIR/cco-UID/cco.sock      likewise
CCO_RUNTIME_DIR, any uid    $CCO_RUNTIME_DIR/cco     $CCO_RUNTIME_DIR/cco.sock     likewise
==========================  =======================  ============================  ==============

The system's daemon serves the login that owns its socket: that login's commands find it there,
unless a daemon of the login's own has its socket. ``STATE_DIRECTORY`` (systemd) and
``XDG_STATE_HOME`` move the state. ``CCO_RUNTIME_DIR`` makes room for a second daemon beside the
usual one: `cco demo` and the tests live in it.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from cco.errors import ConfigError, RequestError, Unavailable

SOCKET: Final = "cco.sock"
"""Name of the daemon's Unix socket."""
_LONGEST_NAME: Final = "cco-mount.notify"
"""The longest name of a socket in the runtime directory."""
_SOCKET_PATH_BYTES: Final = 107
"""Longest path that a Unix socket can have, `unix(7)`."""


class Paths(NamedTuple):
    """Absolute paths; none of them need exist."""

    runtime: Path
    """Directory that holds mount, socket and locks; on a tmpfs."""
    mount: Path
    """Mount point of the sealed files."""
    socket: Path
    """The daemon's Unix socket."""
    state: Path
    """Directory of the database and, without a journal, the log."""
    config: Path
    """Directory of the user's settings and agents."""
    is_system: bool
    """Whether the system's service manager has the daemon's units, not the user's."""

    @property
    def log_file(self) -> Path:
        """The log where there is no journal."""
        return self.state / "cco.log"

    @property
    def pid_file(self) -> Path:
        """Held locked by the supervisor as long as it lives; its text is the pid."""
        return self.runtime / "cco.pid"

    @property
    def start_lock(self) -> Path:
        """Held by whoever starts the daemon, so that many starters give one daemon."""
        return self.runtime / "cco.lock"


def locate(
    environ: Mapping[str, str],
    *,
    uid: int,
    logins: Path = Path("/run/user"),
    system: Path = Path("/run"),
) -> Paths:
    """Return the paths of the daemon that serves `uid` in this environment.

    Args:
        environ: of the caller; relative paths of the XDG variables do not count, as XDG has it.
        uid: of the user.
        logins: where session managers make the runtime directories of users.
        system: runtime directory of the system's daemon.

    Raises:
        ConfigError: ``CCO_RUNTIME_DIR`` is a relative path, which is another one for a daemon.
    """
    home = Path(environ.get("HOME") or "/")
    own = environ.get("CCO_RUNTIME_DIR")
    if own and not own.startswith("/"):
        raise ConfigError(
            "runtime-relative",
            f"CCO_RUNTIME_DIR must be an absolute path, not '{own}'",
            hint=f"Set it to: {Path(own).absolute()}",
        )
    runtime = Path(own) if own else _runtime_dir(environ, uid=uid, logins=logins)
    served = runtime
    if not own and _serves(system, uid=uid) and not (runtime / SOCKET).exists():
        served = system
    if state_dir := environ.get("STATE_DIRECTORY"):
        state = Path(state_dir.split(":")[0])
    elif served == system and not own:
        state = Path("/var/lib/cco")
    else:
        state = _xdg(environ, "XDG_STATE_HOME", home / ".local/state") / "cco"
    return Paths(
        runtime=runtime,
        mount=served / "cco",
        socket=served / SOCKET,
        state=state,
        config=_xdg(environ, "XDG_CONFIG_HOME", home / ".config") / "cco",
        is_system=served == system,
    )


def make_runtime(paths: Paths, *, uid: int) -> None:
    """Make the runtime directory 0700 if it is missing, and check that it is ours alone.

    Raises:
        Unavailable: it cannot be made, or somebody else could write to it or lead us elsewhere.
    """
    runtime = paths.runtime
    if len(os.fsencode(runtime / _LONGEST_NAME)) > _SOCKET_PATH_BYTES:
        raise Unavailable(
            "runtime-too-long",
            f"the path of the runtime directory {runtime} is too long for a socket in it",
            hint="Set XDG_RUNTIME_DIR or CCO_RUNTIME_DIR to a directory with a shorter path",
        )
    try:
        runtime.mkdir(mode=0o700, exist_ok=True)
        found = runtime.lstat()
    except OSError as exc:
        raise Unavailable(
            "runtime-missing",
            f"the runtime directory {runtime} cannot be used ({exc.strerror})",
            hint="Log in through a session manager, or set XDG_RUNTIME_DIR to a directory of yours",
        ) from exc
    if stat.S_ISLNK(found.st_mode):
        raise Unavailable(
            "runtime-unsafe",
            f"the runtime directory {runtime} is a symbolic link",
            hint="Remove it, or name the directory that it leads to",
        )
    if found.st_uid != uid:
        raise Unavailable(
            "runtime-unsafe",
            f"the runtime directory {runtime} belongs to another user",
            hint="Set XDG_RUNTIME_DIR or CCO_RUNTIME_DIR to a directory of yours",
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unavailable(
            "runtime-unsafe",
            f"others may write to the runtime directory {runtime}",
            hint=f"Remove it, or run: chmod 700 {runtime}",
        )


def check_state(state: Path, *, uid: int, name: str) -> None:
    """Check that a login may have the state of the system's daemon.

    Raises:
        RequestError: what was kept there is another login's.
    """
    if state.exists() and state.stat().st_uid != uid and any(state.iterdir()):
        raise RequestError(
            "foreign-state",
            f"{state} holds the ledger of another login, which {name} would take over",
            hint=f"Run: cco daemon disable --system; mv {state} {state}.old",
        )


def _serves(system: Path, *, uid: int) -> bool:
    """Say whether the system's daemon is this user's: systemd gave them its socket."""
    try:
        found = (system / SOCKET).lstat()
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == uid


def _runtime_dir(environ: Mapping[str, str], *, uid: int, logins: Path) -> Path:
    if uid == 0:
        return Path("/run")
    given = environ.get("XDG_RUNTIME_DIR", "")
    if given.startswith("/"):
        return Path(given)
    usual = logins / str(uid)
    if usual.is_dir() and usual.stat().st_uid == uid and os.access(usual, os.W_OK):
        return usual
    temporary = environ.get("TMPDIR", "")
    return Path(temporary if temporary.startswith("/") else "/tmp") / f"cco-{uid}"


def _xdg(environ: Mapping[str, str], name: str, default: Path) -> Path:
    value = environ.get(name, "")
    return Path(value) if value.startswith("/") else default
