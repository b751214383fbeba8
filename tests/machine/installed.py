# SPDX-License-Identifier: Apache-2.0
"""What users of an installed CCO have beside it, and acts for them."""

import contextlib
import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from cco import units
from tests.machine import base
from tests.machine.machine import Machine

OFFLINE_PORT: Final = 8100
"""Where the upstream of `equipped` listens."""

CLAUDE: Final = """\
#!/bin/sh
# Stands for Claude Code: tells its version, or notes what it was given and stays.
[ "$1" = --version ] && exec echo "2.1.220 (Claude Code)"
env -0 >"$HOME/launched.new"
printf '%s\\0' "$@" >"$HOME/launched-argv"
mv "$HOME/launched.new" "$HOME/launched"
exec sleep infinity
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A launch of `cco run` that lives."""

    environment: Mapping[str, str]
    argv: Sequence[str]
    pid: int

    @property
    def token(self) -> str:
        """What opens the unsealed files."""
        return self.environment["CCO_SESSION"]

    @property
    def base_url(self) -> str:
        """The gateway under the prefix of this session."""
        return self.environment["ANTHROPIC_BASE_URL"]

    @property
    def id(self) -> str:
        """Last part of the prefix."""
        return self.base_url.rpartition("/")[2]


@dataclass(slots=True)
class Login:
    """One user of the machine with a running user manager, and their CCO."""

    machine: Machine
    name: str
    expected: list[str] = field(default_factory=list)
    """Patterns of journal lines that would be complaints otherwise."""

    @property
    def home(self) -> Path:
        """The user's home."""
        return Path("/home", self.name)

    @property
    def runtime(self) -> Path:
        """Of the user; holds socket and mount."""
        return Path(f"/run/user/{base.USERS[self.name]}")

    @property
    def mount(self) -> Path:
        """Where the sealed files are."""
        return self.runtime / "cco"

    @property
    def socket(self) -> Path:
        """The daemon's Unix socket."""
        return self.runtime / "cco.sock"

    @property
    def journal_fields(self) -> dict[str, str]:
        """What lines about this user's CCO have in the journal."""
        return {"_UID": str(base.USERS[self.name])}

    def run(
        self,
        command: str | Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as this user."""
        return self.machine.run(command, user=self.name, environment=environment, check=check)

    def cco(
        self, words: str, *, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one `cco` command."""
        return self.run(["cco", *shlex.split(words)], environment=environment)

    def systemctl(self, words: str) -> str:
        """Run one `systemctl` command of the user manager, which must succeed."""
        command = ["systemctl", "--user", "--quiet", *shlex.split(words)]
        return self.run(command, check=True).stdout

    def states(self) -> tuple[str, ...]:
        """Return the states of service, mount, socket and HTTP socket, in this order."""
        order = (units.SERVICE, units.MOUNT, *units.SOCKETS)
        told = self.systemctl(f"show --property=ActiveState --value {' '.join(order)}")
        return tuple(told.split())

    def main_pid(self, unit: str) -> int:
        """Return the main process of a unit, 0 for none."""
        return int(self.systemctl(f"show --property=MainPID --value {unit}"))

    def worker_pid(self) -> int:
        """Return the daemon's worker."""
        main = self.main_pid(units.SERVICE)
        [pid] = self.run(["pgrep", "--parent", str(main)], check=True).stdout.split()
        return int(pid)

    def fetch(
        self, url: str, *, method: str = "GET", headers: Sequence[str] = ()
    ) -> tuple[int, str]:
        """Return status and body; status 0 where nobody could be reached.

        Args:
            url: a path for the Unix socket, or all of a URL.
            method: of the request.
            headers: of the request, as lines.
        """
        command = ["curl", "--silent", "--write-out", r"\n%{http_code}", "--request", method]
        command += [word for line in headers for word in ("--header", line)]
        if method == "HEAD":
            command.append("--head")
        if url.startswith("/"):
            command += ["--unix-socket", str(self.socket)]
            url = f"http://localhost{url}"
        body, _, status = self.run([*command, url]).stdout.rpartition("\n")
        return int(status), body

    def health(self) -> dict[str, Any]:
        """Return the daemon's own word."""
        told: dict[str, Any] = json.loads(self.fetch("/health")[1])
        return told

    def read(self, name: str, *, token: str = "") -> subprocess.CompletedProcess[str]:
        """Read a file of the mount, in a process with a session's token if one is given."""
        return self.run(
            ["cat", self.mount / name], environment={"CCO_SESSION": token} if token else None
        )

    def wait_until_ok(self) -> None:
        """Wait until daemon and mount say that they are well."""
        self.machine.wait(lambda: self.cco("daemon status").returncode == 0, "CCO runs")
        assert self.read("health").stdout == "OK\n"

    def write_settings(self, text: str) -> None:
        """Write cco.toml."""
        self.run(f"mkdir -p ~/.config/cco && echo {shlex.quote(text)} >~/.config/cco/cco.toml")

    def use_upstream(self, port: int = OFFLINE_PORT) -> None:
        """Make the offline upstream, or none at another port, the one of this user's CCO."""
        url = f"http://127.0.0.1:{port}"
        self.write_settings(f'[[upstream]]\nname = "offline"\nbase_url = "{url}"')

    def start(self) -> None:
        """Start this user's CCO with the offline upstream, and wait until it serves."""
        self.use_upstream()
        self.systemctl("start cco")
        self.wait_until_ok()

    def launch(self, words: str = "") -> Session:
        """Become a session: `cco run` with `CLAUDE`, in a unit of its own."""
        self.run("rm -f ~/launched")
        self.run(f"systemd-run --user --quiet --unit=session cco run -- {words}", check=True)
        home = self.machine.root / self.home.relative_to("/")
        self.machine.wait((home / "launched").exists, "a launch")
        block = (home / "launched").read_text().split("\0")[:-1]
        argv = (home / "launched-argv").read_text().split("\0")[:-1]
        environment = dict(line.split("=", 1) for line in block)
        shown = self.machine.show("session.service", user=self.name)
        return Session(environment, argv, int(shown["MainPID"]))

    def clear(self) -> None:
        """Take everything down, and remove what it has written."""
        self.run(
            "systemctl --user stop session.service;"
            f" systemctl --user stop {' '.join(units.ALL)};"
            " rm -rf ~/.config/cco ~/.config/systemd ~/.local/state/cco ~/launched*;"
            " systemctl --user daemon-reload;"
            f" systemctl --user reset-failed {' '.join(units.ALL)}"
        )


class Chosen(Login):
    """The login that the system's daemon serves."""

    @property
    def runtime(self) -> Path:
        return Path("/run")

    @property
    def journal_fields(self) -> dict[str, str]:
        return {}

    def systemctl(self, words: str) -> str:
        return self.root(f"systemctl --quiet {words}").stdout

    def root(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command as root."""
        return self.machine.run(command, user="root", check=check)

    def clear(self) -> None:
        self.root("cco daemon disable --system; rm -rf /var/lib/cco")
        super().clear()
        self.root(f"systemctl reset-failed {' '.join(units.ALL)}", check=False)


@contextlib.contextmanager
def equipped(machine: Machine) -> Iterator[None]:
    """Give the users of a machine a Claude Code and an upstream, and remove both again."""
    install_claude = "install -m 0755 /dev/stdin /usr/local/bin/claude"
    machine.run(install_claude, user="root", stdin=CLAUDE, check=True)
    try:
        serve_offline(Login(machine, "alice"))
        yield
    finally:
        machine.run("rm /usr/local/bin/claude", user="root", check=True)
        machine.run("systemctl --user stop offline", user="alice")


def serve_offline(login: Login) -> None:
    """Start the offline upstream as a unit of a user."""
    serve = f"/usr/bin/python3 -I -m cco.offline --port {OFFLINE_PORT}"
    login.run(f"systemd-run --user --quiet --unit=offline {serve}", check=True)
    url = f"http://127.0.0.1:{OFFLINE_PORT}/v1/models"
    login.machine.wait(lambda: login.fetch(url)[0] == 200, "the upstream")


@contextlib.contextmanager
def login(machine: Machine, name: str) -> Iterator[Login]:
    """Give a user with no CCO running; fail if theirs leaves unexpected lines in the journal."""
    with _watched(Login(machine, name)) as user:
        yield user


@contextlib.contextmanager
def chosen(machine: Machine, name: str) -> Iterator[Chosen]:
    """Do the same for the login that the system's daemon is made to serve, but not started for."""
    with _watched(Chosen(machine, name)) as user:
        user.root(f"cco daemon enable --system --user {name}")
        yield user


_AnyLogin = TypeVar("_AnyLogin", bound=Login)


@contextlib.contextmanager
def _watched(user: _AnyLogin) -> Iterator[_AnyLogin]:
    user.clear()
    with journal_read(user):
        yield user
        user.clear()


@contextlib.contextmanager
def journal_read(user: Login) -> Iterator[None]:
    """Read the journal when it is over; fail if there are complaints nobody announced."""
    since = user.machine.cursor()
    yield
    entries = user.machine.journal(since=since, **user.journal_fields)
    lines = [str(entry["MESSAGE"]) for entry in entries if _is_complaint(entry)]
    complaints = [line for line in lines if not _is_expected(line, user.expected)]
    if complaints:
        pytest.fail("in the journal: " + "\n".join(complaints), pytrace=False)


def _is_complaint(entry: Mapping[str, Any]) -> bool:
    """Say whether a line about our units is a warning or worse, or was written past the log."""
    named = {entry.get(f"{name}UNIT") for name in ("", "_SYSTEMD_", "USER_", "_SYSTEMD_USER_")}
    is_raw = entry["_TRANSPORT"] == "stdout"
    return not named.isdisjoint(units.ALL) and (is_raw or int(entry["PRIORITY"]) <= 4)


def _is_expected(line: str, patterns: Sequence[str]) -> bool:
    return any(re.search(pattern, line) for pattern in patterns)
