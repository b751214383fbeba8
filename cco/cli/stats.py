# SPDX-License-Identifier: Apache-2.0
"""``cco stats``: cost and tokens of a project or of all, and how fast money goes."""

import argparse
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from cco.cli.commands import serving
from cco.cli.output import bars, show_json, show_table, usd
from cco.cli.run import project_of
from cco.client import Client
from cco.errors import RequestError

_SPAN: Final = re.compile(r"([0-9]{1,6})([dhm])")
_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes"}
_MIN_HOURS: Final = 1 / 60
"""Right after midnight a day is no measure."""


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Show the statistics that were asked for."""
    now = datetime.now().astimezone()
    asked = {"project": str(project_of(Path(arguments.project))) if arguments.project else ""}
    query = {**asked, "since": parse_since(arguments.since, now)} if arguments.since else asked
    client = serving(environ)
    told = client.call("GET", f"/api/project/stats?{urlencode(query)}")
    if arguments.json:
        show_json(told)
        return os.EX_OK
    _show_totals(told, _burn(client, asked, now))
    key = arguments.by
    groups = told[f"by{key.capitalize()}"]
    rows = [
        (
            one[key] or "-",  # of no session
            one["requests"],
            one["errors"],
            one["tokens"]["total"],
            usd(one["costUsd"]),
            bar,
        )
        for one, bar in zip(groups, bars([one["costUsd"] for one in groups]), strict=True)
    ]
    print()
    show_table((key, "requests", "failed", "tokens", "cost", ""), rows)
    return os.EX_OK


def parse_since(text: str, now: datetime) -> str:
    """Return a time, a date or a span before now as the API takes it.

    Args:
        text: RFC 3339, a date, or a number of days, hours or minutes such as ``7d``; what has no
            zone is local.
        now: with its zone.

    Raises:
        RequestError: it is none of them.
    """
    try:
        if span := _SPAN.fullmatch(text):
            moment = now - timedelta(**{_UNITS[span[2]]: int(span[1])})
        else:
            moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError) as exc:
        raise RequestError(
            "bad-time",
            f"'{text}' is not a time",
            hint="Such as 7d, 24h, 30m, 2026-11-22 or 2026-11-22T10:00:00Z",
        ) from exc


def _burn(client: Client, asked: Mapping[str, str], now: datetime) -> str:
    """Return USD per hour, over the last hour and today."""
    midnight = now.replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0).astimezone()
    rates = []
    for words, since in (
        ("over the last hour", now - timedelta(hours=1)),
        ("today", midnight),
    ):
        query = {**asked, "since": since.astimezone(UTC).isoformat(), "fields": "cost"}
        told = client.call("GET", f"/api/project/stats?{urlencode(query)}")
        hours = max((now - since) / timedelta(hours=1), _MIN_HOURS)
        rates.append(f"{usd(told['cost']['totalUsd'] / hours)}/h {words}")
    return ", ".join(rates)


def _show_totals(told: Mapping[str, Any], burn: str) -> None:
    unpriced = told["requests"]["unpriced"]
    note = f" ({unpriced} requests of unknown price not included)" if unpriced else ""
    saved, by_provider = told["cost"]["savedUsd"], told["promptCache"]["savedUsd"]
    tokens = told["tokens"]
    kept = tokens["cacheRead"] + tokens["cacheWrite5m"] + tokens["cacheWrite1h"]
    print(f"cost      {usd(told['cost']['totalUsd'])}{note}")
    print(f"saved     {usd(saved)} by CCO's cache, {usd(by_provider)} by the provider's")
    print(f"burn      {burn}")
    print(
        f"tokens    {tokens['total']}: {tokens['input']} in, {tokens['output']} out,"
        f" {kept} by the provider's cache"
    )
    print(f"requests  {told['requests']['total']}, {told['requests']['errors']} failed")
