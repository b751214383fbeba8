# SPDX-License-Identifier: Apache-2.0
"""The service manager's protocols: readiness, watchdog and inherited sockets.

`cco daemon run` speaks the same protocols to its children, so they cannot tell it from systemd.
"""

from collections.abc import Mapping
from typing import Final

import sdnotify

FIRST_FD: Final = 3
"""Number of the first inherited descriptor, `sd_listen_fds(3)`."""


class Notifier:
    """Tells the service manager how this process is; silent where there is none.

    Args:
        address: value of ``NOTIFY_SOCKET``, or None.
    """

    def __init__(self, address: str | None) -> None:
        self._notifier = _at(address) if address else None

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return self._notifier is not None

    def send(self, text: str) -> None:
        """Send one message of `sd_notify(3)`, such as ``READY=1``; a dead listener is no error."""
        if self._notifier is not None:
            self._notifier.notify(text)

    def close(self) -> None:
        """Let go of the socket; what is sent from now on is lost."""
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()
        self._notifier = None


def _at(address: str) -> sdnotify.SystemdNotifier:
    """Return a notifier that speaks to `address`.

    The library reads the address from the environment at construction; ours was taken out of the
    environment before, so that Gunicorn does not report readiness too early.
    """
    import os  # the one place that must show the library its variable

    before = os.environ.get("NOTIFY_SOCKET")
    os.environ["NOTIFY_SOCKET"] = address
    try:
        return sdnotify.SystemdNotifier()
    finally:
        if before is None:
            del os.environ["NOTIFY_SOCKET"]
        else:
            os.environ["NOTIFY_SOCKET"] = before


def inherited_fds(environ: Mapping[str, str], *, pid: int) -> tuple[int, ...]:
    """Return the descriptors passed by `sd_listen_fds(3)`, none if they are for another process."""
    if environ.get("LISTEN_PID") != str(pid):
        return ()
    count = environ.get("LISTEN_FDS", "0")
    return tuple(range(FIRST_FD, FIRST_FD + int(count))) if count.isdecimal() else ()


def watchdog_s(environ: Mapping[str, str], *, pid: int) -> float:
    """Return the watchdog's limit in seconds, 0.0 where there is none."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return 0.0
    limit_us = environ.get("WATCHDOG_USEC", "0")
    return int(limit_us) / 1e6 if limit_us.isdecimal() else 0.0
