# SPDX-License-Identifier: Apache-2.0
"""The daemon's log, read on from where the last reading ended: the journal, or the file.

Threading: a reader belongs to one thread.
"""

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from cco.errors import Unavailable

FIRST_LINES: Final = 300
"""Read at the beginning."""
MAX_BYTES: Final = 256 * 1024
"""Of the file, in one reading; what is older is left out."""
WAIT_S: Final = 10.0

_LINE: Final = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\S+) (?P<level>[A-Z]+) (?P<logger>[\w.]+): (?P<message>.*)",
    re.DOTALL,
)
_PRIORITIES: Final = ("CRITICAL",) * 3 + ("ERROR", "WARNING", "INFO", "INFO", "DEBUG")
"""Level by syslog's number."""


class LogLine(NamedTuple):
    """One line."""

    number: int
    """Counts up from 1; it tells equal lines apart."""
    time: str
    """RFC 3339; empty for a line that goes on with the one before."""
    level: str
    logger: str
    message: str


class LogReader(Protocol):
    """Where the log is read from."""

    def read(self) -> list[LogLine]:
        """Return what is new.

        Raises:
            Unavailable: there is no log to be read.
        """


class LogFile:
    """Reads ``cco.log``, also across the change to a new file.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._offset = 0
        self._number = 0
        self._level = "INFO"

    def read(self) -> list[LogLine]:
        """Return what is new; of a line that is not whole yet nothing."""
        try:
            with self._path.open("rb") as file:
                return self._read(os.fstat(file.fileno()), file)
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise Unavailable(
                "no-log",
                f"{self._path} cannot be read ({exc.strerror})",
                hint="Correct its owner and mode",
            ) from exc

    def _read(self, found: os.stat_result, file: Any) -> list[LogLine]:
        if found.st_ino != self._inode or found.st_size < self._offset:
            self._inode, self._offset = found.st_ino, 0
        is_cut = found.st_size - self._offset > MAX_BYTES
        file.seek(found.st_size - MAX_BYTES if is_cut else self._offset)
        data = file.read(MAX_BYTES)
        whole = data[: data.rfind(b"\n") + 1]
        self._offset = found.st_size - (len(data) - len(whole)) if data else self._offset
        lines = whole.decode(errors="replace").splitlines()[1 if is_cut else 0 :]
        return [self._parse(line) for line in lines[-FIRST_LINES:]]

    def _parse(self, text: str) -> LogLine:
        self._number += 1
        if (told := _LINE.match(text)) is None:
            return LogLine(self._number, "", self._level, "", text)
        self._level = told["level"]
        return LogLine(self._number, told["time"], told["level"], told["logger"], told["message"])


class Journal:
    """Reads the journal of our units through `journalctl`.

    Args:
        command: of the units, without a format.
        environ: in which it finds the user's journal.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._command = [*command, "--output=json", "--no-pager"]
        self._environ = dict(environ)
        self._cursor = ""
        self._number = 0

    def read(self) -> list[LogLine]:
        """Return what is new."""
        place = [f"--after-cursor={self._cursor}"] if self._cursor else []
        command = [*self._command, *place, f"--lines={FIRST_LINES}"]
        try:
            done = subprocess.run(
                command,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=WAIT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise Unavailable(
                "no-journal", f"journalctl does not run ({exc})", hint="Run: cco doctor"
            ) from exc
        if done.returncode != 0 and not done.stdout:
            told = done.stderr.decode(errors="replace").strip().partition("\n")[0]
            raise Unavailable(
                "no-journal", f"the journal cannot be read ({told})", hint="Run: cco doctor"
            )
        return [line for text in done.stdout.splitlines() if (line := self._parse(text))]

    def _parse(self, text: bytes) -> LogLine | None:
        try:
            entry = json.loads(text)
        except ValueError:
            return None
        self._cursor = str(entry.get("__CURSOR", self._cursor))
        self._number += 1
        return LogLine(
            self._number,
            _time(entry),
            _PRIORITIES[_number(entry.get("PRIORITY"), 6, high=7)],
            str(entry.get("LOGGER") or entry.get("SYSLOG_IDENTIFIER") or ""),
            _message(entry.get("MESSAGE")),
        )


def _time(entry: Mapping[str, Any]) -> str:
    micros = _number(entry.get("__REALTIME_TIMESTAMP"), 0, high=2**52)
    moment = datetime.fromtimestamp(micros / 1e6, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(given: object, default: int, *, high: int) -> int:
    with contextlib.suppress(ValueError):
        return min(max(0, int(str(given))), high)
    return default


def _message(given: object) -> str:
    """Return a message; one that is no text comes as the numbers of its bytes, `journalctl(1)`."""
    if isinstance(given, list):
        return bytes(int(each) & 0xFF for each in given).decode(errors="replace")
    return str(given or "")
