# SPDX-License-Identifier: Apache-2.0
"""What a machine or a user may have wrong: one sentence, the remedy, the exit status, nothing left.

`Case` says what is wrong; every case is tried with `cco daemon start`, some in other ways too.
"""

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.daemon import CCO, Daemon, asking, call, fake_claude, free_port, is_true, readable_files
from tests.mounting import DEADLINE_S

NOBODY: Final = 65534

Environ = dict[str, str]


@dataclass(frozen=True)
class Case:
    """Something wrong."""

    prepare: Callable[[Daemon], Environ | None]
    """Makes it wrong; returns what to add to the environment."""
    sentence: str
    """What is said of it, as a regular expression."""
    remedy: str
    status: int = os.EX_UNAVAILABLE


def write(path: Path, text: str = "x\n") -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(text)


def unsafe_runtime(cco: Daemon) -> None:
    cco.runtime.mkdir()
    cco.runtime.chmod(0o777)


def linked_runtime(cco: Daemon) -> None:
    (cco.base / "elsewhere").mkdir(mode=0o700)
    cco.runtime.symlink_to(cco.base / "elsewhere")


def linked_mount(cco: Daemon) -> None:
    cco.runtime.mkdir(mode=0o700)
    (cco.base / "elsewhere").mkdir(mode=0o700)
    cco.mount.symlink_to(cco.base / "elsewhere")


def broken_prices(cco: Daemon) -> None:
    write(cco.base / "prices.json", "{")
    cco.configure(f'[ledger]\nprices = "{cco.base}/prices.json"\n')


CASES: Final = {
    "runtime directory without a parent": Case(
        lambda cco: {"CCO_RUNTIME_DIR": str(cco.base / "no" / "run")},
        r"the runtime directory \S+/no/run cannot be used \(No such file or directory\)",
        "set XDG_RUNTIME_DIR",
    ),
    "runtime directory that others may write to": Case(
        unsafe_runtime, r"others may write to the runtime directory \S+/run", r"chmod 700 \S+/run"
    ),
    "runtime directory that is a link": Case(
        linked_runtime, r"the runtime directory \S+/run is a symbolic link", "Remove it"
    ),
    "runtime directory with a long name": Case(
        lambda cco: {"CCO_RUNTIME_DIR": str(cco.base / ("x" * 100))},
        r"the path of the runtime directory \S+xxx is too long for a socket in it",
        "a shorter path",
    ),
    "socket's name taken by a file": Case(
        lambda cco: write(cco.socket), r"\S+/cco\.sock is in the way of the socket", "mv "
    ),
    "unknown setting": Case(
        lambda cco: write(cco.settings, "[server]\nprot = 1\n"),
        r"\S+/cco\.toml:2: unknown key 'prot' in \[server\]",
        "'port'",
        os.EX_CONFIG,
    ),
    "settings that are no TOML": Case(
        lambda cco: write(cco.settings, "[server\n"),
        r"\S+/cco\.toml:1: ",
        r"man cco\.toml",
        os.EX_CONFIG,
    ),
    "settings that are a directory": Case(
        lambda cco: {"CCO_CONFIG": str(cco.base)},
        r"the settings file \S+ cannot be read \(Is a directory\)",
        "mv ",
        os.EX_CONFIG,
    ),
    "settings that are not there": Case(
        lambda cco: {"CCO_CONFIG": str(cco.base / "nowhere")},
        r"the settings file \S+/nowhere is not there",
        "CCO_CONFIG",
        os.EX_CONFIG,
    ),
    "address that others can reach": Case(
        lambda cco: write(cco.settings, '[server]\nhost = "0.0.0.0"\n'),
        r"\S+/cco\.toml:2: host in \[server\] must be",
        r"man cco\.toml",
        os.EX_CONFIG,
    ),
    "price list that is broken": Case(broken_prices, r"\S+/prices\.json: ", "prices", os.EX_CONFIG),
    "mount point that is not empty": Case(
        lambda cco: write(cco.mount / "mine"),
        r"the directory \S+/run/cco is not empty",
        r"Move its files away",
    ),
    "mount point that is a file": Case(
        lambda cco: write(cco.mount), r"\S+/run/cco is a file, not a directory", "Move it away"
    ),
    "mount point that is a link": Case(
        linked_mount, r"\S+/run/cco is a symbolic link, not a directory", "Move it away"
    ),
    "mount point without a parent": Case(
        lambda cco: cco.configure(f'[vfs]\nmount = "{cco.base}/no/where"\n'),
        r"the directory \S+/no is missing",
        r"vfs\.mount",
    ),
}


