# SPDX-License-Identifier: Apache-2.0
"""The keys of sealed files: one master key for the life of the daemon, and one key for each name.

Any thread may use a vault. Nothing of it is ever written down: after a restart there is another
master key, and files that were sealed before stay closed.

Copies that Python makes, plainly: the master key has none (`cco.sealing.custody`). The key of one
file is an ordinary `bytes` for the time of one call, and so are the payload and its gzip member;
their memory is freed, not wiped, and may hold them until it is used again. `AESGCM` keeps that
`bytes`, or a copy in OpenSSL's own memory, until the call ends. Whoever finds the key of one file
can open that file, and learns neither the master key nor the key of another.
"""

import hmac
import os
from types import TracebackType
from typing import Final, Self

from cco.sealing import envelope
from cco.sealing.custody import SecretBytes, Shortfall

_LABEL: Final = b"cco/seal/v1\0"


class Vault:
    """Seals and unseals under a master key that it alone holds, until it is closed."""

    def __init__(self, master: SecretBytes) -> None:
        self._master = master

    @classmethod
    def create(cls) -> Self:
        """Make a vault with a new master key."""
        return cls(SecretBytes(envelope.KEY_BYTES))

    @property
    def shortfalls(self) -> tuple[Shortfall, ...]:
        """Protections of the master key that this machine does not give."""
        return self._master.shortfalls

    def seal(self, name: str, payload: bytes) -> bytes:
        """Return the sealed file of that name; each call gives other bytes.

        The nonce is random. NIST SP 800-38D (8.3) allows 2**32 of them for a key: a file sealed
        anew every second would get there in 136 years.

        Raises:
            SealError: as `envelope.seal`.
            ValueError: the vault is closed.
        """
        nonce = os.urandom(envelope.NONCE_BYTES)
        return envelope.seal(payload, name=name, key=self._key(name), nonce=nonce)

    def unseal(self, name: str, data: bytes) -> bytes:
        """Return the payload of a file that this vault sealed under that name.

        Raises:
            SealError: as `envelope.unseal`.
            ValueError: the vault is closed.
        """
        return envelope.unseal(data, name=name, key=self._key(name))

    def close(self) -> None:
        """Wipe the master key: what was sealed stays closed for ever."""
        self._master.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _key(self, name: str) -> bytes:
        message = _LABEL + envelope.encode_name(name)
        with self._master.lend() as master:
            return hmac.digest(master, message, "sha256")
