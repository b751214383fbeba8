# SPDX-License-Identifier: Apache-2.0
"""Who may call: processes of the daemon's own uid, under a loopback name, from no web page.

A Unix peer is known by ``SO_PEERCRED``. Of a TCP connection both ends are on this machine, so when
it is accepted the kernel is asked for the peer's socket, see `sockdiag`; where that is not allowed
its table of connections has it, ``/proc/net/tcp`` (or ``tcp6``). Only a connection's entry with an
inode counts: a socket that its owner has closed is shown as uid 0. What cannot be told is refused.

    sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
     0: 0100007F:0BB8 0100007F:D3A2 01 ...                                     1000        0 12345
"""

import re
import socket
import struct
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias

from cco.api import sockdiag
from cco.errors import Denied, RequestError

PEERCRED: Final = struct.Struct("3i")
_LOOPBACK_V4: Final = re.compile(r"127(\.(0|[1-9][0-9]{0,2})){3}")
TABLES: Final[dict[int, Path]] = {
    socket.AF_INET: Path("/proc/net/tcp"),
    socket.AF_INET6: Path("/proc/net/tcp6"),
}
MAPPED: Final = "::ffff:"

Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""Host, port, and of IPv6 more, as `socket` has it."""


class Guard:
    """Decides about callers.

    Args:
        uid: the only one that may call.
    """

    def __init__(self, *, uid: int) -> None:
        self._uid = uid
        self._ours: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def is_ours(self, connection: socket.socket) -> bool:
        """Say whether a connection is from our uid; of one that is, that is looked up once."""
        if connection in self._ours:
            return True
        is_unix = connection.family == socket.AF_UNIX
        uid = unix_uid(connection) if is_unix else tcp_uid(connection)
        if uid != self._uid:
            return False
        self._ours.add(connection)
        return True

    def check(self, connection: socket.socket, *, host: str, has_origin: bool) -> None:
        """Admit a request, or say why not; its body need not have been read.

        Raises:
            RequestError: its ``Host`` is not a loopback name with our port (TCP only).
            Denied: it comes from a web page, or from another uid.
        """
        is_unix = connection.family == socket.AF_UNIX
        if not is_unix and not is_our_name(host, port=connection.getsockname()[1]):
            raise RequestError(
                "foreign-host",
                "this request names a host that CCO does not serve",
                hint="Use the address that 'cco daemon status' shows",
            )
        if has_origin:
            raise Denied(
                "foreign-origin", "web pages may not call CCO", hint="Call it by a program"
            )
        if not self.is_ours(connection):
            raise Denied(
                "foreign-user",
                "only the user who runs this CCO may call it",
                hint="Start your own: cco daemon start",
            )


def is_our_name(host: str, *, port: int) -> bool:
    """Say whether a ``Host`` header is a loopback name, or any loopback address, with our port."""
    name, _, given = host.lower().rpartition(":")
    if given != str(port):
        return False
    return name in ("localhost", "[::1]") or _LOOPBACK_V4.fullmatch(name) is not None


def unix_uid(connection: socket.socket) -> int:
    """Return the uid of a Unix socket's peer, as of when it connected."""
    size = PEERCRED.size
    _pid, uid, _gid = PEERCRED.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    return int(uid)


def tcp_uid(connection: socket.socket) -> int | None:
    """Return the uid of a loopback TCP peer; None if it can no longer be told."""
    try:
        peer, ours = connection.getpeername(), connection.getsockname()
    except OSError:
        return None
    try:
        owner = sockdiag.ask(connection.family, local=peer[:2], remote=ours[:2])
    except OSError:  # not there in each container, and not allowed in each sandbox
        return table_uid(connection.family, peer, ours)
    return owner.uid if owner.state in sockdiag.CONNECTED and owner.inode else None


def table_uid(family: int, peer: Address, ours: Address) -> int | None:
    """Return the uid of a loopback TCP peer by the kernel's table of connections."""
    for kind, local, remote in views(family, peer, ours):
        try:
            with TABLES[kind].open(encoding="ascii") as table:
                uid = find_uid(table, local=local, remote=remote, family=kind)
        except OSError:  # there is no tcp6 where IPv6 is off
            continue
        if uid is not None:
            return uid
    return None


def views(family: int, peer: Address, ours: Address) -> list[tuple[int, Address, Address]]:
    """Return how both ends of a connection may stand in the kernel's tables.

    A client may have reached an IPv4 address through an IPv6 socket; it then stands in ``tcp6``,
    with mapped addresses, and the other way round.
    """
    found = [(family, peer, ours)]
    if family == socket.AF_INET:
        mapped = [(f"{MAPPED}{end[0]}", end[1]) for end in (peer, ours)]
        found.append((socket.AF_INET6, mapped[0], mapped[1]))
    elif peer[0].startswith(MAPPED) and ours[0].startswith(MAPPED):
        plain = [(end[0].removeprefix(MAPPED), end[1]) for end in (peer, ours)]
        found.append((socket.AF_INET, plain[0], plain[1]))
    return found


def find_uid(table: Iterable[str], *, local: Address, remote: Address, family: int) -> int | None:
    """Return the uid of the connection from `local` to `remote` in a kernel table."""
    wanted = f"{encode_address(local, family=family)} {encode_address(remote, family=family)} "
    for line in table:
        if wanted not in line:
            continue
        columns = line.split()
        if int(columns[3], 16) in sockdiag.CONNECTED and columns[9] != "0":
            return int(columns[7])
    return None


def encode_address(address: Address, *, family: int) -> str:
    """Return an address as the kernel's table prints it: words in the machine's order, in hex."""
    packed = socket.inet_pton(family, address[0])
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{address[1]:04X}"
