# SPDX-License-Identifier: Apache-2.0
"""API keys in a booted machine: which ways lead to the upstream, and where none may be found."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from cco import units
from cco.cli.findings import USER_CREDS_SYSTEMD, version_of
from tests.capabilities import ROOT
from tests.machine.installed import Chosen, Login
from tests.machine.machine import Machine

KEY: Final = "sk-ant-test-planted-in-a-credential"
PATTERN: Final = KEY.replace("planted", "[p]lanted")
"""Finds the key, and not the command that looks for it."""
FILE: Final = "/home/alice/.config/cco/company.key"
PORT: Final = 8101

GAVE_UP: Final = r"code=exited|exit-code|Failed to start|exited with code 4|Shutting down|to load"

RECEIVER: Final = f"""
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        told = self.headers["x-api-key"].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", {PORT}), Handler).serve_forever()
"""
"""An upstream that says which key it was given."""


@pytest.fixture(scope="module", autouse=True)
def receiver(machine: Machine, equipment: None) -> Iterator[None]:
    command = ["systemd-run", "--quiet", "--unit=receiver", "python3", "-c", RECEIVER]
    machine.run(command, user="root", check=True)
    yield
    machine.run("systemctl stop receiver", user="root")


def guide(words: str) -> list[str]:
    """Return what a line of the guide has in code, for alice, and for root where it says so."""
    text = (ROOT / "man/howto.md").read_text()
    [line] = [line for line in text.splitlines() if words in line]
    spans = re.findall(r"`([^`]+)`", line)
    return [span.replace("/home/me", "/home/alice").replace("sudo ", "") for span in spans]


YOURS, MACHINES = guide("The directory must be there")
"""Commands that make directories."""


def use(login: Login, setting: str) -> None:
    url = f"http://127.0.0.1:{PORT}"
    login.write_settings(f'[[upstream]]\nname = "up"\nbase_url = "{url}"\n{setting}')


def write_key(login: Login, command: str, *, user: str = "alice") -> None:
    login.machine.run(command, user=user, stdin=KEY, check=True)


def add_line(login: Login, line: str) -> Path:
    """Add a line to the daemon's unit, as `systemctl edit` does; return the file."""
    is_system = isinstance(login, Chosen)
    user = "root" if is_system else login.name
    place = "/etc/systemd/system" if is_system else f"{login.home}/.config/systemd/user"
    file = Path(place, "cco.service.d/key.conf")
    write = f"mkdir -p {file.parent}; cat >{file}"
    login.machine.run(write, user=user, stdin=f"[Service]\n{line}\n", check=True)
    login.systemctl("daemon-reload")
    return file


def key_that_arrives(login: Login) -> str:
    """Return what the upstream is given when a client sends a key of its own."""
    login.wait_until_ok()
    ask = "curl --silent --header 'x-api-key: sk-ant-test-own' localhost:3000/v1/models"
    return login.run(ask, check=True).stdout


def doctors_word(login: Login) -> dict[str, Any]:
    told = json.loads(login.cco("doctor --json").stdout)["findings"]
    [found] = [one for one in told if "the key of the upstream up" in one["message"]]
    return dict(found)


def places_of_the_key(login: Login, *, since: str) -> list[str]:
    """Return where the key stands in the clear: files, environments, units, journal."""
    machine = login.machine
    files = machine.run(f"grep -rls {PATTERN} /etc /home /root /usr/lib/systemd /var", user="root")
    found = files.stdout.splitlines()
    environs = f"grep -ls {PATTERN} $(pgrep -f cco | sed 's|.*|/proc/&/environ|')"
    found += machine.run(environs, user="root").stdout.splitlines()
    shown = login.systemctl(f"show {' '.join(units.ALL)}") + login.systemctl(f"cat {units.SERVICE}")
    found += ["units"] if KEY in shown else []
    found += ["journal"] if KEY in json.dumps(machine.journal(since=since)) else []
    return found


