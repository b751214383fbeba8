# SPDX-License-Identifier: Apache-2.0
"""Two users on one machine: bob and root get nothing of alice's CCO, and bob has his own."""

import json
from collections.abc import Iterator
from typing import Final

import pytest

from cco import units
from tests.machine.installed import Login, Session, equipped, login
from tests.machine.machine import Machine

STRANGERS: Final = ("bob", "root")

LETTING_GO: Final = """
import os, signal, socket, sys
worker, request, how = int(sys.argv[1]), sys.argv[2], sys.argv[3]
os.kill(worker, signal.SIGSTOP)
try:
    sock = socket.create_connection(("127.0.0.1", 3000))
    sock.sendall(request.encode())
    sock.shutdown(socket.SHUT_WR) if how == "half" else sock.close()
finally:
    os.kill(worker, signal.SIGCONT)
if how == "half":
    print(sock.recv(65536).decode())
"""
"""Sends a request and lets go of the connection, half or all, before the daemon has looked."""

HOLDING: Final = """
import os, socket, sys
from urllib.error import HTTPError
from urllib.request import urlopen
bob, alice, count = 1001, 1000, int(sys.argv[1])
ready, begun = os.pipe()
over, going_on = os.pipe()
if os.fork() == 0:
    os.close(going_on)
    os.setresuid(bob, bob, bob)
    held = [socket.create_connection(("127.0.0.1", 3000)) for _ in range(count)]
    for sock in held[::2]:
        try:
            sock.sendall(b"GET /health HTTP/1.1\\r\\nHo")
        except ConnectionError:
            pass  # it had to make room
    try:
        urlopen("http://localhost:3000/health", timeout=60)
    except HTTPError as error:
        print(error.code, flush=True)
    os.write(begun, b"x")
    os.read(over, 1)
    os._exit(0)
os.read(ready, 1)
os.setresuid(alice, alice, alice)
print(*(urlopen("http://localhost:3000/health", timeout=60).status for _ in range(20)))
"""
"""Holds connections as bob, with nothing or half a head sent, asks as bob, then as alice."""

ASKING: Final = """
import socket
from cco.api import sockdiag
with socket.create_connection(("127.0.0.1", 3000)) as sock:
    print(sockdiag.ask(socket.AF_INET, local=sock.getsockname(), remote=sock.getpeername()).uid)
"""
"""Asks the kernel whose a connection is."""


@pytest.fixture(scope="module")
def alice(machine: Machine) -> Iterator[Login]:
    """Run alice's CCO for all tests of this file: none changes it."""
    with equipped(machine), login(machine, "alice") as alice:
        alice.start()
        yield alice


@pytest.fixture(scope="module")
def session(alice: Login) -> Session:
    return alice.launch()


@pytest.fixture
def bob(machine: Machine, alice: Login) -> Iterator[Login]:
    """Log bob in, whose port is taken by alice."""
    machine.run("systemctl start user@1001.service", user="root", check=True)
    with login(machine, "bob") as bob:
        yield bob
    machine.run(
        "systemctl stop user@1001.service user-runtime-dir@1001.service", user="root", check=True
    )


# Strangers


def test_bob_cannot_connect_to_the_socket(machine: Machine, alice: Login) -> None:
    done = machine.run(["curl", "--unix-socket", alice.socket, "http://localhost/"], user="bob")
    assert (done.returncode, "Permission denied" in done.stderr) == (7, False)


def test_root_connects_to_the_socket_and_is_refused(machine: Machine, alice: Login) -> None:
    for path in ("/health", "/api/agents", "/api/unseal/agents", "/v1/models", "/"):
        url = f"http://localhost{path}"
        done = machine.run(["curl", "-s", "-i", "--unix-socket", alice.socket, url], user="root")
        assert done.stdout.startswith("HTTP/1.1 403 "), path


@pytest.mark.parametrize("stranger", STRANGERS)
def test_port_refuses_strangers_on_every_route(
    machine: Machine, session: Session, stranger: str
) -> None:
    origin = session.base_url.partition("/s/")[0]
    urls = [f"{origin}/health", f"{origin}/v1/models", f"{origin}/nowhere", f"{origin}/"]
    urls += [f"{session.base_url}/v1/models", session.base_url]
    targets = [word for url in urls for word in ("--output", "/dev/null", url)]
    for given in ([], ["--header", f"x-cco-session: {session.token}"], ["--data", "{}"]):
        command = ["curl", "--silent", "--write-out", r"%{http_code}\n", *given, *targets]
        assert machine.run(command, user=stranger).stdout == "403\n" * len(urls)


