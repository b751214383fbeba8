# SPDX-License-Identifier: Apache-2.0
"""The exchanges under way, so that a stop can end them all.

Threading: everything may be called by any thread.
"""

import threading

from cco.errors import CcoError
from cco.gateway.exchange import Exchange
from cco.gateway.transport import AbandonedError


class Running:
    """Knows what is under way, and why nothing more may begin."""

    def __init__(self) -> None:
        self.stop_error: CcoError | None = None
        """Why everything is ended; None while it is not."""
        self._lock = threading.Lock()
        self._exchanges: set[Exchange] = set()

    def __len__(self) -> int:
        """Return how many exchanges are under way."""
        return len(self._exchanges)

    def add(self, exchange: Exchange) -> None:
        """Take an exchange in.

        Raises:
            AbandonedError: everything is being ended; the exchange is in all the same.
        """
        with self._lock:
            self._exchanges.add(exchange)
        if self.stop_error is not None:
            raise AbandonedError

    def remove(self, exchange: Exchange) -> None:
        """Forget an exchange that is over."""
        with self._lock:
            self._exchanges.discard(exchange)

    def stop(self, error: CcoError) -> None:
        """Abort what is under way, and let nothing more begin."""
        self.stop_error = error
        with self._lock:
            exchanges = list(self._exchanges)
        for exchange in exchanges:
            exchange.abort()
