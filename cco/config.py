# SPDX-License-Identifier: Apache-2.0
"""The settings: what may be set, what it means, what it is without being set.

`Settings` says what the user wants and nothing else; the classes below are the one description
that `cco config`, the manual page and the tests read. `cco.configfile` reads them from files.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

ENCRYPTED: Final = "encrypted:"
"""In ``credential``, before the path of a file that `systemd-creds --user encrypt` made."""
Check = Callable[[Any], str | None]
"""Says what is wrong with a value ("must be …"), or None."""


def _between(low: float, high: float) -> Check:
    return lambda value: None if low <= value <= high else f"must be from {low:g} to {high:g}"


def _one_of(*allowed: str) -> Check:
    words = ", ".join(allowed)
    return lambda value: None if value in allowed else f"must be one of: {words}"


def _loopback(value: str) -> str | None:
    try:
        return None if ipaddress.ip_address(value).is_loopback else "must be a loopback address"
    except ValueError:
        return "must be a loopback address such as 127.0.0.1"


def _url(value: str) -> str | None:
    try:
        parts = urlsplit(value)
        ok = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets without an address between them, a port above 65535
        ok = False
    ok = ok and not (parts.query or parts.fragment)
    return None if ok else "must be a URL such as https://api.anthropic.com"


def _name(value: str) -> str | None:
    ok = re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value)
    return None if ok else "must be 1 to 64 letters, digits, dots, dashes or underscores"


def _setting(default: Any, check: Check | None = None) -> Any:
    return field(default=default, metadata={"check": check})


@dataclass(frozen=True, slots=True)
class Server:
    """``[server]``: where the daemon listens when no socket unit does it for it."""

    host: str = _setting("127.0.0.1", _loopback)
    """Address of the HTTP listener; loopback only."""
    port: int = _setting(3000, _between(0, 65535))
    """Port of the HTTP listener; 0 takes a free one."""
    threads: int = _setting(256, _between(4, 4096))
    """Requests to models, streams included, that are served at once; beside them all others are."""


@dataclass(frozen=True, slots=True)
class Vfs:
    """``[vfs]``: the mount."""

    mount: str = _setting("", lambda v: None if v in ("",) or v[0] == "/" else "must be absolute")
    """Mount point; empty takes the usual one."""
    access: str = _setting("session", _one_of("session", "owner"))
    """Who may read the unsealed files: processes of a session, or any of the owner's."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """``[[upstream]]``: a provider of the Messages API."""

    name: str = _setting("anthropic", _name)
    """Shown in statistics and in the header x-cco-upstream."""
    base_url: str = _setting("https://api.anthropic.com", _url)
    """Requests go to this URL with the client's path behind it."""
    weight: int = _setting(1, _between(1, 1000))
    """Share of the sessions among upstreams of one priority."""
    priority: int = _setting(0, _between(0, 1000))
    """Lower is preferred; others are used when it is out."""
    credential: str = _setting("")
    """systemd credential, 0600 file or encrypted:FILE; empty passes the client's own through."""
    family: str = _setting("anthropic", _name)
    """Failover stays within a family; sessions go to that of the most preferred upstream."""
    ca_file: str = _setting("")
    """Certificates to trust instead of the system's, in PEM."""
    connect_timeout_s: float = _setting(10.0, _between(0.1, 300))
    """Longest wait for a connection, in seconds."""
    read_timeout_s: float = _setting(600.0, _between(0.1, 3600))
    """Longest silence of the upstream, in seconds."""


@dataclass(frozen=True, slots=True)
class Cache:
    """``[cache]``: the response cache."""

    enabled: bool = _setting(default=True)
    """Whether answers are kept at all."""
    max_bytes: int = _setting(67_108_864, _between(0, 2**34))
    """Bytes kept in memory."""
    ttl_s: int = _setting(3600, _between(0, 86400 * 7))
    """Seconds that an answer is kept."""
    messages: str = _setting("retry", _one_of("off", "retry", "exact"))
    """Reuse for conversations: never, only for a lost answer, or for every equal request."""


@dataclass(frozen=True, slots=True)
class Agents:
    """``[agents]``: the team."""

    max_concurrent: int = _setting(10, _between(1, 1000))
    """Invocations that run at once."""
    queue_timeout_s: float = _setting(30.0, _between(0, 3600))
    """Seconds that an invocation waits for its turn."""
    groups: tuple[str, ...] = _setting(("*",))
    """Categories or groups that a session sees; * is all."""
    invoke_timeout_s: float = _setting(600.0, _between(1, 3600))
    """Seconds that one invocation may take."""
    invoke_max_usd: float = _setting(5.0, _between(0, 10000))
    """Money that one invocation may cost at most, in USD."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """``[ledger]``: the record of requests."""

    database: str = _setting("")
    """Path of the SQLite file; empty puts it into the state directory."""
    retention_days: int = _setting(90, _between(1, 3660))
    """Days that rows are kept; roll-ups stay."""
    max_bytes: int = _setting(104_857_600, _between(2**20, 2**40))
    """Size of the database above which the oldest rows go."""
    prices: str = _setting("")
    """Path of a price file that is merged over the built-in one."""


@dataclass(frozen=True, slots=True)
class Budget:
    """``[[budget]]``: a limit on money."""

    scope: str = _setting("day", _one_of("day", "project", "session"))
    """What is added up: a day, a project, or one launch of cco."""
    usd: float = _setting(20.0, _between(0, 1e9))
    """The limit in USD."""
    action: str = _setting("block", _one_of("warn", "block"))
    """What happens when it is spent."""
    project: str = _setting("")
    """Project that it is for; empty is all."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """``[knowledge]``: facts that survive a compaction."""

    enabled: bool = _setting(default=True)
    """Whether anything is stored or injected."""
    inject_tokens: int = _setting(1500, _between(0, 3000))
    """Tokens of knowledge put into a new or compacted session at most."""


@dataclass(frozen=True, slots=True)
class Tui:
    """``[tui]``: the dashboard."""

    refresh_s: float = _setting(5.0, _between(0.5, 3600))
    """Seconds between two refreshes."""


MODELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "opus": "claude-opus-5-5",
        "sonnet": "claude-sonnet-5-5",
        "haiku": "claude-haiku-5-5",
        "opus-4.1": "claude-opus-4-1",
        "sonnet-4.5": "claude-sonnet-4-5",
        "haiku-4.5": "claude-haiku-4-5",
    }
)
"""``[models]``: what a tier, or the older spelling of one, stands for when CCO itself asks."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set."""

    server: Server = Server()
    vfs: Vfs = Vfs()
    upstream: tuple[Upstream, ...] = (Upstream(),)
    cache: Cache = Cache()
    agents: Agents = Agents()
    models: Mapping[str, str] = field(default_factory=lambda: MODELS)
    ledger: Ledger = Ledger()
    budget: tuple[Budget, ...] = ()
    knowledge: Knowledge = Knowledge()
    tui: Tui = Tui()
