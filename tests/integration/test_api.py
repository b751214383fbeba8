# SPDX-License-Identifier: Apache-2.0
"""Who may call the API, what it says to those who may not, and the shape of its errors.

Against a real daemon, over its real sockets.
"""

import http.client
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from cco.client import Client
from cco.errors import NotFound
from tests.daemon import (
    Daemon,
    asking,
    call,
    exchange,
    run_as_nobody,
)
from tests.mounting import DEADLINE_S, wait_until

ROUTES: Final = (
    ("GET", "/health"),
    ("GET", "/"),
    ("HEAD", "/"),
    ("GET", "/nowhere"),
    ("GET", "/api/agents"),
    ("GET", "/api/agents/chief-architect"),
    ("GET", "/api/unseal/agents"),
    ("GET", "/api/sessions"),
    ("POST", "/api/sessions"),
    ("DELETE", "/api/sessions/x"),
    ("GET", "/api/project/stats"),
    ("POST", "/api/agent/invoke"),
    ("POST", "/api/hooks/SessionStart"),
    ("POST", "/api/vfs/watch"),
    ("GET", "/api/vfs/file?path=CLAUDE.md"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/messages/count_tokens"),
    ("GET", "/v1/models"),
    ("PUT", "/v1/whatever"),
    ("HEAD", "/s/0123456789abcdef"),
    ("POST", "/s/0123456789abcdef/v1/messages"),
    ("OPTIONS", "/v1/messages"),
)
"""One of each kind, and some that are none."""


def is_for_claude(path: str) -> bool:
    return path.startswith(("/v1/", "/s/"))


def ask(
    served: Daemon, head: str, *, body: bytes = b"", over_unix: bool = False
) -> tuple[int, dict[str, str], bytes]:
    """Send a request as it stands and return the answer, which ends with the connection."""
    if over_unix:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(served.socket))
    else:
        sock = socket.create_connection(("127.0.0.1", served.port), timeout=DEADLINE_S)
    with sock:
        data = head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body
        return parse(exchange(sock, data))


def parse(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = [line.partition(": ") for line in lines]
    return int(first.split()[1]), {name.lower(): value for name, _, value in fields}, body


def assert_error(
    path: str, method: str, answer: tuple[int, dict[str, str], bytes], status: int, code: str
) -> None:
    """It has the shape that the reader of this path understands, and is never a 401."""
    got, headers, body = answer
    assert (got, headers.get("x-cco-error")) == (status, code), answer
    if method == "HEAD":
        return
    told = json.loads(body)
    if is_for_claude(path):
        assert set(told) == {"type", "error", "request_id"}
        assert told["type"] == "error"
        assert set(told["error"]) == {"type", "message"}
        assert told["error"]["type"].endswith("_error")
        assert told["error"]["message"].startswith("CCO: ")
        assert told["request_id"].startswith("cco_")
    else:
        assert set(told) == {"error"}
        assert set(told["error"]) == {"code", "message", "hint"}
        assert told["error"]["code"] == code
        assert not told["error"]["message"].endswith(".")


# Names and pages


@pytest.mark.parametrize("origin", [None, "http://evil.example"])
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_foreign_host_is_refused_before_the_body(
    served: Daemon, method: str, path: str, origin: str | None
) -> None:
    # The body that is announced never comes: whoever waited for it would not answer.
    head = f"{method} {path} HTTP/1.1\nHost: evil.example:{served.port}\nContent-Length: 1000000"
    if origin:
        head += f"\nOrigin: {origin}"
    if method in ("GET", "HEAD"):
        head += "\nConnection: close"
    answer = ask(served, head.replace("\nContent-Length: 1000000", "", method in ("GET", "HEAD")))
    assert_error(path, method, answer, 421, "foreign-host")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:{other}",
        "localhost.evil.example:{port}",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "127.0.0.1:{port}.evil.example",
        "0.0.0.0:{port}",
        "[::]:{port}",
        "[::1]",
        "192.0.2.1:{port}",
        "user@127.0.0.1:{port}",
        "127.0.0.1:{port},evil.example",
        "127.1:{port}",
    ],
)
def test_only_loopback_names_with_our_port_are_ours(served: Daemon, host: str) -> None:
    named = host.format(port=served.port, other=served.port + 1)
    answer = ask(served, f"GET /health HTTP/1.1\nHost: {named}\nConnection: close")
    assert answer[0] in (400, 421)  # 400 is Gunicorn's, for what is no host at all
    assert b"uptimeSeconds" not in answer[2]


def test_no_host_is_none_of_ours(served: Daemon) -> None:
    assert ask(served, "GET /health HTTP/1.0")[0] == 421


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
def test_loopback_names_are_ours(served: Daemon, name: str) -> None:
    head = f"GET /health HTTP/1.1\nHost: {name}:{served.port}\nConnection: close"
    assert ask(served, head)[0] == 200


