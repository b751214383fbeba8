# SPDX-License-Identifier: Apache-2.0
"""``make bench``: figures of the whole product, each beside what it is compared with.

Pairs are taken in turn (A B A B …) in one run, so that a machine whose speed drifts gives the same
ratio. Absolute figures are for orientation. Runs a daemon of its own against the offline upstream.
"""

import http.client
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from cco import paths
from cco.cli import claude
from cco.cli.service import Service
from cco.errors import LaunchError
from cco.offline.server import OfflineUpstream
from tests.bench import ledger
from tests.bench.figures import show, times_ms
from tests.bench.hooks import show_hooks
from tests.bench.memory import show_memory
from tests.bench.streams import show_streams

CCO = (sys.executable, "-I", "-m", "cco")
SETTINGS = '[server]\nport = 0\n[[upstream]]\nname = "offline"\nbase_url = "{url}"\n'


def main() -> None:
    """Measure and print."""
    with ExitStack() as undo:
        home = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="cco-bench-")))
        upstream = undo.enter_context(OfflineUpstream())
        environ = _environment(home, upstream.url)
        uid = os.getuid()
        service = Service(paths.locate(environ, uid=uid), environ=environ, uid=uid)
        print("start")
        _show_start(service, environ)
        service.start()
        undo.callback(service.stop)
        health = service.wait_until_ok()
        print("memory, idle (PSS)")
        show_memory(service)
        print("mount")
        _show_mount(service, Path(health["vfs"]["path"]))
        print("hooks")
        show_hooks(service, Path(health["vfs"]["path"]), health["http"]["url"], home)
        health = service.wait_until_ok()  # the hooks have had it stopped: it has another port
        print("latency through the gateway, one connection")
        _show_latency(health["http"]["url"], upstream.url)
        print("streams through the gateway, beside each other")
        show_streams(service, health["http"]["url"], pid=os.getpid())
        print("launch")
        _show_launch(environ, upstream.url)
        print("status line, daemon up")
        _show_statusline(environ)
        service.stop()
        print("statistics of 1 000 000 requests, beside 10 000 of the same 90 days")
        ledger.show_growth(home)


def _environment(home: Path, url: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "CCO_CLAUDE") if name in os.environ}
    settings = home / "cco.toml"
    settings.write_text(SETTINGS.format(url=url), encoding="utf-8")
    return kept | {
        "HOME": str(home),
        "CCO_RUNTIME_DIR": str(home / "run"),
        "XDG_STATE_HOME": str(home / "state"),
        "CCO_CONFIG": str(settings),
        "ANTHROPIC_API_KEY": "sk-ant-test-bench",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def _show_statusline(environ: Mapping[str, str]) -> None:
    def run(*command: str) -> None:
        subprocess.run(command, env=environ, input=b"{}", check=True, capture_output=True)

    bare, ours = times_ms(
        30,
        partial(run, sys.executable, "-I", "-c", "pass"),
        partial(run, *CCO, "statusline"),
    )
    show("cco statusline over python3 -c pass", ours, bare)


def _show_start(service: Service, environ: Mapping[str, str]) -> None:
    def start() -> None:
        subprocess.run([*CCO, "daemon", "start"], env=environ, check=True, capture_output=True)

    times: list[float] = []
    for _ in range(5):
        times += times_ms(1, start)[0]
        service.stop()
    show("cco daemon start, until all serves", times)


def _show_mount(service: Service, mount: Path) -> None:
    told = service.client.call(
        "POST", "/api/sessions", {"pid": os.getpid(), "cwd": "/", "project": "/"}
    )
    script = (
        "import pathlib, sys, time; began = time.perf_counter();"
        "size = sum(len(p.read_bytes()) for p in pathlib.Path(sys.argv[1]).rglob('*')"
        " if p.is_file()); print((time.perf_counter() - began) * 1000)"
    )
    environ = {"CCO_SESSION": told["token"], "PATH": os.environ["PATH"]}

    def read_tree() -> float:
        command = [sys.executable, "-I", "-c", script, str(mount / "plugin")]
        done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
        return float(done.stdout)

    files = sum(1 for path in (mount / "plugin").rglob("*") if path.is_file())
    show(f"whole plugin tree, {files} files", [read_tree() for _ in range(15)])
    one = mount / "agents.sealed"
    show("agents.sealed, one read", times_ms(200, one.read_bytes)[0])


@contextmanager
def _connection(url: str) -> Iterator[http.client.HTTPConnection]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port)
    try:
        yield connection
    finally:
        connection.close()


def _show_latency(ours: str, direct: str) -> None:
    for label, size, count in (("2 KB", 2_000, 400), ("500 KB", 500_000, 60)):
        for is_stream in (False, True):
            body = _request(size, is_stream=is_stream)
            with _connection(ours) as through, _connection(direct) as straight:
                works = (partial(_ask, through, body), partial(_ask, straight, body))
                times_ms(20, *works)
                with_cco, without = times_ms(count, *works)
            kind = "stream" if is_stream else "plain"
            show(f"{label}, {kind}, through CCO", with_cco, without)


def _request(size: int, *, is_stream: bool) -> bytes:
    return json.dumps(
        {
            "model": "claude-sonnet-4-6",
            "max_tokens": 100,
            "stream": is_stream,
            "messages": [{"role": "user", "content": "x" * size}],
        }
    ).encode()


def _ask(connection: http.client.HTTPConnection, body: bytes) -> None:
    headers = {"content-type": "application/json", "x-api-key": "sk-ant-test-bench"}
    connection.request("POST", "/v1/messages", body, headers)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise RuntimeError(f"the upstream answered {answer.status}")


def _show_launch(environ: dict[str, str], upstream_url: str) -> None:
    try:
        path = claude.find(environ)
    except LaunchError as error:
        print(f"  {error.message}")
        return

    asked = ("-p", "hello", "--model", "claude-sonnet-4-6")
    directly = {**environ, "ANTHROPIC_BASE_URL": upstream_url}

    def run(command: tuple[str, ...], given: Mapping[str, str]) -> None:
        subprocess.run([*command, *asked], env=given, check=True, capture_output=True)

    works = (lambda: run((*CCO, "--"), environ), lambda: run((str(path),), directly))
    times_ms(1, *works)
    with_cco, without = times_ms(8, *works)
    show("cco -p over claude -p, warm", with_cco, without)
    uid = os.getuid()
    service = Service(paths.locate(environ, uid=uid), environ=environ, uid=uid)
    cold: list[float] = []
    plain: list[float] = []
    for _ in range(5):
        service.stop()
        a, b = times_ms(1, *works)
        cold, plain = cold + a, plain + b
    show("cco -p over claude -p, cold", cold, plain)


if __name__ == "__main__":
    main()
