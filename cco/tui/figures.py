# SPDX-License-Identifier: Apache-2.0
"""Figures as people read them; what is not known is a dash, never a zero.

Pure. A figure that is shown is the API's, rounded; nothing is computed here but the unit.
"""

from datetime import UTC, datetime, tzinfo
from typing import Final

UNKNOWN: Final = "-"

_CENT: Final = 0.995
_STEPS: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def usd(amount: float | None) -> str:
    """Return money with as many decimals as it needs to be told from nothing."""
    if amount is None:
        return UNKNOWN
    if amount == 0 or amount >= 1000 * _CENT:
        return f"${amount:,.2f}"
    if amount >= _CENT:
        return f"${amount:.2f}"
    return f"${amount:.4f}" if amount >= 0.00005 else "<$0.0001"


def exact_usd(amount: float | None) -> str:
    """Return money to the nano-dollar, as the ledger has it."""
    if amount is None:
        return UNKNOWN
    whole, _, rest = f"{amount:,.9f}".partition(".")
    return f"${whole}.{rest.rstrip('0').ljust(2, '0')}"


def count(number: float | None) -> str:
    """Return a count in at most six characters: 999, 12,345, 1.23M."""
    if number is None:
        return UNKNOWN
    if abs(number) < 99_999.5:
        return f"{number:,.0f}"
    for size, unit in _STEPS:
        if abs(number) >= size:
            scaled = number / size
            digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            return f"{scaled:.{digits}f}{unit}"
    return f"{number:,.0f}"


def whole(number: int | None) -> str:
    """Return a count with all its digits."""
    return UNKNOWN if number is None else f"{number:,}"


def percent(share: float | None) -> str:
    """Return a rate from 0 to 1 as a percentage."""
    return UNKNOWN if share is None else f"{100 * share:.1f}%"


def size(data: float | None) -> str:
    """Return bytes in binary units."""
    if data is None:
        return UNKNOWN
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(data) < 1023.5 or unit == "GiB":
            return f"{data:.0f} {unit}" if unit == "B" or data >= 99.95 else f"{data:.1f} {unit}"
        data /= 1024
    raise AssertionError


def took(milliseconds: float | None) -> str:
    """Return a latency in at most five characters: 87ms, 1.23s, 12.3s, 4m05s."""
    if milliseconds is None:
        return UNKNOWN
    if milliseconds < 999.5:
        return f"{milliseconds:.0f}ms"
    seconds = milliseconds / 1000
    if seconds < 9.995:
        return f"{seconds:.2f}s"
    if seconds < 99.95:
        return f"{seconds:.1f}s"
    return span(seconds)


def span(seconds: float | None) -> str:
    """Return a duration in its two largest units: 12s, 4m05s, 3h20m, 2d04h."""
    if seconds is None:
        return UNKNOWN
    total = max(0, int(seconds))
    if total < 60:
        return f"{total}s"
    if total < 3600:
        return f"{total // 60}m{total % 60:02d}s"
    if total < 86400:
        return f"{total // 3600}h{total // 60 % 60:02d}m"
    return f"{total // 86400}d{total // 3600 % 24:02d}h"


def moment(text: str | None) -> datetime | None:
    """Return a time of the API; None for none."""
    return datetime.fromisoformat(text) if text else None


def clock(text: str | None, zone: tzinfo | None = None) -> str:
    """Return a time of the API as local time of day.

    Args:
        text: RFC 3339.
        zone: None = the machine's.
    """
    found = moment(text)
    return UNKNOWN if found is None else f"{found.astimezone(zone):%H:%M:%S}"


def age_s(text: str | None, now: datetime) -> float | None:
    """Return how long ago a time of the API was, in seconds."""
    found = moment(text)
    return None if found is None else max(0.0, (now.astimezone(UTC) - found).total_seconds())
