# SPDX-License-Identifier: Apache-2.0
"""The API keys that upstreams are asked with in place of the client's own.

``credential`` in ``[[upstream]]`` says where a key lies, never the key: an absolute path is a file
that only its owner, who is the daemon's user, can read; ``encrypted:`` and a path is one that
`systemd-creds --user encrypt` made, which a user's unit cannot have decrypted; anything else is the
name of a systemd credential, a file in ``$CREDENTIALS_DIRECTORY`` that systemd guards. Files are
read when settings are, and at no other time.

What cannot be used is an error in the settings. What is not there is none: another upstream may
do, and it may come (`Missing`). Keys are in no message, no log and no ``repr``.
"""

import errno
import hashlib
import os
import re
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from cco import config, units
from cco.errors import ConfigError
from cco.gateway.headers import CREDENTIALS, Index

MAX_KEY_BYTES: Final = 4096
DECRYPT_S: Final = 20.0

_OAUTH: Final = ("sk-ant-oat", "sk-ant-ort")
"""Beginnings of the tokens of a subscription login."""
_NAME: Final = re.compile(r"(?!\.\.?$)[^/\0]{1,255}")
"""What systemd takes for the name of a credential: that of a file."""
_KEY: Final = re.compile(rb"[!-~]+")
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR})


@dataclass(frozen=True, slots=True)
class Missing:
    """A credential that is not there."""

    upstream: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """The keys of all upstreams."""

    keys: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}),
        repr=False,
    )
    """Key of each upstream that has one, by the upstream's name."""
    missing: tuple[Missing, ...] = ()


def load(
    upstreams: Sequence[config.Upstream],
    *,
    environ: Mapping[str, str],
    uid: int,
    is_system: bool = False,
) -> Credentials:
    """Read the keys of all upstreams.

    Args:
        upstreams: of the settings.
        environ: ``CREDENTIALS_DIRECTORY`` is read.
        uid: who must own the files.
        is_system: whether the system's manager has the daemon's units.

    Raises:
        ConfigError: a key cannot be used; the code says why.
    """
    keys: dict[str, str] = {}
    missing: list[Missing] = []
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    for upstream in upstreams:
        if not upstream.credential:
            continue
        source = _Source.find(upstream, directory=directory)
        data = source.read(uid=uid) if source.path else None
        if data is None:
            missing.append(source.missing(units.edit_command(units.SERVICE, is_system=is_system)))
        else:
            keys[upstream.name] = source.parse(data)
    return Credentials(MappingProxyType(keys), tuple(missing))


