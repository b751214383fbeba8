# SPDX-License-Identifier: Apache-2.0
"""The kernel's answers about real connections, and about none."""

import os
import socket
from contextlib import ExitStack

import pytest

from cco.api import sockdiag
from cco.api.sockdiag import CONNECTED, ESTABLISHED, Owner, ask, parse


def connected(undo: ExitStack) -> tuple[socket.socket, socket.socket]:
    """Return the ends of a connection: the client's and the server's."""
    listener = undo.enter_context(socket.create_server(("127.0.0.1", 0)))
    client = undo.enter_context(socket.create_connection(listener.getsockname()))
    return client, undo.enter_context(listener.accept()[0])


def test_owner_of_a_connection_is_told() -> None:
    with ExitStack() as undo:
        client, server = connected(undo)
        ends = client.getsockname(), server.getsockname()
        inode = os.fstat(client.fileno()).st_ino
        owner = ask(socket.AF_INET, local=ends[0], remote=ends[1])
        assert owner == Owner(ESTABLISHED, os.getuid(), inode)
        # the other end is another socket
        other = ask(socket.AF_INET, local=ends[1], remote=ends[0])
        assert other.inode == os.fstat(server.fileno()).st_ino


def test_connection_has_an_owner_until_it_is_closed() -> None:
    with ExitStack() as undo:
        client, server = connected(undo)
        ends = client.getsockname(), server.getsockname()
        inode = os.fstat(client.fileno()).st_ino
        client.shutdown(socket.SHUT_WR)
        owner = ask(socket.AF_INET, local=ends[0], remote=ends[1])
        assert owner.state in CONNECTED - {ESTABLISHED}
        assert (owner.uid, owner.inode) == (os.getuid(), inode)
        client.close()
        assert ask(socket.AF_INET, local=ends[0], remote=ends[1]).inode == 0


def test_listener_is_not_taken_for_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        owner = ask(socket.AF_INET, local=listener.getsockname(), remote=("127.0.0.1", 1))
        assert owner.state not in CONNECTED


def test_connection_that_is_none_has_no_owner() -> None:
    with pytest.raises(FileNotFoundError):
        ask(socket.AF_INET, local=("127.0.0.1", 1), remote=("127.0.0.1", 2))


def test_answer_of_another_kind_is_an_error() -> None:
    header = sockdiag._HEADER.pack(16, 3, 0, 1, 0)  # NLMSG_DONE
    with pytest.raises(OSError, match="Success"):
        parse(header + bytes(100))
