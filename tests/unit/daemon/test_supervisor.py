# SPDX-License-Identifier: Apache-2.0
"""The supervisor over two small programs that do what a test asks of them."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.capabilities import ROOT
from tests.mounting import wait_until

PROGRAM: Final = """\
#!{python}
import json, os, signal, socket, sys
name = sys.argv[3].removeprefix("cco.")
top = {top!r}
listening = [socket.socket(fileno=3 + nth) for nth in range(int(os.environ.get("LISTEN_FDS", 0)))]
told = {{
    "name": name,
    "pid": os.getpid(),
    "argv": sys.argv[1:],
    "sockets": [str(sock.getsockname()) for sock in listening],
    "for_us": os.environ.get("LISTEN_PID") == str(os.getpid()),
    "leads": os.getsid(0) == os.getpid(),
}}
with open(f"{{top}}/started", "a") as file:
    print(json.dumps(told), file=file)
numbers = {{signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1}}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
orders = json.load(open(f"{{top}}/orders")).get(name, {{}})
print(f"{{name}} speaks", file=sys.stderr, flush=True)
if "exit" in orders:
    sys.exit(orders["exit"])
if orders.get("ready", True):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"STATUS=x\\nREADY=1", os.environ["NOTIFY_SOCKET"])
while True:
    got = signal.sigwait(numbers)
    with open(f"{{top}}/signals", "a") as file:
        print(name, signal.Signals(got).name, file=file)
    if got == signal.SIGTERM and not orders.get("deaf"):
        break
"""
"""Stands for both children; tells how it was started and does as it is ordered."""

DRIVER: Final = """\
import logging, os, sys
from pathlib import Path
from cco import paths
from cco.config import Server, Settings
from cco.daemon import supervisor
from cco.daemon.supervisor import Supervisor
from cco.errors import CcoError
top = Path(sys.argv[1])
logging.basicConfig(level=logging.INFO, filename=top / "log", format="%(levelname)s %(message)s")
sys.executable = str(top / "program")
supervisor.STOP_S = float(sys.argv[2])
supervisor.PAUSE_S = 0.01
where = paths.locate({"CCO_RUNTIME_DIR": str(top / "r")}, uid=os.getuid())
sink = None
if sys.argv[3] == "sink":
    file = open(top / "sink", "ab", buffering=0)
    sink = file.write
one = Supervisor(
    where,
    Settings(server=Server(port=0)),
    environ={"PATH": os.environ["PATH"]},
    on_ready=lambda: print("ready", flush=True),
    sink=sink,
)
try:
    sys.exit(one.run())
except CcoError as error:
    print(error.code, flush=True)
    sys.exit(99)
