# SPDX-License-Identifier: Apache-2.0
"""The figures of ``GET /metrics``, in the text format of Prometheus.

Money, tokens and requests are the ledger's roll-ups, so they go on over a restart; everything else
is read at the scrape. Labels have few values, whatever clients send: a model is one of the price
list, an agent one of the catalogue, an upstream one of the settings, all others are ``other``.
What cannot be read is left out, and ``cco_ledger_up`` says so.

Only here, and in no other module at import, is prometheus_client named.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cco import __version__
from cco.api.machine import memory_of
from cco.api.services import Services
from cco.errors import StoreError
from cco.gateway.breaker import State
from cco.gateway.circuits import NO_CREDENTIAL
from cco.gateway.limits import Limits
from cco.ledger.pots import NANO
from cco.ledger.sums import Scope, Sums, grouped

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
OTHER: Final = "other"
NOT_IN_CATALOGUE: Final = frozenset({"main", "unattributed"})
"""Names that the ledger gives to what no agent of the catalogue asked for."""
UPSTREAM_STATES: Final = (*State, NO_CREDENTIAL)

_COUNTS: Final = {
    "requests": ("requests", "Requests of clients, hits of the response cache and refusals too"),
    "requests_errors": ("errors", "Requests that ended with an error"),
    "requests_partial": ("partial", "Requests whose answer ended before it was whole"),
    "requests_unpriced": ("unpriced", "Requests whose cost is unknown and not counted"),
    "requests_cache_hits": ("hits", "Requests answered from the response cache"),
    "requests_cache_misses": ("misses", "Requests looked up in the response cache in vain"),
}
"""Figures of the roll-ups that count requests: name of the metric, of the sum, and words."""
_MONEY: Final = {
    "cost_usd": ("cost_nano", "Cost by the price list, in USD"),
    "saved_usd": ("saved_nano", "What answers from the response cache would have cost, in USD"),
    "prompt_cache_saved_usd": ("prompt_saved_nano", "What the provider's cache saved, in USD"),
}
"""Likewise those in nano-dollars."""
_KINDS: Final = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
"""Kinds of tokens, named as in `Sums`."""
_LIMIT_NAME: Final = re.compile(r"[a-z0-9-]{1,64}")
_LIMIT_WORD: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def render(services: Services) -> bytes:
    """Return the whole answer."""
    registry = CollectorRegistry()
    registry.register(_Collected(lambda: _families(services)))
    return generate_latest(registry)


class _Collected(Collector):
    """What the library asks for the metrics."""

    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def describe(self) -> Iterable[Metric]:
        """Return nothing: names need no reading of the ledger."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as of now."""
        return self._families()


def _families(services: Services) -> Iterator[Metric]:
    yield _gauge("build_info", "Always 1", _build(services), "version", "commit")
    yield _gauge("uptime_seconds", "Seconds since the daemon began", services.uptime_s())
    yield _gauge("sessions", "Launches of cco that are alive", len(services.sessions.live()))
    yield _gauge("requests_running", "Requests under way to an upstream", services.running)
    report = services.mounts.report
    is_mounted = report is not None and report.is_serving
    yield _gauge("vfs_mounted", "1 while the mount serves", int(is_mounted))
    yield from _memory(services)
    yield from _ledger(services)
    yield from _cache(services.gateway.cache_stats())
    yield from _upstreams(services.gateway.upstream_states())
    yield from _limits(services)
    yield from _budgets(services)


def _build(services: Services) -> "_Values":
    return [((__version__, services.build.commit), 1)]


def _memory(services: Services) -> Iterator[Metric]:
    memory = memory_of(services.mounts.report)
    for kind, words in (("pss", "shared pages in proportion"), ("rss", "shared pages in full")):
        values = [((name,), found[kind]) for name, found in memory.items() if kind in found]
        yield _gauge(f"memory_{kind}_bytes", f"Memory, {words}", values, "process")


def _ledger(services: Services) -> Iterator[Metric]:
    health = services.store.health()
    yield _gauge("ledger_pending_writes", "Rows that wait to be written", health["pending"])
    yield _counter("ledger_lost_writes", "Rows given up since the start", health["lost"])
    try:
        with services.store.reading() as connection:
            by_model = grouped(connection, Scope(), "model")
            by_agent = grouped(connection, Scope(), "agent")
    except StoreError:
        yield _gauge("ledger_up", "1 while the ledger is read and written", 0)
        return
    is_up = health["status"] == "ok"
    yield _gauge("ledger_up", "1 while the ledger is read and written", int(is_up))
    known = services.prices.resolve
    yield from _sums("", "model", _folded(by_model, lambda name: known(name) or OTHER))
    agents = {agent.name for agent in services.catalog.agents} | NOT_IN_CATALOGUE
    yield from _sums("agent_", "agent", _folded(by_agent, _among(agents)))


