# SPDX-License-Identifier: Apache-2.0
"""Unit files as systemd sees them: as a package lays them out for each of the two managers."""

import re
from pathlib import Path

import pytest

from tests.capabilities import ROOT
from tests.lint.tree import check

EXEC = re.compile(r"^(Exec\w+=[-@:+!]*)(/usr/(?:bin|lib|libexec)/cco\S*)", re.MULTILINE)
CHOSEN = "[Service]\nUser=alice\n"
"""What `cco daemon enable --system --user NAME` adds."""


def unit_files() -> dict[Path, str]:
    """Return the unit files as a package lays them out below /usr/lib/systemd, by their paths."""
    found = {}
    for source in sorted((ROOT / "systemd/user").iterdir()):
        for manager in ("user", "system"):
            found[Path(manager, source.name)] = source.read_text()
    for source in sorted((ROOT / "systemd/system").rglob("*.conf")):
        found[source.relative_to(ROOT / "systemd")] = source.read_text()
    return found


@pytest.fixture(params=["user", "system"])
def units(request: pytest.FixtureRequest, tmp_path: Path) -> list[Path]:
    """Lay out the units of a manager, `manager_of` tells which; return the paths."""
    for name, text in unit_files().items():
        if name.parts[0] == request.param:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # The package is not installed here, and verify wants to see the programs.
            path.write_text(EXEC.sub(r"\1/bin/true", text))
    if request.param == "system":
        for unit in ("cco.service", "cco-vfs.service"):
            (tmp_path / f"system/{unit}.d/50-user.conf").write_text(CHOSEN)
    return [path for path in sorted((tmp_path / request.param).iterdir()) if path.is_file()]


def manager_of(units: list[Path]) -> str:
    return f"--{units[0].parent.name}"


@pytest.mark.needs("systemd-analyze")
def test_systemd_accepts_the_units(
    units: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # systemd-analyze --user wants one
    assert len(units) == 4
    output = check(
        "systemd-analyze", manager_of(units), "verify", "--man=no", "--recursive-errors=one", *units
    )
    # What systemd merely ignores, it mentions without an exit status.
    assert [line for line in output.splitlines() if str(tmp_path) in line] == []


@pytest.mark.needs("systemd-analyze")
def test_services_are_no_more_exposed_than_they_were(
    units: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    found = {
        path.name: re.findall(
            r"exposure level for \S+: ([\d.]+)",
            check("systemd-analyze", manager_of(units), "security", "--offline=true", path),
        )
        for path in units
        if path.suffix == ".service"
    }
    # Of ten, the worst; a manager that runs them finds a little less (tests/machine). A mount by a
    # setuid program bears little, see cco-vfs.service.
    assert (
        found
        == {
            "--user": {"cco.service": ["4.8"], "cco-vfs.service": ["9.6"]},
            "--system": {"cco.service": ["1.8"], "cco-vfs.service": ["6.9"]},
        }[manager_of(units)]
    )


@pytest.mark.parametrize(
    "word",
    # Each implies NoNewPrivileges= in a user's manager, or a mount namespace: tried one by one.
    [
        "NoNewPrivileges",
        "PrivateUsers",
        "PrivateDevices",
        "PrivateTmp",
        "PrivateMounts",
        "PrivateIPC",
        "PrivateNetwork",
        "ProtectSystem",
        "ProtectHome",
        "ProtectProc",
        "ProtectKernel",
        "ProtectControlGroups",
        "ProtectClock",
        "ProtectHostname",
        "ProcSubset",
        "ReadOnlyPaths",
        "ReadWritePaths",
        "InaccessiblePaths",
        "BindPaths",
        "BindReadOnlyPaths",
        "TemporaryFileSystem",
        "NoExecPaths",
        "Restrict",
        "LockPersonality",
        "MemoryDenyWriteExecute",
        "SystemCall",
        "SecureBits",
        "DynamicUser",
        "RuntimeDirectory",
    ],
)
def test_nothing_in_the_mounts_unit_breaks_it(word: str) -> None:
    texts = [text for name, text in unit_files().items() if "cco-vfs.service" in str(name)]
    assert len(texts) == 3
    assert not any(re.search(rf"^{word}\w*=", text, re.MULTILINE) for text in texts)