def test_file_reaches_the_upstream(alice: Login) -> None:
    since = alice.machine.cursor()
    command, setting = guide("| any, or none |")
    alice.run(YOURS, check=True)
    write_key(alice, command)
    use(alice, setting)
    alice.systemctl("start cco")
    assert key_that_arrives(alice) == KEY
    assert doctors_word(alice)["level"] == "ok"
    assert places_of_the_key(alice, since=since) == [FILE]


def test_credential_of_a_users_unit_reaches_the_upstream(alice: Login) -> None:
    since = alice.machine.cursor()
    line, _, setting = guide("| 252 or later, by its unit |")
    alice.run(YOURS, check=True)
    write_key(alice, guide("| any, or none |")[0])
    use(alice, setting)
    add_line(alice, line)
    alice.systemctl("start cco")
    assert key_that_arrives(alice) == KEY
    assert doctors_word(alice)["level"] == "ok"
    assert places_of_the_key(alice, since=since) == [FILE]


def test_encrypted_credential_of_the_systems_unit_reaches_the_upstream(elected: Chosen) -> None:
    since = elected.machine.cursor()
    command, line, _, setting = guide("| the system's |")
    use(elected, setting)
    write_key(elected, f"{MACHINES} && {command}", user="root")
    file = add_line(elected, line)
    try:
        elected.systemctl("start cco")
        assert key_that_arrives(elected) == KEY
        assert "decrypted by systemd alone" in doctors_word(elected)["message"]
        assert places_of_the_key(elected, since=since) == []
    finally:
        elected.root(f"rm -r {file} /etc/cco; systemctl daemon-reload")


def test_credential_that_only_root_can_reach_is_no_fault_of_the_login(elected: Chosen) -> None:
    use(elected, 'credential = "up"')
    closed = "install -d -m 700 /etc/credstore && install -m 600 /dev/stdin /etc/credstore/up"
    write_key(elected, closed, user="root")
    file = add_line(elected, "LoadCredential=up:/etc/credstore/up")
    try:
        elected.systemctl("start cco")
        assert key_that_arrives(elected) == KEY
        found = doctors_word(elected)
        assert (found["level"], "closed to this login" in found["message"]) == ("ok", True)
    finally:
        elected.root(f"rm {file} /etc/credstore/up; systemctl daemon-reload")


def test_file_that_others_may_read_starts_nothing(alice: Login) -> None:
    alice.expected += ["is open to others", GAVE_UP]
    command, setting = guide("| any, or none |")
    alice.run(YOURS, check=True)
    write_key(alice, f"{command}; chmod 644 {FILE}")
    use(alice, setting)
    assert alice.run("systemctl --user start cco").returncode == 1
    found = doctors_word(alice)
    assert (found["level"], found["remedy"]) == ("fail", f"chmod 600 {FILE}")


def test_file_that_systemd_encrypted_for_its_user_reaches_the_upstream_where_it_can(
    alice: Login,
) -> None:
    since = alice.machine.cursor()
    command, setting = guide("| 256 or later")
    file = re.findall(r"encrypted:([^\"]+)", setting)[0]
    alice.run(YOURS, check=True)
    use(alice, setting)
    if alice.machine.run(command, stdin=KEY).returncode != 0:  # systemd 252 knows no --user
        alice.expected += ["cannot be decrypted", GAVE_UP]
        alice.run(f"touch {file}", check=True)
        assert alice.run("systemctl --user start cco").returncode == 1
        assert doctors_word(alice)["level"] == "fail"
        assert version_of(alice.run("systemctl --version").stdout) < USER_CREDS_SYSTEMD
        return
    alice.systemctl("start cco")
    assert key_that_arrives(alice) == KEY
    assert doctors_word(alice)["level"] == "ok"
    assert places_of_the_key(alice, since=since) == []
    # Nobody else can use the file, not even with a copy of their own.
    copy = f"install -o bob {file} /home/bob/up.cred"
    alice.machine.run(copy, user="root", check=True)
    stolen = alice.machine.run("systemd-creds --user decrypt up.cred -; rm up.cred", user="bob")
    assert KEY not in stolen.stdout
