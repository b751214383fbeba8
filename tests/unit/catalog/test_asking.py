# SPDX-License-Identifier: Apache-2.0
"""The program of hooks asks a real server, and nobody hears of it where there is none."""

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cco.catalog import asking
from tests.daemon import free_port
from tests.mounting import DEADLINE_S
from tests.rawserver import Received, Script, reply, serving

GIVEN = json.dumps({"prompt": "Grüße 'und' \"so\" $(false) %s\\n" + "ü" * 100_000}) + "\n"
JSON = "Content-Type: application/json"


def run(
    mount: Path, url: str, *, given: str = GIVEN, **environ: str
) -> "subprocess.CompletedProcess[str]":
    """Run the command of a hook as Claude Code does."""
    path = mount / "plugin" / asking.PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(asking.program(f"{url}/api/hooks"))
    return execute(mount, given, **environ)


def execute(mount: Path, given: str = "{}", **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", "-c", asking.command("PreCompact")],
        env={
            "PATH": os.environ["PATH"],
            "ORCHESTRATOR_VFS_MOUNT": str(mount),
            "CCO_SESSION": "a-token",
            **environ,
        },
        input=given,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def once(data: bytes) -> Script:
    """Answer one request and close, as is asked for."""

    def script(received: Received, sock: socket.socket) -> bool:
        sock.sendall(data)
        return False

    return script


@pytest.fixture
def hung() -> Iterator[str]:
    """Give the URL of a server that takes connections and reads nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def is_silent(done: "subprocess.CompletedProcess[str]") -> bool:
    return (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_input_arrives_and_answer_is_printed(tmp_path: Path) -> None:
    answer = '{"hookSpecificOutput":{"additionalContext":"Grüße"}}\n'
    with serving(once(reply("200 OK", JSON, body=answer.encode()))) as server:
        done = run(tmp_path, server.url)

    assert (done.returncode, done.stdout, done.stderr) == (0, answer, "")
    (received,) = server.received
    assert received.body.decode() == GIVEN.rstrip("\n")
    assert received.target == "/api/hooks/PreCompact"
    assert received.values("x-cco-session") == ["a-token"]
    assert received.values("host") == [server.url.removeprefix("http://")]


@pytest.mark.parametrize("status", ["204 No Content", "400 Bad Request", "403 Forbidden", "500 No"])
def test_other_answers_are_not_printed(status: str, tmp_path: Path) -> None:
    with serving(once(reply(status, JSON, body=b"" if "204" in status else b"{}"))) as server:
        assert is_silent(run(tmp_path, server.url))


def test_nobody_hears_of_a_daemon_that_is_away(tmp_path: Path) -> None:
    assert is_silent(run(tmp_path, f"http://127.0.0.1:{free_port()}"))


@pytest.mark.parametrize(
    "body", [b"<html>{}</html>", b'{"decision":"block"}', b"{}", b"", b'\r\n{"hookSpecificOutput"']
)
def test_nobody_hears_of_another_server_on_the_port(body: bytes, tmp_path: Path) -> None:
    with serving(once(reply("200 OK", JSON, body=body))) as server:
        assert is_silent(run(tmp_path, server.url))


def test_answer_that_does_not_end_is_not_printed(tmp_path: Path) -> None:
    is_over = threading.Event()

    def half(received: Received, sock: socket.socket) -> bool:
        sock.sendall(reply("200 OK", JSON, length=False) + b'{"hookSpecificOutput":{"addit')
        is_over.wait(DEADLINE_S)
        return False

    with serving(half) as server:
        assert is_silent(run(tmp_path, server.url))
        is_over.set()


@pytest.mark.parametrize("size", [10, asking.MAX_BYTES - 100, 30_000_000])
def test_nobody_waits_for_a_daemon_that_hangs(size: int, hung: str, tmp_path: Path) -> None:
    """Without an end to it the prompt would wait as long as Claude Code lets it."""
    assert is_silent(run(tmp_path, hung, given="x" * size))


def test_nobody_hears_of_a_plugin_that_is_away(tmp_path: Path) -> None:
    assert is_silent(execute(tmp_path / "nowhere"))


def test_nobody_hears_of_a_daemon_that_hangs_up(tmp_path: Path) -> None:
    with serving(lambda received, sock: False) as server:
        assert is_silent(run(tmp_path, server.url))


def test_environment_cannot_make_it_speak(tmp_path: Path) -> None:
    noisy = tmp_path / "noisy"
    noisy.write_text("echo noise\n")
    url = f"http://127.0.0.1:{free_port()}"
    assert is_silent(run(tmp_path, url, BASH_ENV=str(noisy), ENV=str(noisy), SHELLOPTS="xtrace"))


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ask"
    path.write_text(asking.program("http://127.0.0.1:3000/api/hooks"))
    subprocess.run(["shellcheck", "-s", "bash", path], check=True)