def test_kernel_can_be_asked_inside_the_sandbox(alice: Login) -> None:
    # The daemon would read the table of all connections otherwise, and that takes its time.
    kept = ("PrivateUsers", "RestrictAddressFamilies", "SystemCallFilter", "NoNewPrivileges")
    shown = alice.systemctl(f"show cco --property={','.join(kept)}").split("\n")
    properties = [word for line in shown if line for word in ("--property", line)]
    command = ["systemd-run", "--user", "--pipe", "--wait", "--quiet", *properties]
    assert alice.run([*command, "/usr/bin/python3", "-c", ASKING], check=True).stdout == "1000\n"
    alice.systemctl("stop dbus.service")  # which systemd-run has started


def test_connections_that_bob_holds_keep_nobody_out(machine: Machine, alice: Login) -> None:
    # Twice as many as there are threads.
    done = machine.run(["/usr/bin/python3", "-c", HOLDING, "600"], user="root", check=True)
    assert done.stdout.split() == ["403", *["200"] * 20]
    told = json.loads(alice.fetch("/api/machine/stats")[1])
    assert told["daemon"]["threads"] < 100


@pytest.mark.parametrize("stranger", STRANGERS)
def test_mount_refuses_strangers(
    machine: Machine, alice: Login, session: Session, stranger: str
) -> None:
    token = {"CCO_SESSION": session.token}
    for command in (
        f"ls {alice.mount}",
        f"cat {alice.mount}/health",
        f"cat {alice.mount}/agents.sealed",
        f"cat {alice.mount}/CLAUDE.md",
        f"stat {alice.mount}/plugin",
    ):
        done = machine.run(command, user=stranger, environment=token)
        assert done.returncode != 0
        assert "Permission denied" in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize("stranger", STRANGERS)
def test_token_does_not_make_a_stranger_a_member(
    machine: Machine, alice: Login, session: Session, stranger: str
) -> None:
    token = f"x-cco-session: {session.token}"
    ask = ["curl", "-s", "-w", "%{http_code}", "-H", token, "--unix-socket", str(alice.socket)]
    done = machine.run(
        [*ask, "-o", "/dev/null", "http://localhost/api/unseal/agents"], user=stranger
    )
    assert done.stdout == {"root": "403", "bob": "000"}[stranger]  # bob cannot even connect


# Alice's own


def test_own_process_outside_a_session_sees_ciphertext_only(alice: Login) -> None:
    assert alice.read("health").stdout == "OK\n"
    for name in ("plugin/.claude-plugin/plugin.json", "CLAUDE.md", "plugin/hooks/hooks.json"):
        for token in ("", "not-a-token"):
            refused = alice.read(name, token=token)
            assert "Permission denied" in refused.stderr
            assert refused.stdout == ""


def test_own_process_inside_a_session_reads_the_plugin(alice: Login, session: Session) -> None:
    plugin = json.loads(alice.read("plugin/.claude-plugin/plugin.json", token=session.token).stdout)
    assert plugin["name"] == "cco"
    assert alice.read("CLAUDE.md", token=session.token).stdout


def test_token_of_a_session_that_has_ended_opens_nothing(alice: Login) -> None:
    register = (
        f"curl -s --unix-socket {alice.socket} http://localhost/api/sessions"
        """ -d '{"pid": '$$', "cwd": "/", "project": "/"}'"""
    )
    token = json.loads(alice.run(register, check=True).stdout)["token"]  # of the shell, now gone
    assert "Permission denied" in alice.read("CLAUDE.md", token=token).stderr


@pytest.mark.parametrize(("user", "status"), [("alice", 200), ("root", 403)])
def test_connection_that_its_owner_has_half_closed_is_still_theirs(
    machine: Machine, alice: Login, user: str, status: int
) -> None:
    request = "GET /health HTTP/1.1\r\nHost: localhost:3000\r\nConnection: close\r\n\r\n"
    words = ["/usr/bin/python3", "-c", LETTING_GO, str(alice.worker_pid()), request, "half"]
    answer = machine.run(words, user=user, check=True).stdout
    assert answer.startswith(f"HTTP/1.1 {status} ")


