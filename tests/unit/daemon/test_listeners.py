# SPDX-License-Identifier: Apache-2.0
"""The daemon's sockets: opened over remains only, handed over under the right numbers."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cco import paths
from cco.config import Server
from cco.daemon.listeners import Listeners, inherited_url, open_all, open_tcp, open_unix
from cco.errors import Unavailable
from tests.capabilities import ROOT

CONFIG = Path("/home/ada/.config/cco")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cco.sock"


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    return paths.locate({"CCO_RUNTIME_DIR": str(tmp_path)}, uid=os.getuid())


def refused(path: Path) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        open_unix(path)
    return caught.value


# The Unix socket.


def test_socket_is_for_its_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        with open_unix(path) as sock, socket.socket(socket.AF_UNIX) as client:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            client.connect(str(path))
            assert sock.getsockname() == str(path)
    finally:
        assert os.umask(before) == 0  # as it was


def test_remains_of_a_dead_daemon_are_removed(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with open_unix(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_socket_of_a_living_daemon_is_left_alone(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(path))
        living.listen()
        error = refused(path)
        living.accept()[0].close()  # it was only asked
    assert (error.code, error.hint) == ("already-running", "See: cco daemon status")
    assert path.is_socket()


def test_socket_of_a_daemon_with_a_full_queue_is_left_alone(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as living, socket.socket(socket.AF_UNIX) as waiting:
        living.bind(str(path))
        living.listen(0)
        waiting.connect(str(path))
        assert refused(path).code == "already-running"


def make_file(path: Path) -> None:
    path.write_text("precious")


def make_link_to_file(path: Path) -> None:
    path.with_name("target").write_text("precious")
    path.symlink_to(path.with_name("target"))


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def make_directory(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    "make", [make_file, make_link_to_file, make_dangling_link, make_directory, make_pipe]
)
def test_what_is_no_socket_is_never_removed(make: Callable[[Path], None], path: Path) -> None:
    make(path)
    before = path.lstat()
    error = refused(path)

    assert error.code == "socket-failed"
    assert str(path) in error.message
    assert error.hint
    assert os.path.samestat(path.lstat(), before)
    assert not path.with_name("nowhere").exists()


def test_directory_that_is_not_there_is_told(path: Path) -> None:
    error = refused(path / "none" / "cco.sock")

    assert error.code == "socket-failed"
    assert "No such file or directory" in error.message


def test_path_that_no_socket_can_have_is_told(tmp_path: Path) -> None:
    error = refused(tmp_path / ("x" * 107))

    assert error.code == "socket-failed"
    assert "path too long" in error.message


# The HTTP listener.


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def test_free_port_is_opened(tmp_path: Path) -> None:
    with open_tcp(Server(port=0), config=CONFIG) as sock:
        host, port = sock.getsockname()
        assert host == "127.0.0.1"
        assert port > 0
        with socket.create_connection((host, port)):
            pass


def test_taken_port_is_told_with_its_owner(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    with pytest.raises(Unavailable) as caught:
        open_tcp(Server(port=port), config=CONFIG)

    name = Path("/proc/self/comm").read_text().strip()
    assert caught.value.code == "port-taken"
    assert caught.value.message == f"port {port} is taken by '{name}' (pid {os.getpid()})"
    other = port + 1 if port < 65535 else port - 1
    assert caught.value.hint == f"Stop it, or set [server] port = {other} in {CONFIG}/cco.toml"


def test_address_that_is_not_ours_is_told() -> None:
    with pytest.raises(Unavailable) as caught:
        open_tcp(Server(host="192.0.2.1", port=0), config=CONFIG)

    assert caught.value.code == "port-failed"
    assert caught.value.message.startswith("192.0.2.1:0 cannot be listened on (")


# Both.


def test_both_are_opened(where: paths.Paths) -> None:
    opened = open_all(where, Server(port=0))
    port = opened.sockets[1].getsockname()[1]
    try:
        assert [sock.family for sock in opened.sockets] == [socket.AF_UNIX, socket.AF_INET]
        assert opened.url == f"http://127.0.0.1:{port}"
    finally:
        opened.close()
    assert [sock.fileno() for sock in opened.sockets] == [-1, -1]


def test_nothing_is_left_where_one_fails(where: paths.Paths, taken: socket.socket) -> None:
    with pytest.raises(Unavailable, match="is taken by"):
        open_all(where, Server(port=taken.getsockname()[1]))

    assert list(where.runtime.iterdir()) == []


@pytest.mark.parametrize(
    ("family", "host", "url"),
    [
        (socket.AF_INET, "127.0.0.1", "http://127.0.0.1:{}"),
        (socket.AF_INET6, "::1", "http://[::1]:{}"),
    ],
)
def test_url_of_the_http_listener(family: int, host: str, url: str, path: Path) -> None:
    with ExitStack() as undo:
        try:
            tcp = undo.enter_context(socket.create_server((host, 0), family=family))
        except OSError:
            pytest.skip("no IPv6 here")
        unix = undo.enter_context(open_unix(path))
        wanted = url.format(tcp.getsockname()[1])
        for order in ((unix, tcp), (tcp, unix)):
            assert Listeners(order).url == wanted
            assert inherited_url([sock.fileno() for sock in order]) == wanted
        assert Listeners((unix,)).url is None
        assert inherited_url([unix.fileno()]) is None
        os.fstat(tcp.fileno())  # inherited descriptors stay open


HAND_OVER = """\
import json, os, socket, sys
from pathlib import Path
from cco import paths
from cco.config import Server
from cco.daemon import listeners
from cco.systemd import inherited_fds
free = int(sys.argv[2])
for number in range(3, 3 + free):  # the numbers are taken by other files, or free
    os.dup2(os.open(os.devnull, os.O_RDONLY), number)
where = paths.locate({"CCO_RUNTIME_DIR": sys.argv[1]}, uid=os.getuid())
opened = listeners.open_all(where, Server(port=0))
had = [sock.fileno() for sock in opened.sockets]
port = opened.sockets[1].getsockname()[1]
told = listeners.hand_over(opened)
opened.close()  # as the daemon does
fds = inherited_fds(told, pid=os.getpid())
found = [socket.socket(fileno=fd) for fd in fds]
print(json.dumps({
    "fds": fds,
    "had": had,
    "families": [int(sock.family) for sock in found],
    "names": [sock.getsockname() for sock in found],
    "inheritable": [os.get_inheritable(fd) for fd in fds],
    "listen": [sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for sock in found],
    "port": port,
    "url": listeners.inherited_url(fds),
}))
"""


@pytest.mark.parametrize("others", [0, 1, 2, 3, 5])
def test_sockets_are_handed_over_under_the_right_numbers(others: int, tmp_path: Path) -> None:
    # Whatever has numbers 3 and 4 in this process: the sockets themselves, or other files.
    done = subprocess.run(
        [sys.executable, "-c", HAND_OVER, str(tmp_path), str(others)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["fds"] == [3, 4]
    if others == 0:
        assert told["had"] == [3, 4]  # the very numbers
    assert told["families"] == [socket.AF_UNIX, socket.AF_INET]
    assert told["names"] == [f"{tmp_path}/cco.sock", ["127.0.0.1", told["port"]]]
    assert told["inheritable"] == [True, True]
    assert told["listen"] == [1, 1]
    assert told["url"] == f"http://127.0.0.1:{told['port']}"
