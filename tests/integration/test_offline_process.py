# SPDX-License-Identifier: Apache-2.0
"""`python3 -m cco.offline`: its one line, its record, its end."""

import base64
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import cco

pytestmark = pytest.mark.integration

TIMEOUT_S = 30.0
ROOT = Path(cco.__file__).parents[1]


@contextmanager
def start(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the server; it is killed if it has not ended by itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cco.offline", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def the_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().removesuffix("\n")


def post(url: str, prompt: str) -> bytes:
    body = {
        "model": "claude-sonnet-4-6",
        "max_tokens": 99,
        "messages": [{"role": "user", "content": prompt}],
    }
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=TIMEOUT_S)
    with closing(connection):
        connection.request("POST", "/v1/messages", json.dumps(body), {"x-api-key": "sk-ant-test"})
        return connection.getresponse().read()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_serves_and_ends_cleanly(ending: signal.Signals) -> None:
    with start() as process:
        url = the_url(process)
        assert b"CCO offline upstream" in post(url, "hello")
        # An open connection does not keep it from ending.
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S):
            process.send_signal(ending)
            assert process.communicate(timeout=TIMEOUT_S) == ("", "")

    assert process.returncode == 0


def test_a_record_holds_every_request_and_is_private(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    with start("--record", str(record)) as process:
        url = the_url(process)
        for prompt in ("one", "zwei ü"):
            post(url, prompt)
        process.terminate()
        process.wait(TIMEOUT_S)

    first, second = (json.loads(line) for line in record.read_text("ascii").splitlines())
    assert (first["method"], first["target"]) == ("POST", "/v1/messages")
    assert ["x-api-key", "sk-ant-test"] in first["headers"]
    assert b"zwei" in base64.b64decode(second["body"])
    assert len(second["sha256"]) == 64
    assert stat.S_IMODE(record.stat().st_mode) == 0o600


def test_a_taken_port_is_one_clear_sentence() -> None:
    with start() as first:
        port = the_url(first).rpartition(":")[2]
        with start("--port", port) as second:
            out, err = second.communicate(timeout=TIMEOUT_S)

    assert (second.returncode, out) == (os.EX_UNAVAILABLE, "")
    assert f"cannot listen on 127.0.0.1:{port}" in err
    assert "Traceback" not in err


def test_a_record_that_cannot_be_written_is_one_clear_sentence(tmp_path: Path) -> None:
    with start("--record", str(tmp_path / "nowhere" / "record")) as process:
        out, err = process.communicate(timeout=TIMEOUT_S)

    assert (process.returncode, out) == (os.EX_UNAVAILABLE, "")
    assert "No such file or directory" in err
    assert "Traceback" not in err
