# SPDX-License-Identifier: Apache-2.0
"""Which header fields cross the gateway, in either direction.

Both directions are open lists: whatever is not named here passes on with its name, value, order
and number of occurrences. Pure.

Left out on the way to the upstream: `HOP_BY_HOP`, the names that ``Connection`` lists, what the
transport writes itself (``Host``, ``Content-Length``), ``Expect`` (the body is here already, so
the expectation is met), everything of ours (``x-cco-…``), and the client's credential where the
user configured one for this upstream. Nothing is added but that credential.

Left out on the way to the client: `HOP_BY_HOP`, the names that ``Connection`` lists, everything
that claims to be ours. Our own are added by `proxy`: ``x-cco-cache``, ``x-cco-upstream``,
``x-cco-request-id``.
"""

from collections.abc import Iterable, Mapping
from typing import Final

Fields = list[tuple[str, str]]
"""Header fields as received: order and repetitions count."""
Index = Mapping[str, list[str]]
"""The values of each name, for looking up; names are in lower case."""

HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields that belong to one connection: RFC 9110 section 7.6.1, and the proxy fields of 11.7."""

CREDENTIALS: Final = frozenset({"authorization", "x-api-key"})
OWN_PREFIX: Final = "x-cco-"

_NOT_UPSTREAM: Final = HOP_BY_HOP | {"host", "content-length", "expect"}


def index(fields: Iterable[tuple[str, str]]) -> Index:
    """Return the values of each name in lower case."""
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault(name.lower(), []).append(value)
    return found


def first(named: Index, name: str) -> str:
    """Return the first value of a name, or the empty string."""
    return named[name][0] if name in named else ""


def tokens(named: Index, name: str) -> list[str]:
    """Return the members of a comma-separated field, in lower case."""
    if name not in named:
        return []
    return [member for part in ",".join(named[name]).split(",") if (member := part.strip().lower())]


def upstream_headers(fields: Fields, credential: str | None = None) -> Fields:
    """Return the fields that go to the upstream.

    Args:
        fields: as the client sent them.
        credential: API key that replaces the client's own; None passes theirs through.
    """
    dropped = _NOT_UPSTREAM.union(tokens(index(fields), "connection"))
    if credential is not None:
        dropped |= CREDENTIALS
    kept = [
        field
        for field in fields
        if (name := field[0].lower()) not in dropped and not name.startswith(OWN_PREFIX)
    ]
    if credential is not None:
        kept.append(("x-api-key", credential))
    return kept


def client_headers(fields: Fields, named: Index, *, length: int | None) -> Fields:
    """Return the fields that go to the client.

    Args:
        fields: as the upstream sent them.
        named: their index.
        length: bytes that the upstream declared for the body; None removes ``Content-Length``.
    """
    dropped = HOP_BY_HOP.union(tokens(named, "connection"), ("content-length",))
    kept: Fields = []
    for field in fields:
        name = field[0].lower()
        if name == "content-length" and length is not None:
            kept.append((field[0], str(length)))
            length = None  # once, however often it was repeated
        elif name not in dropped and not name.startswith(OWN_PREFIX):
            kept.append(field)
    return kept
