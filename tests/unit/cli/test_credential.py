# SPDX-License-Identifier: Apache-2.0
"""Where keys come from: files are real, the unit is a text."""

import os
from pathlib import Path

import pytest

from cco import units
from cco.cli.credential import Sources, find_line
from cco.cli.findings import Finding
from cco.config import Upstream

NEW, OLD = "systemd 257 (257.13)", "systemd 252 (252.39)"


def judged(
    credential: str | Path,
    *,
    systemd: str = NEW,
    manager: units.Manager | None = None,
    **environ: str,
) -> Finding:
    sources = Sources(manager, environ, systemd=systemd, uid=os.getuid())
    [found] = sources.judge([Upstream(name="up", credential=str(credential))])
    return found


def key(path: Path, *, mode: int = 0o600) -> Path:
    path.write_text("sk-ant-test-1")
    path.chmod(mode)
    return path


def test_clients_own_key_is_told_from_its_login() -> None:
    assert "your own login" in judged("").message
    assert "your own ANTHROPIC_API_KEY" in judged("", ANTHROPIC_API_KEY="sk-ant-test-1").message


def test_file_is_good_where_only_its_owner_reads_it(tmp_path: Path) -> None:
    assert judged(key(tmp_path / "k")).level == "ok"
    exposed = judged(key(tmp_path / "open", mode=0o640))
    assert (exposed.code, exposed.remedy) == ("credential-exposed", f"chmod 600 {tmp_path}/open")
    assert judged(tmp_path / "none").code == "no-credential"


@pytest.mark.needs("root")
def test_file_of_somebody_else_is_not_good(tmp_path: Path) -> None:
    os.chown(key(tmp_path / "k"), 4242, -1)
    assert judged(tmp_path / "k").code == "credential-exposed"


def test_encrypted_file_takes_a_systemd_that_can_decrypt_it(tmp_path: Path) -> None:
    told = f"encrypted:{key(tmp_path / 'k', mode=0o644)}"
    assert judged(told).level == "ok"
    assert judged(told, systemd=OLD).code == "credential-encrypted"
    missing = judged(f"encrypted:{tmp_path}/none")
    assert missing.remedy == f"systemd-creds --user encrypt - {tmp_path}/none"


def manager(tmp_path: Path, unit: str) -> units.Manager:
    (tmp_path / "unit").write_text(unit)
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/unit\n")
    program.chmod(0o755)
    return units.Manager("--user", {"PATH": f"{tmp_path}:/usr/bin:/bin"})


@pytest.mark.parametrize(
    ("line", "code", "level"),
    [
        ("LoadCredentialEncrypted=api:/etc/api.cred", "credential", "ok"),
        ("LoadCredential=api", "credential", "ok"),  # from the manager's own
        ("SetCredential=api:sk-ant-test-1", "credential-exposed", "fail"),
        ("LoadCredential=other:/etc/other", "no-credential", "warn"),
        ("", "no-credential", "warn"),
    ],
)
def test_credential_of_systemd_is_known_by_the_unit(
    tmp_path: Path, line: str, code: str, level: str
) -> None:
    found = judged("api", manager=manager(tmp_path, f"[Service]\n{line}\n"))
    assert (found.code, found.level) == (code, level)
    assert "sk-ant" not in f"{found.message} {found.remedy}"


def test_file_that_systemd_loads_is_looked_at(tmp_path: Path) -> None:
    file = key(tmp_path / "k")
    made = manager(tmp_path, f"[Service]\nLoadCredential=api:{file}\n")
    assert judged("api", manager=made).level == "ok"
    file.chmod(0o644)
    assert judged("api", manager=made).code == "credential-exposed"


def test_without_a_manager_nothing_loads_it() -> None:
    found = judged("api")
    assert (found.code, found.remedy) == (
        "no-credential",
        "systemctl --user edit cco.service, LoadCredential=api:/PATH",
    )


def test_later_line_wins_and_names_are_whole() -> None:
    lines = ["Load{}=api2:/x", "Set{}=api:y", "Load{}=api:/w", "# Load{}=api:/z"]
    unit = "\n".join(line.format("Credential") for line in lines)
    assert find_line(unit, "api") == ("LoadCredential", "/w")
    assert find_line(unit, "ap") == ("", "")
