# SPDX-License-Identifier: Apache-2.0
"""Serves at a stop what was accepted before it; Gunicorn does so by itself from version 24 on.

Older ones drop a connection that they have accepted and not yet read from: in a restart its client,
who was not refused, gets a reset. Remove this when Debian 13 need not be served any more.
"""

import selectors
import time
from typing import Any, Final

from gunicorn.workers.gthread import ThreadWorker

DRAIN_S: Final = 1.0
"""Seconds that accepted connections have for their request to come."""
_TURN_S: Final = 0.05
"""Longest wait of the accept loop meanwhile."""


class Selector(selectors.DefaultSelector):
    """Waits for events, and not long once it drains."""

    is_draining = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as long as Gunicorn's accept loop says, or for the next look at the drain."""
        return super().select(_TURN_S if self.is_draining else timeout)


class DrainingWorker(ThreadWorker):  # type: ignore[misc]  # Gunicorn has no types
    """Accepts no more after SIGTERM, and ends when it has served what it had accepted."""

    _until: float | None = None

    def run(self) -> None:
        """Serve; the selector is still empty here."""
        self.poller.close()
        self.poller: Any = Selector()
        super().run()

    def handle_exit(self, sig: int, frame: object) -> None:
        """Leave new connections to the next worker; the service manager holds the sockets."""
        if self._until is not None:
            return
        self._until = time.monotonic() + DRAIN_S
        self.poller.is_draining = True
        for sock in self.sockets:
            self.poller.unregister(sock)
        self.cfg.set("keepalive", 0)  # what is answered now says Connection: close

    def notify(self) -> None:
        """Look, at each turn of the accept loop, whether there is anything left to do."""
        super().notify()
        if self._until is None:
            return
        if self.nr_conns <= 0 or time.monotonic() > self._until:
            self.alive = False
