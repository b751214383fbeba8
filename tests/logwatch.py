# SPDX-License-Identifier: Apache-2.0
"""Holds a test to its word about warnings: none is logged that it did not announce."""

import logging
import re


class LogWatch(logging.Handler):
    """Collects records of level WARNING and above from all loggers that propagate.

    Records may come from any thread.
    """

    def __init__(self) -> None:
        super().__init__(level=logging.WARNING)
        self._records: list[logging.LogRecord] = []
        self._expected: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)

    def expect(self, pattern: str) -> None:
        """Announce one or more records whose message matches the regular expression."""
        self._expected.append(pattern)

    def complaints(self) -> list[str]:
        """Return one line for each unannounced record and each announced one that did not come."""
        messages = [record.getMessage() for record in self._records]
        unexpected = [
            f"logged {record.levelname} by {record.name}: {message}"
            for record, message in zip(self._records, messages, strict=True)
            if not any(re.search(pattern, message) for pattern in self._expected)
        ]
        missing = [
            f"expected a warning like {pattern!r}, which was not logged"
            for pattern in self._expected
            if not any(re.search(pattern, message) for message in messages)
        ]
        return unexpected + missing
