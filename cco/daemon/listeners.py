# SPDX-License-Identifier: Apache-2.0
"""The daemon's two sockets: inherited from the service manager, or opened here.

`cco daemon run` opens them and passes them on as systemd would, so a restarted daemon finds the
same ones and nobody is refused meanwhile.
"""

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cco.config import Server
from cco.errors import Unavailable
from cco.paths import Paths
from cco.ports import owner
from cco.systemd import FIRST_FD

BACKLOG: Final = 1024


@dataclass(frozen=True, slots=True)
class Listeners:
    """The sockets that the daemon serves; the Unix one comes first."""

    sockets: tuple[socket.socket, ...]

    @property
    def url(self) -> str | None:
        """Base URL of the HTTP listener, None where only the Unix socket is served."""
        for sock in self.sockets:
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                host, port = sock.getsockname()[:2]
                return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return None

    def close(self) -> None:
        """Close this process's copies."""
        for sock in self.sockets:
            sock.close()


def inherited_url(fds: Sequence[int]) -> str | None:
    """Return the base URL of the HTTP listener among inherited descriptors, which stay open."""
    passed = Listeners(tuple(socket.socket(fileno=fd) for fd in fds))
    try:
        return passed.url
    finally:
        for sock in passed.sockets:
            sock.detach()


def hand_over(listeners: Listeners) -> dict[str, str]:
    """Put the sockets where `sd_listen_fds(3)` finds them in this process; return what to export.

    Gunicorn, and a program that this process becomes, then treat them as systemd's own. What was
    open under their numbers is closed, `listeners` too.
    """
    first = FIRST_FD + len(listeners.sockets)
    copies = [fcntl.fcntl(sock, fcntl.F_DUPFD, first) for sock in listeners.sockets]
    listeners.close()  # now: it may have the very numbers
    for number, copy in enumerate(copies, start=FIRST_FD):
        os.dup2(copy, number)
        os.close(copy)
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(copies))}


def open_all(paths: Paths, server: Server) -> Listeners:
    """Open both sockets; what was opened is closed again if the other fails.

    Raises:
        Unavailable: another daemon serves the Unix socket, or somebody else has the port.
    """
    unix = open_unix(paths.socket)
    try:
        return Listeners((unix, open_tcp(server, config=paths.config)))
    except BaseException:
        unix.close()
        paths.socket.unlink(missing_ok=True)
        raise


def open_unix(path: Path) -> socket.socket:
    """Open the Unix socket, mode 0600, over the remains of a dead daemon's if there are any.

    Raises:
        Unavailable: a live daemon serves it, or it cannot be made.
    """
    _remove_dead(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        raise Unavailable(
            "socket-failed",
            f"the socket {path} cannot be made ({exc.strerror or exc})",
            hint=f"Look at the directory: ls -ld {path.parent}",
        ) from exc
    finally:
        os.umask(before)
    return sock


def _remove_dead(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.settimeout(2.0)
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError as exc:
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink(missing_ok=True)
                return
            raise Unavailable(
                "socket-failed",
                f"{path} is in the way of the socket",
                hint=f"Move it away: mv {path} {path}.old",
            ) from exc
        except BlockingIOError:
            pass  # it lives, and has more to do than it can take
        except OSError as exc:
            raise Unavailable(
                "socket-failed",
                f"the socket {path} cannot be used ({exc.strerror or exc})",
                hint=f"Look at it: ls -l {path}",
            ) from exc
    raise Unavailable(
        "already-running",
        f"another CCO daemon serves {path}",
        hint="See: cco daemon status",
    )


def open_tcp(server: Server, *, config: Path) -> socket.socket:
    """Open the HTTP listener.

    Raises:
        Unavailable: the port is taken; names who has it, as far as this user may know.
    """
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((server.host, server.port))
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        if exc.errno != errno.EADDRINUSE:
            raise Unavailable(
                "port-failed",
                f"{server.host}:{server.port} cannot be listened on ({exc.strerror})",
                hint=f"Set another [server] host or port in {config}/cco.toml",
            ) from exc
        other = server.port + 1 if server.port < 65535 else server.port - 1
        raise Unavailable(
            "port-taken",
            f"port {server.port} is taken by {owner(server.port)}",
            hint=f"Stop it, or set [server] port = {other} in {config}/cco.toml",
        ) from exc
    return sock