def digest(named: Index) -> str:
    """Return what stands for the credential that was sent; empty where there was none.

    It tells clients apart and cannot be turned back into a key, but only its beginning is for the
    eyes of others.
    """
    sent = [f"{name}\0{value}" for name in sorted(CREDENTIALS) for value in named.get(name, ())]
    if not sent:
        return ""
    data = "\0".join(sent).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(data, digest_size=16, person=b"cco-credential").hexdigest()


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the key of one upstream lies."""

    upstream: str
    credential: str
    """As the settings name it."""
    path: Path | None
    """None where systemd gave the daemon no credentials."""
    is_guarded: bool
    """systemd sees to it who can read the file."""
    is_encrypted: bool = False
    """Nobody can read the file but through systemd, as its owner on this machine."""

    @classmethod
    def find(cls, upstream: config.Upstream, *, directory: str) -> "_Source":
        """Return where the key of `upstream` lies.

        Raises:
            ConfigError: the setting is neither a path nor a name.
        """
        told = upstream.credential
        if told.startswith("/"):
            return cls(upstream.name, told, Path(told), is_guarded=False)
        if told.startswith(f"{config.ENCRYPTED}/"):
            file = Path(told.removeprefix(config.ENCRYPTED))
            return cls(upstream.name, told, file, is_guarded=True, is_encrypted=True)
        if not _NAME.fullmatch(told):
            raise ConfigError(
                "credential-name",
                f"the credential of the upstream {upstream.name} is neither an absolute path nor"
                " the name of a systemd credential",
                hint='Write credential = "/absolute/path", or the name in LoadCredential=',
            )
        path = Path(directory) / told if directory else None
        return cls(upstream.name, told, path, is_guarded=True)

    def read(self, *, uid: int) -> bytes | None:
        """Return the file's bytes, None if it is not there.

        Raises:
            ConfigError: it cannot be read, or others could.
        """
        assert self.path is not None
        if self.is_encrypted and self.path.exists():
            return _decrypt(self.path, self._told)
        try:
            # O_NONBLOCK: opening a pipe would wait for somebody to write into it.
            number = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                self._check(os.fstat(number), uid=uid)
                return os.read(number, MAX_KEY_BYTES + 1)
            finally:
                os.close(number)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise ConfigError(
                "credential-unreadable",
                self._told(f"cannot be read ({error.strerror})"),
                hint="Correct credential in [[upstream]], or the rights to that file",
            ) from error

    def parse(self, data: bytes) -> str:
        """Return the key that a file holds.

        Raises:
            ConfigError: it is none.
        """
        key = data.strip()
        if len(data) > MAX_KEY_BYTES or not _KEY.fullmatch(key):
            raise ConfigError(
                "credential-invalid",
                self._told("does not hold one line of printable characters without spaces"),
                hint="Put the API key into it, and nothing else",
            )
        text = key.decode("ascii")
        if text.startswith(_OAUTH):
            raise ConfigError(
                "credential-oauth",
                self._told("is the login of a subscription, which is for the client alone"),
                hint="Put an API key into it, or leave credential out: your login passes through",
            )
        return text

    def missing(self, edit: str) -> Missing:
        """Return what to tell where the key is not there; `edit` is how to change the unit."""
        if self.path is None:
            message = f"the daemon was given no systemd credentials, so no '{self.credential}'"
            hint = (
                f"Run: {edit}, add LoadCredential={self.credential}:"
                "/PATH under [Service], then: cco daemon restart"
            )
        elif self.is_encrypted:
            message = f"its file {self.path} is not there"
            hint = f"Run: systemd-creds --user encrypt - {self.path}, then: cco daemon reload"
        elif self.is_guarded:
            message = f"there is no systemd credential '{self.credential}'"
            hint = f"Add LoadCredential={self.credential}:/PATH to cco.service and restart it"
        else:
            message = f"its file {self.path} is not there"
            hint = f"Write the API key to {self.path}, chmod 600 it, then: cco daemon reload"
        return Missing(
            self.upstream, f"the upstream {self.upstream} has no credential: {message}", hint
        )

    def _check(self, found: os.stat_result, *, uid: int) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(
                "credential-unreadable",
                self._told("is not a regular file"),
                hint="Correct credential in [[upstream]]",
            )
        if self.is_guarded:
            return
        if found.st_uid != uid:
            raise ConfigError(
                "credential-exposed",
                self._told("belongs to another user"),
                hint=f"Run: chown {uid} {self.path}",
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise ConfigError(
                "credential-exposed",
                self._told("is open to others"),
                hint=f"Run: chmod 600 {self.path}",
            )

    def _told(self, what: str) -> str:
        return f"the credential {self.path} of the upstream {self.upstream} {what}"


def _decrypt(path: Path, told: Callable[[str], str]) -> bytes:
    """Return what `systemd-creds` makes of an encrypted file; it stays in memory.

    Raises:
        ConfigError: it cannot be decrypted here, by this user, or at all before systemd 256.
    """
    command = ["systemd-creds", "--user", "decrypt", str(path), "-"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=DECRYPT_S, check=False
        )
        if done.returncode == 0:
            return done.stdout
        failure = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        failure = str(error)
    raise ConfigError(
        "credential-encrypted",
        told(f"cannot be decrypted ({failure.splitlines()[0].rstrip('.')})"),
        hint="Encrypt it on this machine, with systemd 256 or later, as this user:"
        f" systemd-creds --user encrypt - {path}",
    )
