# SPDX-License-Identifier: Apache-2.0
"""Opens a socket to an upstream: name, address, proxy, TLS, each with its own error.

Everything here blocks for at most the connection's time-out, but for the system's resolver, which
has time-outs of its own. Whatever is raised, nothing of a request has been sent.
"""

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from cco.errors import RequestError, UpstreamRefused
from cco.gateway.proxies import Proxy
from cco.gateway.wire import MAX_HEAD_BYTES, Head, MalformedError, split_head

_REACH_HINT: Final = "Check the network and the base_url of this upstream"


@dataclass(frozen=True, slots=True)
class Origin:
    """What a base URL names."""

    scheme: str
    """``http`` or ``https``."""
    host: str
    """Without brackets."""
    port: int
    path: str
    """Prefix of every request target, without a slash at its end."""

    @property
    def authority(self) -> str:
        """The value of ``Host``: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @classmethod
    def parse(cls, base_url: str) -> "Origin":
        """Read a base URL.

        Raises:
            RequestError: it is none.
        """
        try:
            parts = urlsplit(base_url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or not host.isascii() or parts.scheme not in _PORTS or parts.query:
            raise RequestError(
                "upstream-invalid",
                "The upstream's base URL cannot be used",
                hint="Give it as https://HOST[:PORT][/PATH]",
            )
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], parts.path.rstrip("/"))


_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Dialer:
    """Opens connections to one origin."""

    name: str
    """The upstream's name, for messages."""
    origin: Origin
    proxy: Proxy | None
    timeout_s: float
    tls: ssl.SSLContext | None
    monotonic: Callable[[], float]

    def dial(self) -> socket.socket:
        """Return a connected socket, ready for the first byte of a request.

        Raises:
            UpstreamRefused: there is no connection; the code says why.
        """
        deadline = self.monotonic() + self.timeout_s
        sock = self._connect(deadline)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self.tls is None:
                return sock
            if self.proxy is not None:
                self._tunnel(sock, self.proxy)
            sock.settimeout(max(0.001, deadline - self.monotonic()))
            return self._wrap(sock, self.tls)
        except BaseException:
            sock.close()
            raise

    def _connect(self, deadline: float) -> socket.socket:
        target = self.proxy or self.origin
        try:
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise self._refused("unresolved", f"{target.host} has no address") from error
        last: OSError | None = None
        for tried, (family, kind, protocol, _, address) in enumerate(found):
            # A share of the time for each address, so that a dead IPv6 route leaves some for IPv4.
            share = (deadline - self.monotonic()) / (len(found) - tried)
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(max(0.001, share))
                sock.connect(address)
            except OSError as error:
                sock.close()
                last = error
            else:
                return sock
        if isinstance(last, TimeoutError):
            told = f"{target.host}:{target.port} did not accept a connection in time"
        else:
            told = f"{target.host}:{target.port} cannot be reached ({_reason(last)})"
        raise self._refused("refused", told) from last

    def _tunnel(self, sock: socket.socket, proxy: Proxy) -> None:
        """Ask the proxy for a tunnel, RFC 9110 section 9.3.6."""
        host = f"[{self.origin.host}]" if ":" in self.origin.host else self.origin.host
        authority = f"{host}:{self.origin.port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        where = f"the proxy {proxy.host}:{proxy.port}"
        try:
            sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
            head = _read_head(sock)
        except (OSError, MalformedError) as error:
            raise self._refused("refused", f"{where} gave no tunnel ({_reason(error)})") from error
        if not 200 <= head.status < 300:
            raise self._refused("refused", f"{where} answered {head.status}")

    def _wrap(self, sock: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
        try:
            return tls.wrap_socket(
                sock, server_hostname=self.origin.host, suppress_ragged_eofs=False
            )
        except (OSError, ValueError) as error:
            raise self._refused("tls", f"TLS failed ({_reason(error)})") from error

    def _refused(self, code: str, why: str) -> UpstreamRefused:
        hint = _REACH_HINT if code != "tls" else "For a private authority, set ca_file"
        return UpstreamRefused(
            f"upstream-{code}", f"No connection to the upstream {self.name}: {why}", hint=hint
        )


def make_tls_context(name: str, ca_file: str) -> ssl.SSLContext:
    """Return what verifies an upstream's certificate.

    Args:
        name: the upstream, for messages.
        ca_file: PEM file of the only authorities to trust; empty trusts the system's.

    Raises:
        UpstreamRefused: the file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:
        raise UpstreamRefused(
            "upstream-tls",
            f"No connection to the upstream {name}: its ca_file cannot be used ({_reason(error)})",
            hint="Set ca_file to a readable PEM file",
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    # A connection that ends without TLS saying so is an answer that was cut: Python hides that
    # twice, here and in `wrap_socket`.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    # On from Python 3.13; it refuses private authorities that the client itself accepts.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _read_head(sock: socket.socket) -> Head:
    data = b""
    while len(data) < MAX_HEAD_BYTES:
        more = sock.recv(4096)
        if not more:
            raise MalformedError("it closed the connection")
        data += more
        if (split := split_head(data)) is not None:
            return split[0]
    raise MalformedError("its header is too long")


def _reason(error: Exception | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return error.reason or "protocol error"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or "no reason given"