def test_connection_whose_owner_cannot_be_told_is_refused(alice: Login, session: Session) -> None:
    request = f"DELETE /api/sessions/{session.id} HTTP/1.1\r\nHost: localhost:3000\r\n\r\n"
    words = ["/usr/bin/python3", "-c", LETTING_GO, str(alice.worker_pid()), request, "all"]
    alice.run(words, check=True)
    for _ in range(3):  # what came before them has been dealt with
        listed = json.loads(alice.fetch("http://localhost:3000/api/sessions")[1])["sessions"]
        assert [one["id"] for one in listed] == [session.id]


# Bob's own


def test_bob_has_a_socket_of_his_own_while_the_port_is_taken(alice: Login, bob: Login) -> None:
    bob.expected.append("Address already in use|cco-http.socket|CCO HTTP socket")
    assert bob.cco("daemon start").returncode == 0
    assert bob.states() == ("active", "active", "active", "failed")
    assert bob.fetch("/api/agents")[0] == 200
    assert bob.read("health").stdout == "OK\n"

    status = bob.cco("daemon status")
    assert status.returncode == 1
    assert "there is no HTTP listener" in status.stdout
    assert "systemctl --user edit cco-http.socket" in status.stdout

    launch = bob.cco("run -- hello")
    assert launch.returncode == 69
    first = launch.stderr.splitlines()[0]
    assert first.startswith("cco: the daemon has no HTTP listener for Claude Code (port 3000: ")
    assert "uid 1000" in first  # whose program it is; of another user that is all one may see
    assert "systemctl --user edit cco-http.socket" in launch.stderr
    assert alice.health()["status"] == "ok"

    bob.run(
        "mkdir -p ~/.config/systemd/user/cco-http.socket.d && cd $_ &&"
        r" printf '[Socket]\nListenStream=\nListenStream=127.0.0.1:3001\n' >port.conf &&"
        " systemctl --user daemon-reload",
        check=True,
    )
    assert bob.cco("daemon restart").returncode == 0
    assert bob.states() == ("active", "active", "active", "active")
    assert bob.cco("daemon status").returncode == 0
    theirs = bob.launch()
    assert theirs.environment["ORCHESTRATOR_API_URL"] == "http://localhost:3001"
    assert bob.read("CLAUDE.md", token=theirs.token).returncode == 0
    assert bob.fetch("http://localhost:3001/health")[0] == 200
    assert bob.fetch("http://localhost:3000/health")[0] == 403
    assert alice.fetch("http://localhost:3001/health")[0] == 403
    assert alice.fetch(f"{theirs.base_url}/v1/models")[0] == 403


def test_stop_of_a_daemon_without_port_leaves_nothing_failed(bob: Login) -> None:
    bob.expected.append("Address already in use|cco-http.socket|CCO HTTP socket")
    bob.cco("daemon start")
    assert bob.cco("daemon stop").stdout == "stopped\n"
    assert bob.states() == ("inactive",) * len(units.ALL)
    assert bob.cco("daemon status").returncode == 3


def test_enabled_daemon_starts_when_its_user_logs_in(machine: Machine, bob: Login) -> None:
    bob.expected.append("Address already in use|cco-http.socket|CCO HTTP socket")
    enabled = bob.cco("daemon enable").stdout.splitlines()
    assert enabled[0].startswith("CCO starts when you log in")
    assert enabled[1].endswith("sudo loginctl enable-linger bob")
    assert bob.states() == ("inactive",) * len(units.ALL)
    machine.run("systemctl restart user@1001.service", user="root", check=True)  # out and in
    running = ("active", "active", "active", "failed")
    machine.wait(lambda: bob.states() == running, "bob's CCO")
    assert bob.read("health").stdout == "OK\n"


def test_logout_takes_all_of_it_down(machine: Machine, bob: Login) -> None:
    bob.expected.append("Address already in use|cco-http.socket|CCO HTTP socket")
    bob.cco("daemon start")
    machine.run(
        "systemctl stop user@1001.service user-runtime-dir@1001.service", user="root", check=True
    )
    left = f"ls -d {bob.runtime}/cco*; grep {bob.runtime}/cco /proc/self/mountinfo; pgrep --uid bob"
    machine.wait(lambda: machine.run(left, user="root").stdout == "", "nothing of bob's")
