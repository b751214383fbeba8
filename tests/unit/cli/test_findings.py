# SPDX-License-Identifier: Apache-2.0
"""What is thought of what was seen; each table has the good case and every bad one."""

import re
import stat
from pathlib import Path
from typing import Any

import pytest

from cco.cli import findings
from cco.cli.findings import Finding, Level
from cco.cli.parser import build_parser
from cco.errors import Unavailable
from tests.unit.cli.fakes import health

LINGER = "sudo loginctl enable-linger ada"


def shape(found: Finding | None) -> tuple[str, str]:
    assert found is not None
    assert (found.level is Level.OK) == (found.remedy is None)
    assert not found.message.endswith(".")
    for command in re.findall(r"\bcco ([a-z][^;,]*)", found.remedy or ""):  # it can be run
        build_parser().parse_args(command.split())
    return found.code, found.level


def test_error_of_ours_keeps_its_code_and_hint() -> None:
    error = Unavailable("fuse-missing", "/dev/fuse is missing", hint="modprobe fuse")
    assert findings.of_error(error) == Finding(
        "fuse-missing", Level.FAIL, "/dev/fuse is missing", "modprobe fuse"
    )


@pytest.mark.parametrize(
    ("is_systemd", "kernel", "code", "level"),
    [
        (True, "6.1.0-18-amd64", "init", "ok"),
        (False, "6.1.0-18-amd64", "init", "ok"),  # a container
        (False, "5.15.153.1-microsoft-standard-WSL2", "wsl-without-systemd", "warn"),
        (True, "5.15.153.1-microsoft-standard-WSL2", "init", "ok"),
    ],
)
def test_init(is_systemd: bool, kernel: str, code: str, level: str) -> None:
    assert shape(findings.init(is_systemd=is_systemd, kernel=kernel)) == (code, level)


@pytest.mark.parametrize(
    ("told", "number", "code"),
    [
        ("systemd 252 (252.39-1~deb12u2)\n+PAM", 252, "systemd"),
        ("systemd 257 (257.13-1~deb13u1)", 257, "systemd"),
        ("systemd 247 (247.3-7)", 247, "systemd-old"),
        ("", 0, "systemd-old"),
    ],
)
def test_systemd(told: str, number: int, code: str) -> None:
    assert findings.version_of(told) == number
    assert findings.systemd_version(told).code == code


@pytest.mark.parametrize(
    ("changes", "code", "remedy"),
    [
        ({}, "user-manager", None),
        ({"lingers": True, "is_ssh": True}, "user-manager", None),
        ({"has_variable": False}, "user-manager", None),  # su
        ({"is_ssh": True}, "no-linger", LINGER),
        ({"runs": False}, "no-user-manager", LINGER),
        ({"runs": False, "is_ssh": True}, "no-user-manager", LINGER),
    ],
)
def test_user_manager(changes: dict[str, bool], code: str, remedy: str | None) -> None:
    facts = {"runs": True, "is_ssh": False, "lingers": False, "has_variable": True, **changes}
    found = findings.user_manager(name="ada", runtime=Path("/run/user/1"), **facts)
    assert (found.code, found.remedy) == (code, remedy)


def test_units() -> None:
    good = findings.units({"cco.service": "active", "cco.socket": "inactive"}, scope="--user")
    assert shape(good) == ("units", "ok")
    failed = findings.units({"cco.service": "failed", "cco.socket": "active"}, scope="--system")
    assert shape(failed) == ("unit-failed", "fail")
    assert failed.remedy == "cco daemon logs, then: systemctl --system restart cco.service"