"""


class Scene:
    """A supervisor in a process of its own."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.runtime = top / "r"
        self.runtime.mkdir(mode=0o700)
        program = top / "program"
        program.write_text(PROGRAM.format(python=sys.executable, top=str(top)))
        program.chmod(0o755)
        self.order()

    def order(self, **orders: dict[str, Any]) -> None:
        """Say what `daemon` and `vfs` shall do from their next start on."""
        (self.top / "orders").write_text(json.dumps(orders))

    @contextmanager
    def supervising(
        self, *, stop_s: float = 30.0, sink: bool = False
    ) -> "Iterator[subprocess.Popen[str]]":
        command = [
            *(sys.executable, "-c", DRIVER, str(self.top), str(stop_s)),
            "sink" if sink else "",
            "cco.daemon.supervise",  # by which others know it
        ]
        with subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.terminate()

    def started(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return how the children were started, in their order."""
        lines = self.lines("started")
        told = [json.loads(line) for line in lines]
        return [one for one in told if name in (None, one["name"])]

    def lines(self, name: str) -> list[str]:
        path = self.top / name
        return path.read_text().splitlines() if path.exists() else []


def wait_for_ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != "ready\n":
        _, errors = process.communicate()
        raise AssertionError(line + errors)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_it_is_ready_when_both_are(scene: Scene) -> None:
    scene.order(vfs={"ready": False})
    with scene.supervising() as process:
        wait_until(lambda: len(scene.started()) == 2, "both have begun")
        (mount,) = scene.started("vfs")
        wait_until(lambda: (scene.runtime / "cco-mount.notify").exists(), "it listens")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"STATUS=not yet", str(scene.runtime / "cco-mount.notify"))
            sock.sendto(b"READY=1", str(scene.runtime / "cco-mount.notify"))
        wait_for_ready(process)
        assert mount["pid"] != process.pid
        process.terminate()
        assert process.wait() == 0


def test_children_are_started_as_systemd_would(scene: Scene) -> None:
    with scene.supervising() as process:
        wait_for_ready(process)
        (api,), (mount,) = scene.started("daemon"), scene.started("vfs")

        assert api["argv"][:3] == ["-I", "-m", "cco.daemon"]
        assert mount["argv"][:3] == ["-I", "-m", "cco.vfs"]
        assert mount["argv"][3:] == ["--mount", str(scene.runtime / "cco")]
        assert api["for_us"]
        assert api["sockets"][0] == str(scene.runtime / "cco.sock")
        assert api["sockets"][1].startswith("('127.0.0.1', ")
        assert mount["sockets"] == []
        assert api["leads"]  # a ^C at the terminal is for the supervisor alone
        assert mount["leads"]


def test_nothing_is_left_behind(scene: Scene) -> None:
    with scene.supervising() as process:
        wait_for_ready(process)
        present = {path.name for path in scene.runtime.iterdir()}
        assert present == {"cco.pid", "cco.sock", "cco-api.notify", "cco-mount.notify"}
        assert (scene.runtime / "cco.pid").read_text() == f"{process.pid}\n"
        process.terminate()
        assert process.wait() == 0

    assert list(scene.runtime.iterdir()) == []
    assert sorted(scene.lines("signals")) == ["daemon SIGTERM", "vfs SIGTERM"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_good_order(number: signal.Signals, scene: Scene) -> None:
    with scene.supervising() as process:
        wait_for_ready(process)
        process.send_signal(number)
        assert process.wait() == 0

    assert sorted(scene.lines("signals")) == ["daemon SIGTERM", "vfs SIGTERM"]


def test_child_that_does_not_stop_is_killed(scene: Scene) -> None:
    scene.order(daemon={"deaf": True})
    with scene.supervising(stop_s=0.2) as process:
        wait_for_ready(process)
        process.terminate()
        assert process.wait() == 0

    assert list(scene.runtime.iterdir()) == []


def test_hangup_goes_to_the_api_alone(scene: Scene) -> None:
    with scene.supervising() as process:
        wait_for_ready(process)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: scene.lines("signals"), "it was passed on")
        assert scene.lines("signals") == ["daemon SIGHUP"]
        assert process.poll() is None


@pytest.mark.parametrize("name", ["daemon", "vfs"])
def test_child_that_dies_is_started_again_with_the_same_sockets(name: str, scene: Scene) -> None:
    with scene.supervising() as process:
        wait_for_ready(process)
        (first,) = scene.started(name)
        for count in (2, 3):
            os.kill(scene.started(name)[-1]["pid"], signal.SIGKILL)
            wait_until(lambda count=count: len(scene.started(name)) == count, "it runs again")  # type: ignore[misc]
        last = scene.started(name)[-1]
        assert last["sockets"] == first["sockets"]
        assert len(scene.started()) == 4  # the other one was left alone
        assert process.poll() is None

    who = {"daemon": "API", "vfs": "mount"}[name]
    warning = f"WARNING the {who} ended with status -9; it starts again"
    assert scene.lines("log").count(warning) == 2


@pytest.mark.parametrize("name", ["daemon", "vfs"])
@pytest.mark.parametrize("status", [1, os.EX_CONFIG, os.EX_UNAVAILABLE])
def test_child_that_cannot_begin_ends_everything(name: str, status: int, scene: Scene) -> None:
    # Nothing that starting it again would mend: whoever waits is told.
    scene.order(**{name: {"exit": status}})
    with scene.supervising() as process:
        assert process.wait() == status
        assert process.stdout is not None
        assert process.stdout.read() == ""  # never ready

    assert list(scene.runtime.iterdir()) == []
    assert len(scene.started(name)) == 1


def test_settings_broken_later_end_everything(scene: Scene) -> None:
    with scene.supervising() as process:
        wait_for_ready(process)
        scene.order(daemon={"exit": os.EX_CONFIG})
        os.kill(scene.started("daemon")[0]["pid"], signal.SIGKILL)
        assert process.wait() == os.EX_CONFIG

    assert list(scene.runtime.iterdir()) == []


def test_second_supervisor_is_refused(scene: Scene, tmp_path: Path) -> None:
    with scene.supervising() as process:
        wait_for_ready(process)
        with scene.supervising() as second:
            out, _ = second.communicate()
            assert (second.returncode, out) == (99, "already-running\n")
        assert (scene.runtime / "cco.sock").is_socket()
        assert len(scene.started()) == 2


@pytest.mark.parametrize("sink", [True, False])
def test_words_of_the_children_are_passed_on(sink: bool, scene: Scene) -> None:
    scene.order(vfs={"exit": 3})
    with scene.supervising(sink=sink) as process:
        _, errors = process.communicate()

    said = "\n".join(scene.lines("sink")) if sink else errors
    assert "vfs speaks" in said
    assert ("vfs speaks" in errors) is not sink


@pytest.mark.parametrize("name", ["daemon", "vfs"])
def test_children_of_a_killed_supervisor_end_too(name: str, scene: Scene) -> None:
    with scene.supervising() as process:
        wait_for_ready(process)
        (child,) = scene.started(name)
        process.kill()
        process.wait()
        wait_until(lambda: not Path(f"/proc/{child['pid']}").exists(), "it has ended")
