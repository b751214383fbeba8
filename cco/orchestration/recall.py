# SPDX-License-Identifier: Apache-2.0
"""What a session is told of what is known, and what is kept of it; both within bounds.

Claude Code waits for nobody here: a transcript is read to a bound, a database that cannot be used
is as good as an empty one.

Threading: all methods may be called from any thread.
"""

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from cco.config import Knowledge as Settings
from cco.errors import StoreError
from cco.orchestration import transcript
from cco.orchestration.facts import BYTES_PER_TOKEN, MAX_SOURCE, condensed, section, shown
from cco.orchestration.knowledge import Knowledge, Memory, Place
from cco.orchestration.sessions import Session
from cco.orchestration.transcript import Extract

log = logging.getLogger(__name__)

MAX_PLACES: Final = 1_000
"""Sessions of which is known where their transcript is."""
_MAX_SHOWN: Final = 100
"""Facts that are looked at; the cap lets through fewer."""
_TASK_CHARS: Final = 120
_RESULT_CHARS: Final = 480
_MEMORY_SHARE: Final = 2 / 3
"""What is remembered of a session gets so much of the cap, the facts of its project the rest."""

_KNOWN: Final = """
## What is known of this project

Kept by CCO from earlier work (`cco knowledge list`). It may have changed since: check what matters.

"""
_REMEMBERED: Final = "\n## This session before the compaction, as CCO read it from the transcript\n"
_PARTS: Final = (
    ("decisions", "\nDecisions, the oldest first:\n", 0.4),
    ("tasks", "\nOpen tasks:\n", 0.25),
    ("requests", "\nWhat the user asked for, the oldest first:\n", 0.4),
    ("files", "\nFiles changed:\n", 1.0),
)
"""Lists of an extract, the most precious first: heading, and share of the memory at most."""


@dataclass(slots=True)
class _Place:
    """Where the conversation of a launch is written down."""

    client_session: str
    path: Path
    saved_size: int = -1
    """Size of the transcript when it was last read; -1 is never."""