def _sums(prefix: str, label: str, found: Mapping[str, Sums]) -> Iterator[Metric]:
    """Yield what the ledger sums up by one label."""
    for name, (figure, words) in _COUNTS.items():
        counts = [((key,), getattr(sums, figure)) for key, sums in found.items()]
        yield _counter(f"{prefix}{name}", f"{words}, by {label}", counts, label)
    for name, (figure, words) in _MONEY.items():
        money = [((key,), getattr(sums, figure) / NANO) for key, sums in found.items()]
        yield _counter(f"{prefix}{name}", f"{words}, by {label}", money, label)
    tokens = [((key, kind), getattr(sums, kind)) for key, sums in found.items() for kind in _KINDS]
    words = f"Tokens as the provider counted them, by {label}"
    yield _counter(f"{prefix}tokens", words, tokens, label, "kind")


def _cache(stats: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield the live figures of the response cache, which begin anew with the daemon."""
    yield _gauge("cache_enabled", "1 if answers are kept", int(stats["enabled"]))
    yield _gauge("cache_entries", "Answers that are kept", stats["entries"])
    yield _gauge("cache_size_bytes", "Memory that they take", stats["sizeBytes"])
    yield _gauge("cache_max_bytes", "Memory that they may take", stats["maxBytes"])
    yield _counter("cache_hits", "Answers from the cache since the start", stats["hits"])
    yield _counter("cache_misses", "Look-ups in vain since the start", stats["misses"])
    words = "Requests since the start that joined an equal one under way"
    yield _counter("cache_coalesced", words, stats["coalesced"])
    yield _counter("cache_evictions", "Answers that had to make room", stats["evictions"])
    yield _counter("cache_saved_usd", "Saved since the start, in USD", stats["savedUsd"])


def _upstreams(states: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    told = list(states)
    values = [
        ((each["name"], str(state)), int(each["state"] == state))
        for each in told
        for state in UPSTREAM_STATES
    ]
    words = "1 for the state that the upstream is in"
    yield _gauge("upstream_state", words, values, "upstream", "state")
    failures = [((each["name"],), each["consecutiveFailures"]) for each in told]
    words = "Failures in a row, until now"
    yield _gauge("upstream_consecutive_failures", words, failures, "upstream")


def _limits(services: Services) -> Iterator[Metric]:
    """Yield what the provider last told about plans; nothing where it told nothing."""
    upstream = _among({each.name for each in services.settings.upstream})
    values, states, ages = [], [], []
    for limits in services.limits.told():
        whose = (limits.credential, upstream(limits.upstream))
        ages.append((whose, limits.age_s(services.limits.now_ns())))
        for name, text in _plain(limits):
            if (number := number_of(text)) is not None:
                values.append(((*whose, name), number))
            elif _LIMIT_WORD.fullmatch(text):
                states.append(((*whose, name, text), 1))
    labels = ("credential", "upstream")
    yield _gauge("plan_limit_age_seconds", "Since the provider told limits", ages, *labels)
    words = "Last value of anthropic-ratelimit-LIMIT; a time in Unix seconds"
    yield _gauge("plan_limit", words, values, *labels, "limit")
    words = "1 for the last value of anthropic-ratelimit-LIMIT that is a word"
    yield _gauge("plan_limit_state", words, states, *labels, "limit", "state")


def _plain(limits: Limits) -> Iterator[tuple[str, str]]:
    return ((name, text) for name, text in limits.values.items() if _LIMIT_NAME.fullmatch(name))


def _budgets(services: Services) -> Iterator[Metric]:
    """Yield how each budget of the settings stands; of several sessions the dearest."""
    dearest = {}
    for state in sorted(services.budgets.states(), key=lambda state: state.spent_nano):
        budget = state.budget
        dearest[str(state.position), budget.scope, budget.project, budget.action] = state
    for name, words in (
        ("spent", "Spent, in USD; of several sessions or projects the one that spent most"),
        ("reserved", "Reserved by requests under way, in USD"),
        ("limit", "The limit, in USD"),
    ):
        values = [(key, getattr(state, f"{name}_nano") / NANO) for key, state in dearest.items()]
        yield _gauge(f"budget_{name}_usd", words, values, "budget", "scope", "project", "action")


def number_of(text: str) -> float | None:
    """Return a header's number, or its RFC 3339 time in Unix seconds; None for another text."""
    try:
        number = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        return moment.timestamp() if moment.tzinfo else None
    return number if math.isfinite(number) else None


def _folded(found: Iterable[tuple[str, Sums]], name_of: Callable[[str], str]) -> dict[str, Sums]:
    """Return sums with those together that have one name."""
    folded: dict[str, Sums] = {}
    for key, sums in found:
        name = name_of(key)
        folded[name] = folded[name].plus(sums) if name in folded else sums
    return folded


def _among(names: Collection[str]) -> Callable[[str], str]:
    return lambda name: name if name in names else OTHER


_Values = Iterable[tuple[tuple[str, ...], float]]
"""Values of the labels, and the figure."""


def _gauge(name: str, words: str, values: float | _Values, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily, name, words, values, labels)


def _counter(name: str, words: str, values: float | _Values, *labels: str) -> Metric:
    return _filled(CounterMetricFamily, name, words, values, labels)


def _filled(
    family: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    words: str,
    values: float | _Values,
    labels: tuple[str, ...],
) -> Metric:
    if isinstance(values, int | float):
        return family(f"cco_{name}", f"{words}.", value=values)
    filled = family(f"cco_{name}", f"{words}.", labels=labels)
    for key, figure in values:
        filled.add_metric(key, figure)
    return filled
