# SPDX-License-Identifier: Apache-2.0
"""Reads a TOML file of the catalogue and finds the lines of what is in it; pure."""

import re
import tomllib
from typing import Any, Final

from cco.catalog.problem import Findings

_HEADER: Final = re.compile(r"\s*\[+\s*[\"']?([^\]\"']+?)[\"']?\s*\]")
_AT_LINE: Final = re.compile(r"\(at line (\d+),")


class Tables:
    """A decoded file that remembers its lines."""

    def __init__(self, text: str, findings: Findings) -> None:
        """Decode the text; what is not TOML is a problem, and then there are no tables."""
        self.findings = findings
        self._lines = text.splitlines()
        self.data: dict[str, Any] = {}
        if text.startswith("\ufeff"):
            findings.add(1, "begins with a byte order mark; save it as UTF-8 without one")
            return
        try:
            self.data = tomllib.loads(text)
        except (ValueError, RecursionError) as exc:
            at = _AT_LINE.search(str(exc))
            findings.add(int(at[1]) if at else max(1, len(self._lines)), f"is not TOML: {exc}")

    def line(self, table: str, key: str = "", value: str = "", *, nth: int = 0) -> int:
        """Return the line of a value, else of its key, else of its table, else 1.

        Args:
            table: name in the header.
            key: key in that table.
            value: text that stands at the key or on a line after it.
            nth: which of the tables of that name, from 0.
        """
        wanted = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=") if key else None
        found, seen, inside = 0, -1, False
        for number, line in enumerate(self._lines, start=1):
            if found and wanted is None and value and _holds(line, value):
                return number
            if header := _HEADER.match(line):
                if inside:
                    break
                seen += header[1] == table
                inside = header[1] == table and seen == nth
                found = number if inside else found
            elif inside and wanted is not None and wanted.match(line):
                found, wanted = number, None
                if not value or _holds(line, value):
                    return number
        return found or 1

    def complain(
        self, message: str, table: str, key: str = "", value: str = "", *, nth: int = 0
    ) -> None:
        """Note a problem on the line that `line` tells, which is not looked for in vain."""
        if not self.findings.is_full:
            self.findings.add(self.line(table, key, value, nth=nth), message)


def _holds(line: str, value: str) -> bool:
    return f'"{value}"' in line or f"'{value}'" in line
