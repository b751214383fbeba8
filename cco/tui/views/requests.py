# SPDX-License-Identifier: Apache-2.0
"""Requests as they are recorded, the newest first; a failed one says so in words."""

from collections.abc import Sequence
from typing import Final

from cco.tui import figures
from cco.tui.feed import Query
from cco.tui.model import MAX_REQUESTS, Model
from cco.tui.table import Column, Look, Row, figure
from cco.tui.text import Line
from cco.tui.views.view import View, members, section


def failed(row: Row) -> bool:
    """Say whether a request failed, as the ledger counts it."""
    return bool(row["status"] == 0 or row["status"] >= 400 or row["error"])


def status(row: Row, look: Look) -> str:
    """Return the status in four characters: 200, 529! for a failure, 200~ for half an answer."""
    del look
    if row["status"] == 0:
        return "none"
    mark = "!" if failed(row) else "~" if row["partial"] else ""
    return f"{row['status']}{mark}"


def _style(row: Row) -> str:
    if failed(row):
        return "bad"
    return "warn" if row["partial"] else ""


def tokens(row: Row) -> int:
    """Return all tokens of a request, as the ledger sums them."""
    return int(
        row["inputTokens"] + row["outputTokens"] + row["cacheReadTokens"] + row["cacheWriteTokens"]
    )


def model_name(row: Row, look: Look) -> str:
    """Return the model without the family's name, which all share."""
    del look
    return str(row["model"]).removeprefix("claude-") or figures.UNKNOWN


def _session(row: Row, look: Look) -> str:
    del look
    return str(row["session"] or row["launch"] or figures.UNKNOWN)


COLUMNS: Final = (
    Column(
        title="time",
        show=lambda row, look: figures.clock(row["time"], look.zone),
        value=lambda row: row["time"],
        low=8,
        high=8,
        falls=True,
    ),
    Column(
        title="session", show=_session, value=lambda row: row["session"], low=7, high=8, is_id=True
    ),
    Column(
        title="agent",
        show=lambda row, _: row["agent"],
        value=lambda row: row["agent"],
        low=11,
        high=28,
    ),
    Column(title="model", show=model_name, value=lambda row: row["model"], low=10, high=20),
    Column(
        title="stat",
        show=status,
        value=lambda row: row["status"],
        style=_style,
        low=4,
        high=4,
        falls=True,
    ),
    Column(
        title="cache",
        show=lambda row, _: "join" if row["cache"] == "coalesced" else row["cache"],
        value=lambda row: row["cache"],
        style=lambda row: "good" if row["cache"] in ("hit", "coalesced") else "",
        low=6,
        high=6,
    ),
    figure("tokens", tokens, figures.count, low=6, high=6),
    figure("cost", lambda row: row["costUsd"], figures.usd, low=7, high=7),
    figure("took", lambda row: row["latencyMs"], figures.took, low=5, high=5),
    figure("first", lambda row: row["ttftMs"], figures.took, low=5, high=5),
    Column(
        title="project",
        show=lambda row, _: row["project"] or figures.UNKNOWN,
        value=lambda row: row["project"],
        low=20,
        keep_end=True,
        drop=2,
    ),
    Column(
        title="upstream",
        show=lambda row, _: row["upstream"] or figures.UNKNOWN,
        value=lambda row: row["upstream"],
        low=10,
        high=20,
        drop=3,
    ),
)


def _queries(model: Model, look: Look) -> Sequence[Query]:
    del look
    return [model.recent_query()]


def _details(row: Row, model: Model, look: Look) -> Sequence[Line]:
    del model
    first: list[Line] = [
        [
            ("title", f"Request {figures.clock(row['time'], look.zone)}  "),
            ("", look.clean(f"{row['agent']}, {row['model']}  ")),
            (_style(row) or "good", status(row, look)),
        ],
        [
            ("", f"{figures.exact_usd(row['costUsd'])}  "),
            ("dim", f"{figures.whole(tokens(row))} tokens, "),
            ("dim", f"took {figures.took(row['latencyMs'])}, "),
            ("dim", f"first byte after {figures.took(row['ttftMs'])}"),
        ],
        [],
    ]
    return [*first, *members(row, look)]


def _head(model: Model, look: Look, columns: int, lines: int) -> Sequence[Line]:
    del lines
    known = len(model.requests) if "recent" in model.documents else None
    bound = " kept here, the latest" if known and known >= MAX_REQUESTS else ""
    told = [("", figures.whole(known)), ("dim", f" known{bound}")]
    return [section("Requests", columns, look, told)]


VIEW: Final = View(
    name="Requests",
    queries=_queries,
    source="recent",
    rows=lambda model: model.recent(),
    key=lambda row: row["id"],
    columns=COLUMNS,
    head=_head,
    empty="no request yet; launch Claude Code with: cco",
    details=_details,
)
