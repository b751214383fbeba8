# SPDX-License-Identifier: Apache-2.0
"""API keys in a booted machine: which ways lead to the upstream, and where none may be found."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from cco import units
from cco.cli.findings import USER_CREDS_SYSTEMD, version_of
from tests.machine.installed import Chosen, Login, chosen
from tests.machine.machine import Machine

KEY: Final = "sk-ant-test-planted-in-a-credential"
PATTERN: Final = KEY.replace("planted", "[p]lanted")
"""Finds the key, and not the command that looks for it."""
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


@pytest.fixture
def served(machine: Machine, equipment: None) -> Iterator[Chosen]:
    with chosen(machine, "alice") as served:
        yield served


def use(login: Login, credential: str) -> None:
    url = f"http://127.0.0.1:{PORT}"
    login.write_settings(
        f'[[upstream]]\nname = "up"\nbase_url = "{url}"\ncredential = "{credential}"'
    )


def write_key(login: Login, *, mode: str = "600") -> None:
    command = f"mkdir -p .config/cco && cat >.config/cco/up.key && chmod {mode} .config/cco/up.key"
    login.machine.run(command, user=login.name, stdin=KEY, check=True)


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
    write_key(alice)
    use(alice, f"{alice.home}/.config/cco/up.key")
    alice.systemctl("start cco")
    assert key_that_arrives(alice) == KEY
    assert doctors_word(alice)["level"] == "ok"
    assert places_of_the_key(alice, since=since) == [f"{alice.home}/.config/cco/up.key"]


def test_credential_of_a_users_unit_reaches_the_upstream(alice: Login) -> None:
    since = alice.machine.cursor()
    use(alice, "up")
    write_key(alice)
    line = r"[Service]\nLoadCredential=up:%%h/.config/cco/up.key\n"
    drop_in = "~/.config/systemd/user/cco.service.d"
    alice.run(f"mkdir -p {drop_in} && printf '{line}' >{drop_in}/key.conf", check=True)
    alice.systemctl("daemon-reload")
    alice.systemctl("start cco")
    assert key_that_arrives(alice) == KEY
    assert doctors_word(alice)["level"] == "ok"
    assert places_of_the_key(alice, since=since) == [f"{alice.home}/.config/cco/up.key"]


def test_encrypted_credential_of_the_systems_unit_reaches_the_upstream(served: Chosen) -> None:
    since = served.machine.cursor()
    use(served, "up")
    encrypt = ["systemd-creds", "encrypt", "--name=up", "-", "/etc/cco-up.cred"]
    served.machine.run(encrypt, user="root", stdin=KEY, check=True)
    line = r"[Service]\nLoadCredentialEncrypted=up:/etc/cco-up.cred\n"
    drop_in = "/etc/systemd/system/cco.service.d/key.conf"
    try:
        served.root(f"printf '{line}' >{drop_in}; systemctl daemon-reload; systemctl start cco")
        assert key_that_arrives(served) == KEY
        assert "decrypted by systemd alone" in doctors_word(served)["message"]
        assert places_of_the_key(served, since=since) == []
    finally:
        served.root(f"rm {drop_in} /etc/cco-up.cred; systemctl daemon-reload")


def test_file_that_others_may_read_starts_nothing(alice: Login) -> None:
    alice.expected += ["is open to others", GAVE_UP]
    write_key(alice, mode="644")
    use(alice, f"{alice.home}/.config/cco/up.key")
    assert alice.run("systemctl --user start cco").returncode == 1
    found = doctors_word(alice)
    assert (found["level"], found["remedy"]) == (
        "fail",
        f"chmod 600 {alice.home}/.config/cco/up.key",
    )


def test_file_that_systemd_encrypted_for_its_user_reaches_the_upstream_where_it_can(
    alice: Login,
) -> None:
    since = alice.machine.cursor()
    file = f"{alice.home}/.config/cco/up.cred"
    use(alice, f"encrypted:{file}")
    encrypt = ["systemd-creds", "--user", "encrypt", "-", file]
    if alice.machine.run(encrypt, stdin=KEY).returncode != 0:  # systemd 252 knows no --user
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
