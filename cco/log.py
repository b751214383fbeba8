# SPDX-License-Identifier: Apache-2.0
"""Sets up logging, once per process, by its entry point.

To the journal with fields if stderr is the journal, else to stderr with the time, on a terminal
without. Secrets are blotted out in everything that is written, tracebacks included. Levels by who
must act: ERROR an operator, WARNING worth a look, INFO the life cycle, DEBUG the rest.

Fields of the journal beside those of the library, each only where it is known:

    REQUEST_ID        our id of the request, as in the header ``x-cco-request-id``
    SESSION, PROJECT  the launch of `cco` that it belongs to, and its directory
    AGENT             name of the agent that asked
    CODE              of the error, as the documentation lists them

A warning that is said again within `QUIET_S` is counted instead, and the count told with the next.
Of anything else no more than `FLOOD` lines are written in `SPAN_S`, but for those of DEBUG.
"""

import logging
import os
import re
import threading
import time
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType, TracebackType
from typing import Final, TextIO

QUIET_S: Final = 60.0
"""For so long after a warning the same one is only counted."""
MAX_COUNTED: Final = 256
"""Different warnings that are counted at once."""
FLOOD: Final = 500
"""Lines that a process writes in `SPAN_S` at most; a day has a few."""
SPAN_S: Final = 30.0

_about: ContextVar[Mapping[str, str]] = ContextVar("about", default=MappingProxyType({}))
"""Fields of the request that the current thread serves; empty outside of one."""

_VALUE: Final = r"""['"]?\s*[:=,]\s*b?['"]?"""
"""What stands between a name and its value in ``name: value`` and in every Python literal."""
_SECRETS: Final = re.compile(
    r"(sk-ant-[\w-]{4})[\w-]+"
    rf"|((?i:(?:proxy-)?authorization){_VALUE}\w+\s+)[^\s'\",]+"
    rf"|((?i:(?:proxy-)?authorization|x-api-key|x-cco-session|api_key|auth_token|oauth_token"
    rf"|cco_session){_VALUE}|(?i:bearer)\s+)[\w.~+/=-]{{6,}}"
    r"|(\w://)[^\s/@'\"]+(?=@)"
)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_LEVELS: Final[Mapping[str, int]] = {
    "emerg": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "crit": logging.CRITICAL,
    "err": logging.ERROR,
    "warning": logging.WARNING,
    "notice": logging.INFO,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "0": logging.CRITICAL,
    "1": logging.CRITICAL,
    "2": logging.CRITICAL,
    "3": logging.ERROR,
    "4": logging.WARNING,
    "5": logging.INFO,
    "6": logging.INFO,
    "7": logging.DEBUG,
}
"""Names and numbers of `syslog(3)`, as systemd's own programs take them."""


def begin(request_id: str) -> None:
    """Have all lines of this thread carry the id of the request that it begins to serve."""
    _about.set({"REQUEST_ID": request_id})


def tell_about(**fields: str) -> None:
    """Add what has become known of the request, such as ``SESSION``; empty values say nothing."""
    _about.set({**_about.get(), **{name: value for name, value in fields.items() if value}})


def redact(text: str) -> str:
    """Return `text` with everything that looks like a credential blotted out."""
    return _SECRETS.sub(lambda found: f"{found[found.lastindex or 0]}[redacted]", text)


def setup(environ: Mapping[str, str], *, stream: TextIO, debug: bool = False) -> None:
    """Send the log of this process where it belongs.

    Args:
        environ: ``JOURNAL_STREAM`` and ``SYSTEMD_LOG_LEVEL`` are read.
        stream: standard error.
        debug: show everything, whatever the environment says.
    """
    handler = _journal() if is_journal(environ, stream) else None
    if handler is None:
        handler = logging.StreamHandler(stream)
        shown = "%(levelname)s %(name)s: %(message)s"
        handler.setFormatter(_Formatter(shown if stream.isatty() else f"%(asctime)s {shown}"))
    handler.addFilter(_add_fields)
    handler.addFilter(Repeats())
    handler.addFilter(Flood())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    level = _LEVELS.get(environ.get("SYSTEMD_LOG_LEVEL", ""), logging.INFO)
    root.setLevel(logging.DEBUG if debug else level)


_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class _Formatter(logging.Formatter):
    """Blots out secrets after everything has been put together; times are RFC 3339 UTC."""

    def converter(self, timestamp: float | None) -> time.struct_time:
        return time.gmtime(timestamp)

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        # A path may hold what moves a cursor, or passes for another line of the log.
        record.message = _CONTROL.sub(lambda found: repr(found[0])[1:-1], record.message)
        return super().formatMessage(record)

    def formatException(self, ei: _ExcInfo) -> str:
        return redact(super().formatException(ei))


class Repeats(logging.Filter):
    """Counts warnings that say the same as one a moment ago, so that no outage fills the log."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        """When each was last said, and how often it was not since; the oldest comes first."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is to be written; one after a silence tells what it left out."""
        if record.levelno < logging.WARNING:
            return True
        text = record.getMessage()
        key = (record.name, text)
        with self._lock:
            said_s, left_out = self._said.pop(key, (0.0, 0))
            if 0 <= record.created - said_s < QUIET_S:
                self._said[key] = (said_s, left_out + 1)
                return False
            self._said[key] = (record.created, 0)
            if len(self._said) > MAX_COUNTED:
                del self._said[next(iter(self._said))]
        if left_out:
            _add(record, f"and {left_out} times since the last")
        return True


class Flood(logging.Filter):
    """Cuts off a flood of different lines, and says so.

    `LogRateLimitBurst=` of a unit counts in the system's manager only (tried: systemd 252 and 257),
    and for a file nobody counts.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._since_s = 0.0
        self._count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is to be written; the last one tells that others are not."""
        if record.levelno < logging.INFO:
            return True
        with self._lock:
            left_out = 0
            if not 0 <= record.created - self._since_s < SPAN_S:
                left_out = max(0, self._count - FLOOD)
                self._since_s, self._count = record.created, 0
            self._count += 1
            count = self._count
        if left_out:
            _add(record, f"{left_out} lines before it were left out")
        if count == FLOOD:
            _add(record, f"a flood: what follows within {SPAN_S:.0f} s is left out")
        return count <= FLOOD


def _add(record: logging.LogRecord, words: str) -> None:
    """Add words to what a record says."""
    record.msg, record.args = f"{record.getMessage()} ({words})", None


def is_journal(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Say whether `stream` is the one that systemd connected to the journal, `systemd.exec(5)`."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _journal() -> logging.Handler | None:
    try:
        from systemd.journal import JournalHandler, send
    except ImportError:
        return None

    def send_redacted(message: str, /, **fields: object) -> None:
        # The library adds all that the record holds: arguments and exception, as they are.
        shown = {
            name: value if isinstance(value, int) else redact(str(value))
            for name, value in fields.items()
            if name.isupper() and name not in ("CODE_ARGS", "EXCEPTION_INFO")
        }
        send(message, **shown)

    handler: logging.Handler = JournalHandler(
        SYSLOG_IDENTIFIER="cco", sender_function=send_redacted
    )
    handler.setFormatter(_Formatter("%(message)s"))
    return handler


def _add_fields(record: logging.LogRecord) -> bool:
    """Give the record the journal fields of the request that is served, if one is."""
    for name, value in _about.get().items():
        record.__dict__.setdefault(name, value)
    return True