class Recall:
    """Tells and keeps.

    Args:
        knowledge: where it is kept.
        settings: the ``[knowledge]`` settings that hold in a project.
        is_sharing: whether what agents report is kept; rules say so.
        uid: owner of the transcripts that may be read.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        *,
        settings: Callable[[str], Settings],
        is_sharing: Callable[[], bool],
        uid: int,
    ) -> None:
        self._knowledge = knowledge
        self._settings = settings
        self._is_sharing = is_sharing
        self._uid = uid
        self._lock = threading.Lock()
        self._places: OrderedDict[str, _Place] = OrderedDict()

    def at_start(self, session: Session | None, room_bytes: int) -> str:
        """Return what a new session is told, at most `room_bytes`; "" where there is nothing."""
        if session is None:
            return ""
        project = session.row.project
        return self._known(project, min(room_bytes, self._cap_bytes(project)))

    def after_compaction(self, session: Session | None, room_bytes: int) -> str:
        """Return what a compacted session is told again, as above.

        That this is asked for is told by Claude Code, too: where its PreCompact did not arrive,
        what it should have saved is saved now.
        """
        if session is None:
            return ""
        project = session.row.project
        cap_bytes = min(room_bytes, self._cap_bytes(project))
        self._read(session)
        memory = self._memory(session, int(cap_bytes * _MEMORY_SHARE))
        return memory + self._known(project, cap_bytes - len(memory.encode()))

    def note_place(self, session: Session, *, client_session: str, path: str) -> None:
        """Note where a session's conversation is written down, if it has the form of such a place.

        Another conversation of a launch, after ``/clear``, takes the place of its former one.
        """
        found = Path(path)
        if not transcript.is_transcript(found, session=client_session):
            return
        with self._lock:
            known = self._places.get(session.id)
            if known and known.path == found:
                self._places.move_to_end(session.id)
                return
        self._take_place(session, _Place(client_session, found))
        project = session.row.project
        if self._settings(project).enabled:
            try:
                self._knowledge.save_place(Place(session.id, client_session, project, path))
            except (
                StoreError,
                UnicodeEncodeError,
            ):  # only a restart before a compaction would tell
                log.debug("where a conversation lies is not kept")

    def before_compaction(self, session: Session) -> None:
        """Save what a compaction must not take from a session."""
        self._read(session)

    def learned(self, project: str, agent: str, task: str, text: str, *, session: str = "") -> None:
        """Keep what an agent reported, shortened, where rules and settings let it."""
        parts = condensed(task, _TASK_CHARS), condensed(text, _RESULT_CHARS)
        if not (parts[1] and self._is_sharing() and self._settings(project).enabled):
            return
        try:
            self._knowledge.store(
                project=project,
                type_="completion",
                text=": ".join(filter(None, parts)),
                source=condensed(agent, MAX_SOURCE),
                session=session,
            )
        except StoreError as error:
            log.warning("what an agent reported is not kept: %s", error.message)

    def remembered(self, project: str, task: str) -> str:
        """Return what is known for a task, within the cap; "" where there is nothing."""
        return self._known(project, self._cap_bytes(project), task=task).strip()

    def _cap_bytes(self, project: str) -> int:
        settings = self._settings(project)
        return settings.inject_tokens * BYTES_PER_TOKEN if settings.enabled else 0

    def _known(self, project: str, cap_bytes: int, *, task: str = "") -> str:
        if cap_bytes <= len(_KNOWN):
            return ""
        try:
            found = self._knowledge.search(task, project=project, limit=_MAX_SHOWN)
            found += self._knowledge.latest(project=project, limit=_MAX_SHOWN, by_value=True)
        except StoreError as error:
            log.warning("nothing is told of what is known: %s", error.message)
            return ""
        # A fact that was found twice has its first place.
        return section(_KNOWN, dict.fromkeys(map(shown, found)), cap_bytes)

    def _take_place(self, session: Session, place: _Place) -> None:
        with self._lock:
            self._places[session.id] = place
            self._places.move_to_end(session.id)
            while len(self._places) > MAX_PLACES:
                self._places.popitem(last=False)

    def _place(self, session: Session) -> _Place | None:
        """Return where a conversation is, as hooks told this daemon or the one before."""
        with self._lock:
            place = self._places.get(session.id)
        if place is None and (kept := self._knowledge.place(session.id)):
            place = _Place(kept.client_session, Path(kept.path))
            self._take_place(session, place)
        return place

    def _memory(self, session: Session, cap_bytes: int) -> str:
        """Return what was saved of a session, nothing of another conversation."""
        try:
            place = self._place(session)
            memory = self._knowledge.memory(session.id)
        except StoreError as error:
            log.warning("nothing is told of what was saved: %s", error.message)
            return ""
        if memory is None or (place and place.client_session != memory.client_session):
            return ""
        saved = json.loads(memory.text)
        text = ""
        room_bytes = cap_bytes - len(_REMEMBERED)
        for name, head, share in _PARTS:
            lines = [f"- {line}\n" for line in saved.get(name, [])]
            limit_bytes = min(int(cap_bytes * share), room_bytes - len(text.encode()))
            text += section(head, lines, limit_bytes, newest_first=True)
        return _REMEMBERED + text if text else ""

    def _read(self, session: Session) -> None:
        """Read and keep what a session's transcript holds, if it has grown since."""
        project = session.row.project
        if not self._settings(project).enabled:
            return
        try:
            place = self._place(session)
            if place is None or place.saved_size == (size := place.path.stat().st_size):
                return
        except (OSError, ValueError, StoreError):
            return
        extract = transcript.read(place.path, uid=self._uid)
        if extract is None or extract == Extract():
            return
        memory = Memory(
            launch=session.id,
            client_session=place.client_session,
            project=project,
            text=json.dumps(asdict(extract), ensure_ascii=False),
        )
        try:
            self._knowledge.save_memory(memory)
        except StoreError as error:
            log.warning("nothing is kept of a compaction: %s", error.message)
        else:
            place.saved_size = size