@pytest.mark.parametrize("over_unix", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize("origin", ["null", "http://127.0.0.1:{port}", "https://evil.example", ""])
@pytest.mark.parametrize(("method", "path"), [ROUTES[0], ROUTES[7], ROUTES[15]])
def test_web_pages_are_refused_whatever_they_are(
    served: Daemon, method: str, path: str, origin: str, over_unix: bool
) -> None:
    port = served.port
    head = f"{method} {path} HTTP/1.1\nHost: 127.0.0.1:{port}\nConnection: close"
    head += f"\nOrigin: {origin.format(port=port)}"
    assert_error(path, method, ask(served, head, over_unix=over_unix), 403, "foreign-origin")


def test_a_preflight_of_a_browser_gets_no_leave(served: Daemon) -> None:
    head = f"OPTIONS /api/sessions HTTP/1.1\nHost: 127.0.0.1:{served.port}\nConnection: close"
    head += "\nOrigin: https://evil.example\nAccess-Control-Request-Method: POST"
    status, headers, _ = ask(served, head)
    assert status == 403
    assert not [name for name in headers if name.startswith("access-control-")]


def test_on_the_unix_socket_the_host_does_not_matter(served: Daemon) -> None:
    head = "GET /health HTTP/1.1\nHost: anything.example\nConnection: close"
    assert ask(served, head, over_unix=True)[0] == 200


def test_a_client_of_ipv6_reaches_an_address_of_ipv4(served: Daemon) -> None:
    port = served.port
    with socket.socket(socket.AF_INET6) as sock:
        sock.connect(("::ffff:127.0.0.1", port))
        head = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        assert parse(exchange(sock, head.encode()))[0] == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/unseal/agents"),
        ("POST", "/api/sessions"),
        ("POST", "/api/vfs/watch"),
        ("POST", "/api/vfs/report"),
        ("GET", "/api/vfs/file?path=CLAUDE.md"),
    ],
)
def test_some_things_are_for_the_unix_socket_only(served: Daemon, method: str, path: str) -> None:
    answer = call(served.port, method, path, body=b"{}" if method == "POST" else None)
    whole = (answer.status, dict(answer.headers), answer.body)
    assert_error(path, method, whole, 403, "unix-socket-only")


# Errors


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "unknown-route"),
        ("GET", "/api/nowhere", 404, "unknown-route"),
        ("GET", "/api", 404, "unknown-route"),
        ("GET", "/api/agents/", 404, "unknown-route"),
        ("GET", "/api/agents/nobody-knows", 404, "unknown-agent"),
        ("POST", "/health", 405, "wrong-method"),
        ("DELETE", "/api/agents", 405, "wrong-method"),
        ("GET", "/api/agent/invoke", 405, "wrong-method"),
        ("PROPFIND", "/v1/messages", 405, "wrong-method"),
        ("GET", "/s/x/elsewhere", 404, "unknown-route"),
        ("DELETE", "/api/sessions/0123456789abcdef", 404, "unknown-session"),
        ("POST", "/s/0123456789abcdef/v1/messages", 400, "unknown-session"),
        ("GET", "/s/0123456789abcdef/v1/models", 400, "unknown-session"),
        ("POST", "/s//v1/messages", 404, "unknown-route"),
        ("GET", "/s/..%2f..%2fv1/v1/models", 404, "unknown-route"),
        ("GET", "/v1", 404, "unknown-route"),
        ("GET", "/api/project/stats?since=yesterday", 400, "bad-time"),
    ],
)
def test_errors_have_one_shape(
    served: Daemon, method: str, path: str, status: int, code: str
) -> None:
    answer = call(served.port, method, path)
    assert_error(path, method, (answer.status, dict(answer.headers), answer.body), status, code)


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/api/agent/invoke", b"{", "bad-json"),
        ("/api/agent/invoke", b"\xff", "bad-json"),
        ("/api/agent/invoke", b"[]", "bad-json"),
        ("/api/agent/invoke", b"[" * 100_000, "bad-json"),
        ("/api/agent/invoke", b"{}", "missing-member"),
        ("/api/agent/invoke", b'{"agent": 1, "task": "x"}', "bad-member"),
        ("/api/agent/invoke", b'{"agent": "chief-architect"}', "missing-member"),
        ("/api/sessions", b'{"pid": "1"}', "bad-member"),
        ("/api/sessions", b'{"pid": 0, "cwd": "/", "project": "/"}', "no-such-process"),
        ("/api/sessions", b'{"pid": 1e99, "cwd": "/", "project": "/"}', "bad-member"),
        ("/api/sessions", b'{"pid": %d, "cwd": "/", "project": "/"}' % 10**30, "no-such-process"),
        ("/api/sessions", b'{"pid": true, "cwd": "/", "project": "/"}', "bad-member"),
        ("/api/vfs/watch", b"{}", "missing-member"),
        ("/api/hooks/SubagentStart", b"nonsense", "bad-json"),
    ],
)
def test_bodies_that_cannot_be_used_are_told(
    served: Daemon, path: str, body: bytes, code: str
) -> None:
    reply = served.client.request("POST", path, body=body)
    whole = (reply.status, dict(reply.headers), reply.body)
    assert_error(path, "POST", whole, 400, code)


