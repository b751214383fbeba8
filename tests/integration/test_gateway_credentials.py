# SPDX-License-Identifier: Apache-2.0
"""Keys and upstreams as a user sets them, in a daemon: read, replaced, missing, exposed, out."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from cco.gateway.breaker import FAILURES
from tests.daemon import KEY, Answer, Daemon, asking, call, fake_claude
from tests.mounting import wait_until
from tests.rawserver import RawServer, always, reply, serving

ANSWER: Final = b'{"type":"message","usage":{"input_tokens":1,"output_tokens":1}}'
PLANTED: Final = "sk-ant-api03-planted-"
OK: Final = always(reply("200 OK", "Content-Type: application/json", body=ANSWER))


@pytest.fixture
def server() -> Iterator[RawServer]:
    with serving(OK) as made:
        yield made


@contextmanager
def nobody() -> Iterator[str]:
    """Give the URL of a port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def write(path: Path, key: str, *, mode: int = 0o600) -> None:
    path.write_text(f"{key}\n")
    path.chmod(mode)


def upstream(name: str, url: str, **more: Any) -> str:
    """Return a table of the settings."""
    lines = [f'name = "{name}"', f'base_url = "{url}"']
    lines += [f'{key} = "{v}"' if isinstance(v, str) else f"{key} = {v}" for key, v in more.items()]
    return "\n".join(["", "[[upstream]]", *lines, ""])


def configure(cco: Daemon, *tables: str) -> None:
    cco.settings.write_text("[server]\nport = 0\n" + "".join(tables))


def ask(cco: Daemon, session: str = "s") -> Answer:
    told = {"x-claude-code-session-id": session}
    return call(cco.port, "POST", "/v1/messages", body=asking("hi"), headers=told)


def warnings(cco: Daemon) -> dict[str, str]:
    return {one["code"]: one["message"] for one in cco.health()["warnings"]}


def keys(server: RawServer) -> list[str]:
    """Return the keys that have arrived, one for each request."""
    return [key for one in server.received for key in one.values("x-api-key")]


def reload(cco: Daemon) -> None:
    done = cco.run("daemon", "reload")
    assert done.returncode == 0, done.stderr


def test_a_key_from_a_file_stands_in_for_the_clients_own(cco: Daemon, server: RawServer) -> None:
    path = cco.base / "key"
    write(path, f"{PLANTED}1")
    configure(cco, upstream("up", server.url, credential=str(path)))
    cco.start()
    assert ask(cco).status == 200

    write(path, f"{PLANTED}2")
    assert ask(cco).status == 200
    assert keys(server) == [f"{PLANTED}1"] * 2  # it is read when settings are
    reload(cco)
    wait_until(
        lambda: ask(cco).status == 200 and keys(server)[-1] == f"{PLANTED}2", "the new key is used"
    )

    write(path, f"{PLANTED}3", mode=0o644)
    reload(cco)
    wait_until(lambda: "reload-failed" in warnings(cco), "the daemon refuses an exposed key")
    told = f"the credential {path} of the upstream up is open to others"
    assert told in warnings(cco)["reload-failed"]
    assert ask(cco).status == 200
    assert keys(server)[-1] == f"{PLANTED}2"
    assert KEY not in keys(server)
    assert PLANTED not in cco.log() + str(cco.health()) + cco.run("config", "show").stdout


def test_a_key_that_others_can_read_keeps_the_daemon_from_starting(
    cco: Daemon, server: RawServer
) -> None:
    path = cco.base / "key"
    write(path, f"{PLANTED}1", mode=0o640)
    configure(cco, upstream("up", server.url, credential=str(path)))
    done = cco.run("daemon", "start")
    assert done.returncode != 0
    assert "is open to others" in done.stderr + cco.log()


def test_a_missing_key_is_a_warning_and_the_clients_own_goes_nowhere(
    cco: Daemon, server: RawServer
) -> None:
    path = cco.base / "key"
    configure(cco, upstream("up", server.url, credential=str(path)))
    cco.start()
    told = cco.health()
    assert told["status"] == "ok"
    assert [one["state"] for one in told["upstreams"]] == ["no-credential"]
    assert str(path) in warnings(cco)["no-credential"]

    answer = ask(cco)
    assert (answer.status, answer.headers["x-cco-error"]) == (400, "no-credential")
    assert server.received == []

    write(path, f"{PLANTED}1")
    reload(cco)
    wait_until(lambda: not warnings(cco), "the daemon reads the key")
    assert ask(cco).status == 200
    assert keys(server) == [f"{PLANTED}1"]


def test_health_says_which_upstream_is_out(cco: Daemon, server: RawServer) -> None:
    with nobody() as url:
        configure(cco, upstream("first", url), upstream("spare", server.url, priority=1))
        cco.start()
        for number in range(FAILURES):
            answer = ask(cco, session=str(number))
            assert (answer.status, answer.headers["x-cco-upstream"]) == (200, "spare")
        told = cco.health()
        assert told["status"] == "ok"
        assert [(one["name"], one["state"]) for one in told["upstreams"]] == [
            ("first", "open"),
            ("spare", "up"),
        ]
        assert told["upstreams"][0]["lastError"] == "upstream-refused"
        assert told["upstreams"][0]["openedAt"].endswith("Z")
        assert cco.log().count("the upstream first is out") == 1
        assert keys(server) == [KEY] * FAILURES


def test_health_is_degraded_when_all_are_out(cco: Daemon) -> None:
    with nobody() as url:
        configure(cco, upstream("only", url))
        cco.start()
        for _ in range(FAILURES):
            assert ask(cco).status == 502
        answer = call(cco.port, "GET", "/health")
        assert (answer.status, answer.json()["status"]) == (503, "degraded")
        assert ask(cco).status == 502  # and it is asked all the same
        done = cco.run("run", "--dry-run", CCO_CLAUDE=str(fake_claude(cco.base)))
        assert done.returncode == 0, done.stderr
