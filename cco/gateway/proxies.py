# SPDX-License-Identifier: Apache-2.0
"""Whether an upstream is reached through a proxy of the environment, and which.

Pure. Read are ``HTTPS_PROXY`` for https and ``HTTP_PROXY`` for http, and ``NO_PROXY``, each in
lower case first: ``*``, names (with their subdomains, leading dot or not), addresses, networks,
each with an optional port, separated by commas. A loopback upstream never goes through a proxy.
"""

import ipaddress
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from cco.errors import UpstreamRefused


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy, spoken to in plain text."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)
    """Value of ``Proxy-Authorization``; empty for none."""


def choose_proxy(environ: Mapping[str, str], scheme: str, host: str, port: int) -> Proxy | None:
    """Return the proxy for an upstream, or None where it is reached directly.

    Raises:
        UpstreamRefused: the proxy's URL cannot be used.
    """
    name = f"{scheme}_proxy"
    url = environ.get(name) or environ.get(name.upper(), "")
    exempt = environ.get("no_proxy") or environ.get("NO_PROXY", "")
    if not url or is_loopback(host) or is_exempt(host, port, exempt):
        return None
    return parse_proxy(url, source=name.upper())


def parse_proxy(url: str, *, source: str) -> Proxy:
    """Read a proxy's URL; a bare ``host:port`` is taken for http.

    Raises:
        UpstreamRefused: it is no URL of an HTTP proxy; not repeated, for it may hold a password.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        parts, host, port = urlsplit(""), None, 0
    if parts.scheme != "http" or not host:
        raise UpstreamRefused(
            "upstream-proxy",
            f"No connection to the upstream: the proxy in {source} cannot be used",
            hint="Give it as http://HOST:PORT",
        )
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {b64encode(pair.encode()).decode()}"
    return Proxy(host, port, authorization)


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine by its very name or address."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback


def is_exempt(host: str, port: int, listed: str) -> bool:
    """Say whether ``NO_PROXY`` names a host."""
    name = host.lower().rstrip(".")
    return any(_names(entry.strip().lower(), name, port) for entry in listed.split(","))


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    base, colon, digits = entry.rpartition(":")
    if colon and digits.isdecimal() and (base.endswith("]") or ":" not in base):
        if int(digits) != port:
            return False
        entry = base
    entry = entry.strip("[]").removeprefix("*").strip(".")
    if not entry:
        return False
    address = _address(host)
    if address is None:
        return host == entry or host.endswith(f".{entry}")
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