def test_a_body_without_end_is_refused(served: Daemon) -> None:
    size = 64 * 1024 * 1024 + 1
    head = f"POST /api/hooks/Stop HTTP/1.1\nHost: x\nConnection: close\nContent-Length: {size}"
    answer = ask(served, head, body=b" " * size, over_unix=True)
    assert_error("/api/hooks/Stop", "POST", answer, 413, "body-too-large")


def test_one_connection_serves_many_requests(served: Daemon) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=DEADLINE_S)
    for path, status in [("/health", 200), ("/nowhere", 404), ("/api/agents", 200)] * 2:
        connection.request("GET", path)
        response = connection.getresponse()
        assert (response.status, bool(response.read())) == (status, True)
    # A body that nobody wanted is out of the way too.
    connection.request("POST", "/s/0123456789abcdef/v1/messages", b"x" * 100_000)
    response = connection.getresponse()
    assert (response.status, bool(response.read())) == (400, True)
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    connection.close()


# Agents and sessions


def test_agents_are_found_by_name_and_slug(served: Daemon) -> None:
    agents = served.client.call("GET", "/api/agents")["agents"]
    assert len(agents) == json.loads((served.mount / ".manifest").read_text())["agentCount"]
    assert all("instructions" not in one for one in agents)
    one = served.client.call("GET", "/api/agents/chief-architect")
    assert one == served.client.call("GET", "/api/agents/Chief%20Architect")
    assert one["instructions"]
    with pytest.raises(NotFound) as caught:
        served.client.call("GET", "/api/agents/cheif-architect")
    assert "chief-architect" in str(caught.value.hint).lower().replace(" ", "-")


def test_what_is_unsealed_is_what_is_sealed(served: Daemon) -> None:
    documents = {
        name: served.client.call("GET", f"/api/unseal/{name}")
        for name in ("agents", "orchestrator", "hooks")
    }
    agents = {one["slug"]: one for rows in documents["agents"].values() for one in rows}
    assert "chief-architect" in agents
    assert set(documents["orchestrator"]["rules"]) == {"taskRouting", "coordination"}
    sealed = (served.mount / "agents.sealed").read_bytes()
    assert agents["chief-architect"]["instructions"][:40].encode() not in sealed
    with pytest.raises(NotFound):
        served.client.call("GET", "/api/unseal/.manifest")


def test_a_session_lives_as_long_as_its_process(served: Daemon) -> None:
    one, other = served.launch(), served.launch()
    assert one.token != other.token
    listed = served.client.call("GET", "/api/sessions")
    assert {one.id, other.id} <= {session["id"] for session in listed["sessions"]}
    assert one.token not in json.dumps(listed)

    def status(session_id: str) -> int:
        return call(served.port, "GET", f"/s/{session_id}/v1/models").status

    assert (status(one.id), status(other.id)) == (200, 200)
    served.client.call("DELETE", f"/api/sessions/{one.id}")
    assert (status(one.id), status(other.id)) == (400, 200)
    assert served.read_inside("CLAUDE.md", one.token).returncode == 1
    assert served.read_inside("CLAUDE.md", other.token).returncode == 0
    other.process.kill()
    other.process.wait()
    assert status(other.id) == 400
    assert served.read_inside("CLAUDE.md", other.token).returncode == 1
    ids = {session["id"] for session in served.client.call("GET", "/api/sessions")["sessions"]}
    assert not ids & {one.id, other.id}


def test_statistics_have_their_shape(served: Daemon) -> None:
    session = served.launch()
    headers = {"x-claude-code-session-id": "client-session"}
    target = f"/s/{session.id}/v1/messages"
    assert call(served.port, "POST", target, body=asking("x"), headers=headers).status == 200
    mine = Client(served.socket, timeout_s=DEADLINE_S, token=session.token)
    told = mine.call("GET", "/api/project/stats")
    assert told["project"] == str(served.home)
    assert set(told["cost"]) == {"totalUsd", "savedUsd"}
    assert told["requests"]["total"] >= 1
    tokens = dict(told["tokens"])
    assert tokens.pop("total") == sum(tokens.values()) > 0
    assert "client-session" in [row["session"] for row in told["bySession"]]
    shape = {"costUsd", "savedUsd", "requests", "errors", "tokens"}
    for by in ("Model", "Agent", "Session", "Day"):
        assert all(set(row) == shape | {by.lower()} for row in told[f"by{by}"])