def test_versions() -> None:
    assert shape(findings.versions(ours="1.0", daemons="1.0")) == ("version", "ok")
    differs = findings.versions(ours="1.1", daemons="1.0")
    assert (differs.code, differs.remedy) == ("version-differs", "cco daemon restart")


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({}, ["mount:ok", "upstream:ok"]),
        (
            {"vfs": {"mounted": False, "path": "/m", "status": "no /dev/fuse"}},
            ["mount:fail", "upstream:ok"],
        ),
        (
            {"upstreams": [{"name": n, "state": n} for n in ("open", "resting", "no-credential")]},
            [
                "mount:ok",
                "upstream-open:warn",
                "upstream-resting:warn",
                "upstream-no-credential:warn",
            ],
        ),
        (
            {
                "warnings": [
                    {"code": "ledger-degraded", "message": "the disk is full", "hint": "make room"},
                    {"code": "no-memlock", "message": "memory is not locked", "hint": None},
                    {"code": "agent-refused", "message": "told elsewhere", "hint": None},
                ]
            },
            ["mount:ok", "upstream:ok", "ledger-degraded:warn", "no-memlock:warn"],
        ),
    ],
)
def test_health(changes: dict[str, Any], codes: list[str]) -> None:
    found = list(findings.health(health("/m", **changes)))
    assert [":".join(shape(one)) for one in found] == codes


@pytest.mark.parametrize(
    ("now_s", "newest_s", "code"),
    [
        (2000.0, None, "clock"),
        (2000.0, 1999.0, "clock"),
        (2000.0, 2100.0, "clock"),  # another machine's share of the same home
        (2000.0, 9999.0, "clock-skew"),
        (10.0, None, "clock-behind"),  # a machine without a battery
    ],
)
def test_clock(now_s: float, newest_s: float | None, code: str) -> None:
    assert shape(findings.clock(now_s=now_s, built_s=1000.0, newest_s=newest_s))[0] == code


@pytest.mark.parametrize(
    ("required", "have", "codes"),
    [
        ("flask>=2.2", "3.1.2", ["packages"]),
        ("flask>=2.2", "2.10", ["packages"]),
        ("flask>=2.2", "2.1.9", ["package-old"]),
        ("flask>=2.2", None, ["package-missing"]),
        ("systemd-python>=235", None, ["package-missing"]),
        ("sdnotify", "0.3.2", ["packages"]),
        ('pytest>=9; extra == "test"', None, ["packages"]),
    ],
)
def test_packages(required: str, have: str | None, codes: list[str]) -> None:
    name = required.partition(">")[0]
    found = list(findings.packages([required], {name: have}))
    assert [one.code for one in found] == codes
    if codes == ["package-missing"] and name == "systemd-python":
        assert "apt install python3-systemd," in str(found[0].remedy)


@pytest.mark.parametrize(
    ("megabytes", "told"),
    [(5000, ("disk", "ok")), (99, ("disk-full", "warn")), (9, ("disk-full", "fail"))],
)
def test_room(megabytes: int, told: tuple[str, str]) -> None:
    assert shape(findings.room(Path("/s"), free_bytes=megabytes << 20)) == told


FILE, DIRECTORY = stat.S_IFREG, stat.S_IFDIR


@pytest.mark.parametrize(
    ("mode", "owner", "is_private", "code", "remedy"),
    [
        (FILE | 0o600, 1, True, "", ""),
        (FILE | 0o644, 1, False, "", ""),
        (FILE | 0o644, 0, False, "", ""),  # /etc/cco/cco.toml
        (DIRECTORY | 0o700, 1, True, "", ""),
        (FILE | 0o644, 1, True, "exposed-file", "chmod 600 /f"),
        (DIRECTORY | 0o755, 1, True, "exposed-file", "chmod 700 /f"),
        (FILE | 0o664, 1, False, "writable-file", "chmod go-w /f"),
        (FILE | 0o600, 2, False, "foreign-file", "sudo chown -R 1 /f"),
    ],
)
def test_rights(mode: int, owner: int, is_private: bool, code: str, remedy: str) -> None:
    found = findings.rights(Path("/f"), mode=mode, owner=owner, uid=1, is_private=is_private)
    assert ((found.code, found.remedy) if found else ("", "")) == (code, remedy)
