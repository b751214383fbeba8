# SPDX-License-Identifier: Apache-2.0
"""The log where there is no journal: one file, a new one every day, 50 MB in all."""

import contextlib
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import BinaryIO, Final

KEPT: Final = 10
MAX_BYTES: Final = 5 * 1024 * 1024


class LogFile:
    """Appends lines to a file; yesterday's, or a full one, becomes ``NAME.1``.

    Args:
        path: of the current file; its directory is made 0700 if it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = self._open()
        self._day = self._last_written()

    def write(self, data: bytes, *, today: date) -> None:
        """Append `data`; a full disk loses the line, never the daemon."""
        with contextlib.suppress(OSError):
            if today != self._day or self._file.tell() + len(data) > MAX_BYTES:
                self._rotate()
                self._day = today
        with contextlib.suppress(OSError):
            self._file.write(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> BinaryIO:
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return os.fdopen(fd, "ab", buffering=0)

    def _last_written(self) -> date:
        return datetime.fromtimestamp(self._path.stat().st_mtime, UTC).astimezone().date()

    def _rotate(self) -> None:
        names = [self._path, *(Path(f"{self._path}.{nth}") for nth in range(1, KEPT))]
        for old, new in zip(names[-2::-1], names[:0:-1], strict=True):
            if old.exists():
                old.replace(new)
        full, self._file = self._file, self._open()
        full.close()