# Other users, and nobody


def test_another_user_gets_nothing(cco: Daemon) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    cco.base.chmod(0o755)
    cco.runtime.mkdir()
    cco.runtime.chmod(0o755)
    cco.start()
    port, session = cco.port, cco.launch()
    token = {"CCO_SESSION": session.token}

    # The mount and the socket are closed by their modes.
    for command in ("ls", "cat", "stat"):
        done = run_as_nobody([command, cco.mount / "health"], **token)
        assert (done.returncode != 0, "Permission denied" in done.stderr) == (True, True)
    script = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    done = run_as_nobody([sys.executable, "-I", "-c", script, cco.socket])
    assert "PermissionError" in done.stderr

    # And were they open, and the port is, the uid would still be another one.
    cco.socket.chmod(0o666)
    script = """
import http.client, socket, sys
path, port = sys.argv[1], int(sys.argv[2])
for method, target in [line.split() for line in sys.argv[3:]]:
    for family in (socket.AF_UNIX, socket.AF_INET):
        sock = socket.socket(family)
        sock.connect(path if family == socket.AF_UNIX else ("127.0.0.1", port))
        head = f"{method} {target} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\n"
        sock.sendall(head.encode() + b"Connection: close\\r\\n\\r\\n")
        response = http.client.HTTPResponse(sock, method=method)
        response.begin()
        print(response.status, response.getheader("x-cco-error"))
"""
    targets = [f"{method} {path}" for method, path in ROUTES]
    targets.append(f"GET /s/{session.id}/v1/models")
    done = run_as_nobody([sys.executable, "-I", "-c", script, cco.socket, str(port), *targets])
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["403 foreign-user"] * 2 * len(targets)


@contextmanager
def suspended(served: Daemon) -> Iterator[None]:
    """Keep the worker from looking at what is sent meanwhile."""
    worker = served.worker
    worker.suspend()
    try:
        yield
    finally:
        worker.resume()


def open_ends(port: int) -> list[str]:
    """Return the daemon's ends of connections whose clients have closed theirs."""
    close_wait, wanted = "08", f":{port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [one[2] for one in lines if one[1].endswith(wanted) and one[3] == close_wait]


@pytest.mark.parametrize("ending", ["stays", "closes", "half-closes", "dies"])
def test_whoever_cannot_be_told_any_more_gets_nothing_done(served: Daemon, ending: str) -> None:
    session, port = served.launch(), served.port
    request = (
        f"DELETE /api/sessions/{session.id} HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    ).encode()
    answer = b""
    with suspended(served):
        sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
        if ending == "dies":
            child = os.fork()
            if child == 0:
                os.write(sock.fileno(), request)
                os.kill(os.getpid(), signal.SIGKILL)
            sock.close()
            os.waitpid(child, 0)
        else:
            sock.sendall(request)
        if ending == "closes":
            sock.close()
        elif ending == "half-closes":
            sock.shutdown(socket.SHUT_WR)
    if ending in ("stays", "half-closes"):
        with sock:
            answer = exchange(sock, b"")
    wait_until(lambda: not open_ends(port), "the daemon is done with it")

    live = {one["id"] for one in served.client.call("GET", "/api/sessions")["sessions"]}
    if ending in ("stays", "half-closes"):  # who has said all is still there
        assert (parse(answer)[0], session.id in live) == (204, False)
    else:
        assert session.id in live
        assert answer == b"" or parse(answer)[0] == 403


def test_the_owner_of_a_connection_is_looked_up_for_each(served: Daemon) -> None:
    # Two at once from the same address: it is the port that tells them apart. They wait to be
    # accepted, which is when it is asked whose they are.
    session, port = served.launch(), served.port
    rest = f" HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    with ExitStack() as undo:
        with suspended(served):
            good, gone = (
                undo.enter_context(socket.create_connection(("127.0.0.1", port), DEADLINE_S))
                for _ in range(2)
            )
            gone.sendall(f"DELETE /api/sessions/{session.id}{rest}".encode())
            gone.close()
            good.sendall(f"GET /api/sessions{rest}".encode())
        assert parse(exchange(good, b""))[0] == 200
    wait_until(lambda: not open_ends(port), "the daemon is done with both")
    live = served.client.call("GET", "/api/sessions")["sessions"]
    assert session.id in {one["id"] for one in live}
