# SPDX-License-Identifier: Apache-2.0
"""The upstreams: those of the settings, and those that sessions brought along.

Each distinct one has its own connections, certificates and proxy, made when it is first used.

Threading: everything may be called by any thread.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Final

from cco import config
from cco.gateway.dial import Dialer, Origin, make_tls_context
from cco.gateway.exchange import Exchange
from cco.gateway.headers import Fields, upstream_headers
from cco.gateway.proxies import choose_proxy
from cco.gateway.transport import AbandonedError, Pool
from cco.gateway.wire import encode_head

_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods whose requests have a length even where the body is empty, RFC 9110 section 8.6."""


class Upstream:
    """One provider of the Messages API.

    Args:
        settings: what the user said about it.
        environ: where proxies are looked up.
        monotonic: the clock.
        credential: API key in place of the client's own; None passes theirs through.

    Raises:
        RequestError: the base URL cannot be used.
    """

    def __init__(
        self,
        settings: config.Upstream,
        *,
        environ: Mapping[str, str],
        monotonic: Callable[[], float],
        credential: str | None = None,
    ) -> None:
        self.settings: Final = settings
        self._origin = Origin.parse(settings.base_url)
        self._environ = environ
        self._monotonic = monotonic
        self.credential: Final = credential
        """API key in place of the client's own, None for none; not to be shown."""
        self.pool: Final = Pool(lambda: self._dialer.dial(), monotonic=monotonic)

    @property
    def name(self) -> str:
        """Name in statistics and in ``x-cco-upstream``."""
        return self.settings.name

    @property
    def family(self) -> str:
        """What one upstream of it has begun, another can go on with."""
        return self.settings.family

    @property
    def weight(self) -> int:
        """Share of the sessions among upstreams of one priority."""
        return self.settings.weight

    @property
    def priority(self) -> int:
        """Lower is preferred."""
        return self.settings.priority

    @property
    def has_credential(self) -> bool:
        """Requests without a credential get one."""
        return self.credential is not None

    @property
    def lacks_credential(self) -> bool:
        """The key that the settings name is not there; the client's own is not meant for it."""
        return self.credential is None and self.settings.credential != ""

    def encode_head(self, method: str, target: str, fields: Fields, *, length: int) -> bytes:
        """Return the head of a request.

        Args:
            method: as the client sent it.
            target: as the client sent it; it goes behind the base URL's path.
            fields: as the client sent them.
            length: bytes of the body.

        Raises:
            RequestError: they cannot be written as HTTP.
            UpstreamRefused: the proxy, or the file of authorities, cannot be used.
        """
        proxy = self._dialer.proxy
        sent = [("Host", self._origin.authority), *upstream_headers(fields, self.credential)]
        target = self._origin.path + target
        if proxy is not None and self._origin.scheme == "http":  # RFC 9112 3.2.2
            target = f"http://{self._origin.authority}{target}"
            if proxy.authorization:
                sent.append(("Proxy-Authorization", proxy.authorization))
        has_body = length > 0 or method in _WITH_BODY
        return encode_head(method, target, sent, length=length if has_body else None)

    def open(self, client_fd: int | None, *, deadline: float | None = None) -> Exchange:
        """Return a connection for one request, watching client and clock beside it.

        Raises:
            UpstreamRefused: there is none to be had.
            AbandonedError: the deadline has passed, while money was waited for, say.
        """
        if deadline is not None and self._monotonic() >= deadline:
            raise AbandonedError
        silence_s = self.settings.read_timeout_s
        return Exchange(
            self.pool,
            name=self.name,
            silence_s=silence_s,
            client_fd=client_fd,
            deadline=deadline,
        )

    @cached_property
    def _dialer(self) -> Dialer:
        origin, settings = self._origin, self.settings
        is_tls = origin.scheme == "https"
        return Dialer(
            name=settings.name,
            origin=origin,
            proxy=choose_proxy(self._environ, origin.scheme, origin.host, origin.port),
            timeout_s=settings.connect_timeout_s,
            tls=make_tls_context(settings.name, settings.ca_file) if is_tls else None,
            monotonic=self._monotonic,
        )


class Upstreams:
    """All upstreams in use.

    Args:
        settings: those of the user, one or more.
        environ: where proxies are looked up.
        monotonic: the clock.
        keys: of the upstreams that have a credential, by their names.
    """

    def __init__(
        self,
        settings: Sequence[config.Upstream],
        *,
        environ: Mapping[str, str],
        monotonic: Callable[[], float],
        keys: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._environ = environ
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self.configured: Final = [self._make(each, keys.get(each.name)) for each in settings]
        """In the order of the settings."""
        preferred = sorted(self.configured, key=lambda each: each.priority)  # stable
        self._preferred: Final = preferred[0]
        self.candidates: Final = [each for each in preferred if each.family == preferred[0].family]
        """Those that may be chosen; never empty."""
        self._by_url = {_key(each.settings.base_url): each for each in reversed(preferred)}

    def choose(self, base_url: str = "") -> Upstream:
        """Return the upstream of a session's own base URL, else the preferred one.

        Raises:
            RequestError: the base URL cannot be used.
        """
        if not base_url:
            return self._preferred
        key = _key(base_url)
        with self._lock:
            known = self._by_url.get(key)
            if known is None:
                known = self._by_url[key] = self._of_session(base_url)
        return known

    def reap(self) -> None:
        """Close connections that have rested too long."""
        for upstream in self._all():
            upstream.pool.reap()

    def close(self) -> None:
        """Close all that rest, and those in use as they come back."""
        for upstream in self._all():
            upstream.pool.close()

    def _of_session(self, base_url: str) -> Upstream:
        """Make the upstream that a session named: time-outs as configured, nothing secret.

        It is a family of its own.
        """
        preferred = self._preferred.settings
        name = Origin.parse(base_url).authority
        settings = replace(
            preferred, name=name, base_url=base_url, family=base_url, credential="", ca_file=""
        )
        return self._make(settings, None)

    def _make(self, settings: config.Upstream, key: str | None) -> Upstream:
        return Upstream(settings, environ=self._environ, monotonic=self._monotonic, credential=key)

    def _all(self) -> list[Upstream]:
        with self._lock:
            return [*self.configured, *self._by_url.values()]


def _key(base_url: str) -> str:
    return base_url.rstrip("/")
