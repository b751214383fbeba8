# SPDX-License-Identifier: Apache-2.0
"""A pool whose connections end in the test's hand."""

import socket

from cco.gateway.exchange import Exchange
from cco.gateway.transport import Pool


class Far:
    """The upstream's side of every connection that was opened, in order."""

    def __init__(self) -> None:
        self.ends: list[socket.socket] = []
        self.now = 0.0
        self.pool = Pool(self.dial, monotonic=lambda: self.now)

    def dial(self) -> socket.socket:
        near, far = socket.socketpair()
        far.settimeout(10)
        self.ends.append(far)
        return near

    def begin(self, *, silence_s: float = 10.0) -> Exchange:
        """Begin an exchange over a connection of the pool."""
        return Exchange(self.pool, name="up", silence_s=silence_s)

    def answered(self, data: bytes, *, method: str = "POST", silence_s: float = 10.0) -> Exchange:
        """Return an exchange whose answer has arrived as far as `data` goes."""
        exchange = self.begin(silence_s=silence_s)
        exchange.send(b"HEAD", b"BODY")
        self.ends[-1].sendall(data)
        exchange.read_head(method)
        return exchange

    def hang_up(self) -> None:
        """Let the connection end in good order, from this side."""
        self.ends[-1].shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.pool.close()
        for end in self.ends:
            end.close()
