# SPDX-License-Identifier: Apache-2.0
"""What one answer used, read from the ``usage`` object that the model provider reports.

Pure. Nothing here raises over what a provider sent: a figure that cannot be used counts as zero
and the usage is marked ``flawed``. The shape that is read, every member optional::

    {"input_tokens": 12, "output_tokens": 34, "cache_read_input_tokens": 5,
     "cache_creation_input_tokens": 100,
     "cache_creation": {"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 60},
     "server_tool_use": {"web_search_requests": 1},
     "service_tier": "standard", "speed": "standard"}

``cache_creation_input_tokens`` is the sum of all cache writes. What the breakdown leaves of it
unexplained, the whole of it where there is no breakdown, was written for five minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

MAX_COUNT: Final = 1_000_000_000
"""A larger count is nonsense (a context window holds a million tokens) and would let a broken
upstream overflow the 64-bit sums of the reports."""

_MAX_LABEL_LENGTH: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Counted tokens and searches of one answer; no count is negative."""

    input: int = 0
    """Input tokens that were neither read from nor written to the prompt cache."""
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    web_searches: int = 0
    service_tier: str = ""
    """As reported: ``standard``, ``priority``, ``batch``; empty where nothing was."""
    speed: str = ""
    """As reported: ``standard``, ``fast``; empty where nothing was."""
    flawed: bool = False
    """Something reported was unusable and counts as zero."""

    @property
    def cache_write(self) -> int:
        """Tokens written to the prompt cache, for five minutes and for an hour."""
        return self.cache_write_5m + self.cache_write_1h

    @property
    def input_side(self) -> int:
        """All tokens that the model was given; the long-context tier goes by them."""
        return self.input + self.cache_read + self.cache_write

    @property
    def total(self) -> int:
        """All tokens: input side and output."""
        return self.input_side + self.output

    @classmethod
    def from_mapping(cls, reported: object) -> Self:
        """Read a ``usage`` object as decoded from JSON; anything but an object is flawed."""
        reader = _Reader()
        usage = reader.section({"usage": reported}, "usage")
        written = reader.count(usage, "cache_creation_input_tokens")
        split = reader.section(usage, "cache_creation")
        write_5m = reader.count(split, "ephemeral_5m_input_tokens")
        write_1h = reader.count(split, "ephemeral_1h_input_tokens")
        tools = reader.section(usage, "server_tool_use")
        return cls(
            input=reader.count(usage, "input_tokens"),
            output=reader.count(usage, "output_tokens"),
            cache_read=reader.count(usage, "cache_read_input_tokens"),
            cache_write_5m=write_5m + max(0, written - write_5m - write_1h),
            cache_write_1h=write_1h,
            web_searches=reader.count(tools, "web_search_requests"),
            service_tier=reader.label(usage, "service_tier"),
            speed=reader.label(usage, "speed"),
            flawed=reader.flawed or reported is None or 0 < written < write_5m + write_1h,
        )

    def merged(self, delta: Self) -> Self:
        """Return this usage (of ``message_start``) brought up to date by one of ``message_delta``.

        As the client does: the later figure stands where it is not zero. Cache writes are one
        figure: a delta tells only their sum, so the hour's share stays and the rest is five
        minutes; taking both fields singly would count the hour's share twice.
        """
        write_5m, write_1h = delta.cache_write_5m, delta.cache_write_1h
        if not delta.cache_write:
            write_5m, write_1h = self.cache_write_5m, self.cache_write_1h
        elif not write_1h:
            write_1h = min(self.cache_write_1h, delta.cache_write)
            write_5m = delta.cache_write - write_1h
        return type(self)(
            input=delta.input or self.input,
            output=delta.output or self.output,
            cache_read=delta.cache_read or self.cache_read,
            cache_write_5m=write_5m,
            cache_write_1h=write_1h,
            web_searches=delta.web_searches or self.web_searches,
            service_tier=delta.service_tier or self.service_tier,
            speed=delta.speed or self.speed,
            flawed=self.flawed or delta.flawed,
        )


class _Reader:
    """Typed access to untrusted JSON that remembers whether anything had to be passed over.

    A member that is absent or null is simply not reported, which is no flaw.
    """

    def __init__(self) -> None:
        self.flawed = False

    def section(self, mapping: Mapping[object, object], key: str) -> Mapping[object, object]:
        value = mapping.get(key)
        if isinstance(value, Mapping):
            return value
        self.flawed |= value is not None
        return {}

    def count(self, mapping: Mapping[object, object], key: str) -> int:
        value = mapping.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        # bool is an int to Python, but no count.
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT:
            return value
        self.flawed |= value is not None
        return 0

    def label(self, mapping: Mapping[object, object], key: str) -> str:
        value = mapping.get(key)
        if isinstance(value, str) and len(value) <= _MAX_LABEL_LENGTH:
            return value
        self.flawed |= value is not None
        return ""
