# SPDX-License-Identifier: Apache-2.0
"""Where each upstream's key comes from, and whether that place is secure; reads no key."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cco import units
from cco.cli.findings import USER_CREDS_SYSTEMD, Finding, Level, good, version_of
from cco.config import ENCRYPTED, Upstream


class Sources:
    """The places that keys can come from.

    Args:
        manager: whose unit may load credentials, None where there is none.
        environ: of the user.
        systemd: what ``systemctl --version`` says.
        uid: of the user.
    """

    def __init__(
        self,
        manager: units.Manager | None,
        environ: Mapping[str, str],
        *,
        systemd: str,
        uid: int,
    ) -> None:
        self._manager = manager
        self._environ = environ
        self._systemd = version_of(systemd)
        self._uid = uid

    def judge(self, upstreams: Sequence[Upstream]) -> Iterator[Finding]:
        """Yield one finding for each upstream's key."""
        for upstream in upstreams:
            yield self._judge(upstream.name, upstream.credential)

    def _judge(self, name: str, told: str) -> Finding:
        whose = f"the key of the upstream {name}"
        if not told:
            given = "ANTHROPIC_API_KEY" if "ANTHROPIC_API_KEY" in self._environ else "login"
            return good(
                "credential", f"{whose} is your own {given}, passed through and kept nowhere"
            )
        if told.startswith(ENCRYPTED):
            return self._encrypted(whose, Path(told.removeprefix(ENCRYPTED)))
        if told.startswith("/"):
            return self._file(whose, Path(told), f"comes from {told}")
        return self._loaded(whose, told)

    def _encrypted(self, whose: str, path: Path) -> Finding:
        remedy = f"systemd-creds --user encrypt - {path}"
        if self._systemd < USER_CREDS_SYSTEMD:
            message = f"{whose} is encrypted for systemd {USER_CREDS_SYSTEMD} or later"
            return Finding("credential-encrypted", Level.FAIL, message, f"Use a 0600 file: {path}")
        if not path.exists():
            return Finding("no-credential", Level.WARN, f"{whose} is not at {path}", remedy)
        return good("credential", f"{whose} is encrypted in {path}; only this login can use it")

    def _file(self, whose: str, path: Path, comes: str) -> Finding:
        try:
            found = path.stat()
        except OSError as error:
            message = f"{whose} is not there: {path} ({error.strerror})"
            return Finding(
                "no-credential", Level.WARN, message, f"install -m 600 /dev/stdin {path}"
            )
        if found.st_uid not in (self._uid, 0):
            message = f"{whose} {comes}, which belongs to another user"
            return Finding(
                "credential-exposed", Level.FAIL, message, f"sudo chown {self._uid} {path}"
            )
        if found.st_mode & 0o077:
            message = f"{whose} {comes}, which others may read"
            return Finding("credential-exposed", Level.FAIL, message, f"chmod 600 {path}")
        return good("credential", f"{whose} {comes}, which only its owner can read")

    def _loaded(self, whose: str, name: str) -> Finding:
        """Judge a credential of systemd by the lines of the daemon's unit."""
        is_system = self._manager is not None and self._manager.scope == "--system"
        unit = (
            self._manager.run("cat", units.SERVICE, check=False)
            if self._manager is not None
            else ""
        )
        setting, source = find_line(unit, name)
        edit = units.edit_command(units.SERVICE, is_system=is_system)
        match setting:
            case "SetCredential":
                message = f"{whose} stands in the unit file, which everybody may read"
                return Finding(
                    "credential-exposed", Level.FAIL, message, f"{edit}, LoadCredential="
                )
            case "LoadCredentialEncrypted" | "SetCredentialEncrypted":
                return good("credential", f"{whose} is encrypted, and decrypted by systemd alone")
            case "LoadCredential" if is_system and not os.access(Path(source).parent, os.X_OK):
                return good("credential", f"{whose} is in {source}, which is closed to this login")
            case "LoadCredential" if source.startswith("/"):
                return self._file(whose, Path(source), f"is loaded by systemd from {source}")
            case "LoadCredential" | "ImportCredential":
                return good("credential", f"{whose} is handed in by systemd")
            case _:
                pass
        message = f"{whose} should be the systemd credential '{name}', which no unit loads"
        return Finding("no-credential", Level.WARN, message, f"{edit}, LoadCredential={name}:/PATH")


def find_line(unit: str, name: str) -> tuple[str, str]:
    """Return the setting that brings a credential, and its source; empty texts for none.

    Args:
        unit: what ``systemctl cat`` shows; a later line wins.
        name: of the credential.
    """
    wanted = re.compile(
        r"^((?:Load|Set)Credential(?:Encrypted)?)=" + re.escape(name) + r"(?::(.*))?$"
    )
    found = ("", "")
    for line in unit.splitlines():
        if line_found := wanted.match(line.strip()):
            found = (line_found[1], line_found[2] or "")
    return found
