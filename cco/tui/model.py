# SPDX-License-Identifier: Apache-2.0
"""What the dashboard knows and what was set up in it: plain data, and what changes it.

Pure. Documents are the API's own; nothing in here is computed from them but which requests are new.
Everything has a bound, so a dashboard may stay open for weeks.
"""

import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from cco.errors import CcoError
from cco.tui.feed import Answer, Query
from cco.tui.logs import LogLine
from cco.tui.table import Setup

MAX_REQUESTS: Final = 500
"""Kept and shown; the ledger has them all."""
FIRST_REQUESTS: Final = 200
"""Asked for at the beginning."""
MAX_LOG: Final = 1000

PERIODS: Final = (("today", 0), ("7 days", 7), ("30 days", 30), ("all time", None))
"""Name, and days before midnight; None = everything."""
LEVELS: Final = ("all", "warnings", "errors")
INTERVALS_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)

HEALTH: Final = "/health?fields=status,version,startedAt,vfs,ledger,upstreams,warnings"


@dataclass(slots=True)
class Sheet:
    """Lines over a view, to be read and closed."""

    kind: str
    """``help``, ``details`` or ``state``."""
    row: Mapping[str, Any] | None = None
    """Whose details."""
    top: int = 0
    """Line in the first place."""


class Question(NamedTuple):
    """What is asked before it is done."""

    words: str
    choices: Mapping[str, str]
    """What is done by the key that is pressed; every other key does nothing."""


@dataclass(slots=True)
class Model:
    """One dashboard."""

    version: str = ""
    """Of this program; empty = not to be compared with the daemon's."""
    interval_s: float = 5.0
    project: str = ""
    """The only one that is looked at; empty = all."""
    other_project: str = ""
    """What the key for it changes to."""
    view: int = 0
    setups: dict[str, Setup] = field(default_factory=dict)
    """By the name of the view."""
    period: int = 0
    level: int = 0
    is_paused: bool = False
    documents: dict[str, Any] = field(default_factory=dict)
    """The last answers by name; True where what was told is kept elsewhere."""
    troubles: dict[str, CcoError] = field(default_factory=dict)
    """Questions that the daemon refused to answer."""
    requests: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    """Recent ones by id."""
    last_id: int = 0
    log: deque[LogLine] = field(default_factory=lambda: deque(maxlen=MAX_LOG))
    seen: datetime | None = None
    """When the daemon last answered."""
    away: CcoError | None = None
    """Why it does not answer."""
    is_starting: bool = False
    sheet: Sheet | None = None
    typed: str | None = None
    """The filter while it is being typed."""
    question: Question | None = None
    notice: str = ""
    """Told once, until the next key."""

    def setup(self, name: str) -> Setup:
        """Return what is set up in a view."""
        return self.setups.setdefault(name, Setup())

    def document(self, name: str) -> Any:
        """Return the last answer of a name; an empty one while there is none."""
        return self.documents.get(name) or {}

    def recent(self) -> list[Mapping[str, Any]]:
        """Return the requests that are known, the newest first."""
        return sorted(
            self.requests.values(), key=lambda each: (each["time"], each["id"]), reverse=True
        )

    def take(self, answer: Answer, now: datetime) -> None:
        """Take an answer in."""
        name, error = answer.query.name, answer.error
        if answer.query.target and error and error.code.startswith("daemon-"):
            self.away = error
            return
        if answer.query.target:
            self.away, self.seen = None, now
        if error:
            self.troubles[name] = error
            return
        self.troubles.pop(name, None)
        if answer.document is None:
            return
        if name == "log":
            self.log.extend(answer.document)
            self.documents[name] = True
        elif name == "recent":
            self._take_requests(answer)
        else:
            self._notice_restart(name, answer.document)
            self.documents[name] = answer.document

    def _take_requests(self, answer: Answer) -> None:
        if answer.query.target != self.recent_query().target:
            return  # of another project, or asked for before the daemon came back
        for row in answer.document["recent"]:
            self.requests[row["id"]] = _shared(row)
            self.last_id = max(self.last_id, row["id"])
        for old in sorted(self.requests)[:-MAX_REQUESTS]:
            del self.requests[old]
        self.documents["recent"] = True

    def _notice_restart(self, name: str, document: Mapping[str, Any]) -> None:
        """Begin anew with a daemon that began anew: its ledger may be another one."""
        before = self.documents.get("health")
        if name == "health" and before and before.get("startedAt") != document.get("startedAt"):
            self.forget_requests()

    def forget_requests(self) -> None:
        """Let go of the requests that are known."""
        self.requests.clear()
        self.last_id = 0
        self.documents.pop("recent", None)

    def switch_project(self) -> None:
        """Look at the other project, or at all."""
        self.project, self.other_project = self.other_project, self.project
        self.forget_requests()
        for name in ("today", "activity", "agents"):
            self.documents.pop(name, None)

    def change_interval(self, step: int) -> None:
        """Refresh less or more often."""
        if step > 0:
            later = [each for each in INTERVALS_S if each > self.interval_s]
            self.interval_s = later[0] if later else self.interval_s
        else:
            sooner = [each for each in INTERVALS_S if each < self.interval_s]
            self.interval_s = sooner[-1] if sooner else self.interval_s

    def recent_query(self) -> Query:
        """Return the question for the requests that are not known yet."""
        of_project = quote(self.project, safe="/")
        return Query(
            "recent",
            f"/api/project/stats?project={of_project}&fields=recent&after={self.last_id}"
            f"&limit={FIRST_REQUESTS}",
        )

    def stats_query(self, name: str, fields: str, since: str) -> Query:
        """Return a question for statistics of the project.

        Args:
            name: of the answer.
            fields: that are wanted.
            since: a date; empty = everything.
        """
        bound = f"&since={since}" if since else ""
        of_project = quote(self.project, safe="/")
        return Query(name, f"/api/project/stats?project={of_project}{bound}&fields={fields}")

    def activity_query(self) -> Query:
        """Return the question for the last minutes and hours."""
        return Query("activity", f"/api/activity?project={quote(self.project, safe='/')}")


def _shared(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row that has its texts, names of members above all, in common with other rows.

    Each answer is parsed for itself: of two rows of two answers nothing would be the same.
    """
    return {
        sys.intern(name): sys.intern(value) if isinstance(value, str) else value
        for name, value in row.items()
    }