def look(base: Path) -> dict[str, str]:
    """Return what lies below a directory, but for what a daemon may leave: directories, a log."""
    return {
        str(path.relative_to(base)): "link" if path.is_symlink() else path.read_text()
        for path in base.rglob("*")
        if path.is_symlink() or (path.is_file() and path.name not in ("cco.log", "cco.db"))
    }


def assert_refused(
    done: "subprocess.CompletedProcess[str]", sentence: str, remedy: str, status: int
) -> None:
    """The error is one sentence without a full stop, and the remedy on the next line."""
    first, second = done.stderr.splitlines()
    assert re.match(f"cco: {sentence}", first), done.stderr
    assert not first.endswith(".")
    assert second.startswith("     ")
    assert re.search(remedy, second), done.stderr
    assert (done.returncode, done.stdout) == (status, "")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_start_says_what_is_wrong_and_leaves_nothing(cco: Daemon, case: Case) -> None:
    more = case.prepare(cco) or {}
    before = look(cco.base)
    done = cco.run("daemon", "start", **more)

    assert_refused(done, case.sentence, case.remedy, case.status)
    assert look(cco.base) == before
    assert cco.processes() == []


@pytest.mark.parametrize("command", [("daemon", "start"), ("daemon", "restart"), ("run", "--")])
def test_a_taken_port_is_told_with_its_owner(cco: Daemon, command: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cco.configure(port=port)
        name = Path("/proc/self/comm").read_text().strip()
        done = cco.run(*command, CCO_CLAUDE=str(fake_claude(cco.base)))

        sentence = rf"port {port} is taken by '{name}' \(pid {os.getpid()}\)"
        assert_refused(done, sentence, rf"port = {port + 1}", os.EX_UNAVAILABLE)
        assert cco.is_gone(), cco.left_over()
        assert cco.run("daemon", "status").returncode == 3
    cco.start()
    assert cco.port == port


def test_in_the_foreground_it_says_the_same(cco: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cco.configure(port=port)
        done = cco.run("daemon", "run")
        assert done.returncode == os.EX_UNAVAILABLE
        assert done.stderr.startswith(f"cco: port {port} is taken by ")
    cco.configure()
    write(cco.mount / "mine")
    done = cco.run("daemon", "run")
    assert done.returncode == os.EX_UNAVAILABLE
    assert "is not empty" in done.stderr
    assert "Traceback" not in done.stderr
    assert cco.left_over() == ["cco"]
    write(cco.settings, "[server]\nprot = 1\n")
    done = cco.run("daemon", "run")
    assert done.returncode == os.EX_CONFIG
    assert "unknown key 'prot'" in done.stderr


def test_an_agent_that_is_wrong_is_left_out_and_told(cco: Daemon) -> None:
    wrong = cco.agents / "wrong.md"
    write(wrong, "---\nname: Wrong\ncolour: opus\n---\nText\n")
    done = cco.run("daemon", "start")
    assert done.returncode == 0
    health = cco.health()
    assert health["status"] == "ok"
    assert (cco.mount / "health").read_text() == "OK\n"
    assert {one["code"] for one in health["warnings"]} == {"agent-refused"}
    told = [one["message"] for one in health["warnings"]]
    assert any(f"{wrong}:3" in message and "colour" in message for message in told)
    assert all(one["hint"] for one in health["warnings"])
    shown = cco.run("daemon", "status").stdout
    assert all(message in shown for message in told)
    assert cco.client.call("GET", "/api/agents/chief-architect")["origin"] == "builtin"


def test_state_that_cannot_be_written_is_told_and_costs_no_session(cco: Daemon) -> None:
    nowhere = str(cco.settings)  # a file
    done = cco.run("daemon", "start", XDG_STATE_HOME=nowhere)
    assert done.returncode == 0
    assert "the ledger cannot be written" in done.stdout
    (warning,) = cco.health()["warnings"]
    assert warning["code"] == "ledger-degraded"
    assert "writable" in warning["hint"]
    session = cco.launch()
    answer = call(cco.port, "POST", f"/s/{session.id}/v1/messages", body=asking("hello"))
    assert answer.status == 200
    assert cco.read_inside("CLAUDE.md", session.token).returncode == 0


def test_a_settings_file_is_found_from_where_the_user_is(cco: Daemon) -> None:
    cco.configure('[models]\nhaiku = "claude-haiku-of-the-test"\n')
    done = cco.run("daemon", "start", cwd=cco.base, CCO_CONFIG="cco.toml")
    assert (done.returncode, done.stderr) == (0, "")
    agents = cco.client.call("GET", "/api/agents")["agents"]
    assert "claude-haiku-of-the-test" in {one["modelId"] for one in agents}


# Claude Code


@pytest.mark.parametrize(
    ("make", "sentence", "remedy", "status"),
    [
        (lambda path: None, "CCO_CLAUDE names .* cannot be executed", "CCO_CLAUDE", 127),
        (write, "CCO_CLAUDE names .* cannot be executed", "CCO_CLAUDE", 126),
        (Path.mkdir, "CCO_CLAUDE names .* cannot be executed", "CCO_CLAUDE", 126),
        (lambda path: program(path, "\0\n"), r"\S+ does not run", "npm install", 126),
        (lambda path: program(path, "#!/no/such/shell\n"), r"\S+ does not run", "npm", 126),
        (lambda path: program(path, "#!/bin/sh\n"), r"\S+ does not tell its version", "CCO", 126),
        (
            lambda path: fake_claude(path.parent, version="2.0.1"),
            r"Claude Code 2\.0\.1 is too old; CCO needs [\d.]+ or later",
            "claude update",
            os.EX_UNAVAILABLE,
        ),
    ],
    ids=["missing", "file", "directory", "garbage", "no interpreter", "no version", "too old"],
)
def test_without_a_claude_code_nothing_is_started(
    cco: Daemon, make: Callable[[Path], object], sentence: str, remedy: str, status: int
) -> None:
    path = cco.base / "claude"
    make(path)
    done = cco.run("run", "--", CCO_CLAUDE=str(path))
    assert_refused(done, sentence, remedy, status)
    assert cco.is_gone(), cco.left_over()


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_a_claude_code_that_is_nowhere_is_told_with_how_to_install_it(cco: Daemon) -> None:
    done = cco.run("run", "--", PATH="/nowhere")
    assert_refused(done, "Claude Code is not installed", "npm install -g", 127)
    assert cco.is_gone(), cco.left_over()


def test_an_upstream_that_nobody_reaches_is_told_as_claude_code_shows_it(cco: Daemon) -> None:
    cco.upstream_url = f"http://127.0.0.1:{free_port()}"
    cco.configure()
    cco.start()
    session = cco.launch()
    answer = call(cco.port, "POST", f"/s/{session.id}/v1/messages", body=asking("hello"))
    assert answer.status == 502
    told = answer.json()
    assert (told["type"], told["error"]["type"]) == ("error", "api_error")
    assert told["error"]["message"].startswith("CCO: ")
    assert told["request_id"] == answer.headers["x-cco-request-id"]
    assert answer.headers["x-cco-error"] == "upstream-refused"


# What only root can take away from a daemon: a device, a program, a file system


@contextlib.contextmanager
def deprived(cco: Daemon, preparation: str) -> Iterator["subprocess.Popen[str]"]:
    """Run `cco daemon start` where `preparation` has changed the mounts, for it alone."""
    script = f'{preparation} && exec "$@"'
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-ec", script, "sh", *CCO, "daemon", "start"],
        env=cco.environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("preparation", "sentence", "remedy"),
    [
        (
            'mount --bind /dev/null "$(readlink -f /usr/bin/fusermount)"',
            "the program fusermount is missing",
            "apt install fuse3",
        ),
        (
            # A device without its driver, as where the module is not loaded.
            'mknod "$HOME/fuse" c 10 250; mount --bind "$HOME/fuse" /dev/fuse',
            r"/dev/fuse is missing \(No such device\)",
            "modprobe fuse",
        ),
        ("mount --bind /dev/null /dev/fuse", r"FUSE cannot mount on \S+", "cco daemon logs"),
        (
            'mkdir -pm 700 "$CCO_RUNTIME_DIR/cco"; mount -t tmpfs none "$CCO_RUNTIME_DIR/cco"',
            r"a file system that is not CCO's \(tmpfs\) is mounted on \S+",
            "umount ",
        ),
    ],
    ids=["no fusermount", "no device", "another device", "another file system"],
)
def test_where_nothing_can_be_mounted_nothing_is_left(
    cco: Daemon, preparation: str, sentence: str, remedy: str
) -> None:
    with deprived(cco, preparation) as process:
        out, err = process.communicate(timeout=DEADLINE_S)
    done = subprocess.CompletedProcess((), process.returncode, out, err)
    assert_refused(done, sentence, remedy, os.EX_UNAVAILABLE)
    assert cco.processes() == []
    assert set(cco.left_over()) <= {"cco"}


@pytest.mark.needs("root")
def test_a_state_directory_that_is_read_only_is_told(cco: Daemon) -> None:
    cco.state.mkdir(parents=True)
    script = 'mount --bind "$XDG_STATE_HOME" "$XDG_STATE_HOME"'
    script += '; mount -o remount,ro,bind "$XDG_STATE_HOME"'
    with deprived(cco, script) as process:
        out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (0, "")
    assert "the ledger cannot be written" in out
    assert [one["code"] for one in cco.health()["warnings"]] == ["ledger-degraded"]


# An ordinary user


@pytest.fixture
def of_nobody(cco: Daemon) -> Daemon:
    """Return a daemon that belongs to an ordinary user, who has no device."""
    cco.base.chmod(0o755)
    cco.runtime.mkdir(mode=0o700)
    cco.state.mkdir(parents=True)
    for path in (cco.runtime, cco.state.parent, cco.state, cco.home):
        os.chown(path, NOBODY, NOBODY)
    return cco


def start_as_nobody(
    cco: Daemon, preparation: str = ":", **environ: str
) -> "subprocess.CompletedProcess[str]":
    root = ["unshare", "--mount", "sh", "-ec", f'{preparation} && exec "$@"', "sh"]
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    return subprocess.run(
        [*root, *user, *CCO, "daemon", "start"],
        env=cco.environ(**environ),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.mark.needs("root")
def test_a_user_is_told_what_they_may_not(of_nobody: Daemon) -> None:
    cco = of_nobody
    done = start_as_nobody(cco, CCO_RUNTIME_DIR=str(cco.base / "mine"))
    refused = r"the runtime directory \S+ cannot be used \(Permission denied\)"
    assert_refused(done, refused, "XDG_RUNTIME_DIR", os.EX_UNAVAILABLE)

    (cco.base / "roots").mkdir(mode=0o755)
    done = start_as_nobody(cco, CCO_RUNTIME_DIR=str(cco.base / "roots"))
    foreign = r"the runtime directory \S+ belongs to another user"
    assert_refused(done, foreign, "a directory of yours", os.EX_UNAVAILABLE)

    cco.settings.chmod(0o600)
    done = start_as_nobody(cco)
    unreadable = r"the settings file \S+ cannot be read \(Permission denied\)"
    assert_refused(done, unreadable, "mv ", os.EX_CONFIG)
    cco.settings.chmod(0o644)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cco.configure(port=port)
        done = start_as_nobody(cco)
        assert_refused(done, rf"port {port} is taken by uid 0", "port = ", os.EX_UNAVAILABLE)
    assert cco.processes() == []
    assert cco.left_over() == []


@pytest.mark.needs("root")
def test_a_user_without_the_device_is_told_how_to_get_it(of_nobody: Daemon) -> None:
    cco = of_nobody
    # A node of our own: the machine's may be for everyone.
    node = 'mknod -m 600 "$HOME/fuse" c 10 229; mount --bind "$HOME/fuse" /dev/fuse'
    done = start_as_nobody(cco, node)
    denied = r"/dev/fuse may not be opened \(Permission denied\)"
    assert_refused(done, denied, "chmod 666 /dev/fuse", os.EX_UNAVAILABLE)
    assert cco.left_over() == []


def test_a_mended_mistake_is_forgotten(cco: Daemon) -> None:
    write(cco.mount / "mine")
    assert cco.run("daemon", "start").returncode == os.EX_UNAVAILABLE
    (cco.mount / "mine").unlink()
    cco.start()
    assert is_true(readable_files(cco.mount))
    cco.stop()
    assert cco.is_gone(), cco.left_over()
