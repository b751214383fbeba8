# SPDX-License-Identifier: Apache-2.0
"""Writes the rows of a view to a file, as JSON or CSV.

A cell that a spreadsheet would take for a formula is given an apostrophe: names come from users.
"""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cco.errors import RequestError

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as they are."""
    return json.dumps(list(rows), indent=2, ensure_ascii=False) + "\n"


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows with a line of names above; members of members have dotted names."""
    flat = [flatten(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in flat)
    return out.getvalue()


def flatten(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a document with the members of its members."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= flatten(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = (
                ", ".join(map(str, value)) if isinstance(value, list) else value
            )
    return found


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value


def write(rows: Sequence[Mapping[str, Any]], name: str, kind: str, *, now: datetime) -> str:
    """Write a file that only the user may read into the working directory; return its name.

    Raises:
        RequestError: it cannot be written.
    """
    text = as_json(rows) if kind == "json" else as_csv(rows)
    path = Path(f"cco-{name.lower()}-{now:%Y%m%d-%H%M%S}.{kind}")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError as exc:
        raise RequestError(
            "export-failed",
            f"{path.absolute()} cannot be written ({exc.strerror})",
            hint="Start the dashboard in a directory of yours",
        ) from exc
    return str(path)
