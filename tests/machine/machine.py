# SPDX-License-Identifier: Apache-2.0
"""A Debian machine: booted with systemd in a container, used, and taken down without a trace.

The machine sees the source tree read-only at the own path of the tree, has a
loopback network of its own and no other, ``/dev/fuse`` for everyone, and the users of ``base.py``.
Needs root. Not for several threads.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.capabilities import ROOT
from tests.machine import base

SUITES: Final = ("bookworm", "trixie")
"""The suites of Debian that CCO is for."""

_BOOT_TIMEOUT_S: Final = 60.0
_POWEROFF_TIMEOUT_S: Final = 20.0
_POWEROFF: Final = signal.SIGRTMIN + 4  # systemd's PID 1 starts poweroff.target
_HIERARCHIES: Final = tuple(
    Path("/sys/fs/cgroup", name) for name in ("systemd", "unified", "")
)  # the same as in boot
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_numbers = itertools.count(1)


class Machine:
    """A booted machine; made by ``booted``."""

    def __init__(self, name: str, work: Path, base: Path) -> None:
        self.name = name
        self.work = work
        self._base = base
        self._nspawn = _start(name, work, base)
        self._init = 0
        self._commands = itertools.count(1)

    @property
    def root(self) -> Path:
        """The machine's file system, as the host's root sees it."""
        return Path(f"/proc/{self._init}/root")

    def run(
        self,
        command: str | Sequence[str | Path],
        *,
        user: str = "alice",
        timeout_s: float = 60,
        environment: Mapping[str, str] | None = None,
        stdin: str = "",
        cwd: Path | None = None,
        properties: Sequence[str] = (),
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a service of the machine's system manager, and wait for it.

        What it leaves running ends with it, unless properties say ``KillMode=process``.

        Args:
            command: argv, or a text for ``bash -c``.
            user: one of ``base.USERS``, or root.
            timeout_s: after that the command is killed.
            environment: on top of HOME, USER, LANG, PATH and XDG_RUNTIME_DIR.
            stdin: its standard input.
            cwd: the user's home, unless given.
            properties: of the service, such as ``LimitNOFILE=64``.
            check: fail the test unless it exits with 0.

        Raises:
            AssertionError: it did not exit with 0, and ``check`` wants that.
            subprocess.TimeoutExpired: it took longer.
        """
        __tracebackhide__ = True  # a failure is the caller's
        unit = f"test-{next(self._commands)}.service"
        words = ["bash", "-c", command] if isinstance(command, str) else [str(w) for w in command]
        words = [word.replace("$", "$$") for word in words]  # else systemd puts in variables
        home = Path("/root" if user == "root" else f"/home/{user}")
        variables = {"HOME": str(home), "USER": user, "LANG": "C.UTF-8", "PATH": _SYSTEM_PATH}
        options = ["--quiet", "--wait", "--pipe", "--collect", f"--unit={unit}"]
        options += [f"--property=WorkingDirectory={cwd or home}"]
        if user != "root":
            runtime = f"/run/user/{base.USERS[user]}"
            if (self.root / runtime.lstrip("/")).exists():
                variables["XDG_RUNTIME_DIR"] = runtime
            options += [f"--uid={user}", f"--gid={user}"]
        options += [f"--property={line}" for line in properties]
        options += [f"--setenv={n}={v}" for n, v in {**variables, **(environment or {})}.items()]
        done = self._finish(
            [*self._enter(), "systemd-run", *options, "--", *words], unit, stdin, timeout_s
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def _finish(
        self, command: list[str], unit: str, stdin: str, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                stdout, stderr = process.communicate(stdin, timeout_s)
            except BaseException:
                # Too late, or ^C. The service goes first: systemd-run ends with it, and nsenter
                # reaps that; a killed nsenter would leave a process in the machine for good.
                self._inside("systemctl", "kill", "--signal=KILL", unit)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=_POWEROFF_TIMEOUT_S)
                process.kill()
                raise
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    def wait(self, condition: Callable[[], bool], what: str, *, timeout_s: float = 30) -> None:
        """Wait until the condition holds.

        Raises:
            TimeoutError: it did not come to hold; the message says what.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {timeout_s} s")
            time.sleep(0.02)

    def show(self, unit: str, *, user: str | None = None) -> dict[str, str]:
        """Return all properties of a unit of the system manager, or of a user's."""
        shown = self._systemctl(user, "show", unit).stdout
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)

    def state(self, unit: str, *, user: str | None = None) -> str:
        """Return the unit's ActiveState, such as ``active`` or ``failed``."""
        return self.show(unit, user=user)["ActiveState"]

    def failed_units(self, *, user: str | None = None) -> list[str]:
        """Return the names of the units that failed."""
        listing = self._systemctl(user, "list-units", "--failed", "--plain", "--no-legend").stdout
        return [line.split()[0] for line in listing.splitlines()]

    def cursor(self) -> str:
        """Return the present end of the journal, for ``journal``."""
        shown = self._inside("journalctl", "--quiet", "--lines=0", "--show-cursor").stdout
        return shown.partition("-- cursor: ")[2].strip()

    def journal(self, *, since: str | None = None, **fields: str) -> list[dict[str, Any]]:
        """Return journal entries with these fields, such as ``SYSLOG_IDENTIFIER="cco"``."""
        after = [f"--after-cursor={since}"] if since else []
        self._inside("journalctl", "--sync")  # what was written before this call is in it
        lines = self._inside("journalctl", "--quiet", "--output=json", *after).stdout
        entries = [json.loads(line) for line in lines.splitlines()]
        # Not by journalctl: that of systemd 252 drops the first match after a cursor.
        return [entry for entry in entries if fields.items() <= entry.items()]

    def reboot(self) -> None:
        """Shut the machine down and boot it again, with the file system that it has."""
        self._power_off()
        _remove_cgroups(self.name)
        self._init = 0
        self._nspawn = _start(self.name, self.work, self._base)
        self._wait_for_boot()

    def shell_command(self) -> list[str]:
        """Return a command for the host's root that gives a shell in this machine."""
        return [*self._enter(), "bash", "--login"]

    def console(self) -> str:
        """Return what systemd said on the machine's console."""
        return (self.work / "console.log").read_text(errors="replace")

    def _systemctl(self, user: str | None, *words: str) -> subprocess.CompletedProcess[str]:
        if user is None:
            return self._inside("systemctl", *words)
        return self.run(["systemctl", "--user", *words], user=user)

    def _enter(self) -> list[str]:
        # Namespaces of the container, and an environment that is not the host's.
        return [
            *("nsenter", "-t", str(self._init), "-m", "-u", "-i", "-n", "-p", "-C", "--"),
            *("env", "-i", f"PATH={_SYSTEM_PATH}", "LANG=C.UTF-8", "HOME=/root", "TERM=linux"),
        ]

    def _inside(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a short command as root, outside any unit of the machine."""
        return subprocess.run(
            [*self._enter(), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_BOOT_TIMEOUT_S,
            check=False,
        )

    def _wait_for_boot(self) -> None:
        self.wait(self._has_init, f"{self.name} has no PID 1", timeout_s=_BOOT_TIMEOUT_S)
        manager = self.root / "run/systemd/private"
        self.wait(manager.exists, f"{self.name}: no system manager", timeout_s=_BOOT_TIMEOUT_S)
        reached = self._inside("systemctl", "is-system-running", "--wait").stdout.strip()
        if reached != "running":
            failed = ", ".join(self.failed_units())
            raise RuntimeError(f"{self.name} is {reached} ({failed})\n{self.console()}")
        bus = self.root / f"run/user/{base.USERS['alice']}/bus"
        self.wait(bus.exists, f"{self.name}: no user manager", timeout_s=_BOOT_TIMEOUT_S)

    def _has_init(self) -> bool:
        if self._nspawn.poll() is not None:
            raise RuntimeError(f"{self.name} ended while it booted\n{self.console()}")
        for child in _children(self._nspawn.pid):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    self._init = child
        return self._init != 0

    def _power_off(self) -> None:
        if self._init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init, _POWEROFF)
        else:
            self._nspawn.terminate()
        try:
            self._nspawn.wait(_POWEROFF_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            if self._init:
                os.kill(self._init, signal.SIGKILL)  # and with it all others of its PID namespace
            self._nspawn.kill()
            self._nspawn.wait()


@contextlib.contextmanager
def booted(suite: str = "bookworm") -> Iterator[Machine]:
    """Boot a machine, and take it down at the end, however that comes."""
    root = base.make(suite)
    _sweep()
    name = f"cco-{suite}-{os.getpid()}-{next(_numbers)}"
    work = _running() / name
    try:
        _lay_out(work, root, name)
        machine = Machine(name, work, root)
        try:
            machine._wait_for_boot()
            yield machine
        finally:
            machine._power_off()
    finally:
        _remove(work)


def _start(name: str, work: Path, base: Path) -> subprocess.Popen[bytes]:
    """Start the container of a machine that is laid out."""
    with (work / "console.log").open("ab") as console:
        nspawn = subprocess.Popen(
            # pdeathsig: a killed test run does not leave it running; nspawn powers off then.
            [
                *("unshare", "--mount", "--propagation=private", "--"),
                *("setpriv", "--pdeathsig=TERM", "--"),
                *(Path(__file__).with_name("boot"), name, base, work, ROOT),
            ],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            umask=0o022,
            start_new_session=True,  # ^C is for the tests, which power it off then
        )
    (work / "pid").write_text(str(nspawn.pid))
    return nspawn


def _running() -> Path:
    return base.cache() / "running"


def _lay_out(work: Path, root: Path, name: str) -> None:
    """Make the directories of a machine, with what it finds changed over the base."""
    upper = work / "upper"
    for directory in ("root", "overlay", "upper/etc"):
        (work / directory).mkdir(parents=True)
    (upper / "etc/hostname").write_text(f"{name}\n")
    for path in (upper, upper / "etc", upper / "etc/hostname"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # whatever the umask
    # The way to the tree is open for everyone, be it below /root.
    for parent in reversed(ROOT.parents[:-1]):
        inside = parent.relative_to("/")
        mode = (root / inside).stat().st_mode & 0o7777 if (root / inside).exists() else 0o755
        (upper / inside).mkdir(exist_ok=True)
        (upper / inside).chmod(mode | 0o555)


def _sweep() -> None:
    """Remove what killed test runs left: their machines have powered off by themselves."""
    if not _running().is_dir():
        return
    for work in _running().iterdir():
        # The name holds the pid of the test run, which may still be laying out the machine.
        if not any(Path(f"/proc/{pid}").exists() for pid in _owners(work)):
            _remove(work)


def _owners(work: Path) -> list[str]:
    owners = [work.name.split("-")[2]]
    with contextlib.suppress(FileNotFoundError):
        owners.append((work / "pid").read_text())
    return owners


def _remove(work: Path) -> None:
    _remove_cgroups(work.name)
    shutil.rmtree(work, ignore_errors=True)


def _remove_cgroups(name: str) -> None:
    for hierarchy in _HIERARCHIES:
        if (hierarchy / "cgroup.procs").exists():
            _remove_cgroup(hierarchy / name)


def _remove_cgroup(group: Path) -> None:
    deadline = time.monotonic() + 5
    while group.exists() and time.monotonic() < deadline:
        for directory in sorted(group.rglob("*/"), reverse=True):
            with contextlib.suppress(OSError):
                directory.rmdir()
        with contextlib.suppress(OSError):  # busy while the last process is going
            group.rmdir()
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
