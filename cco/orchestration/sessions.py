# SPDX-License-Identifier: Apache-2.0
"""The launches of `cco` that are alive, across restarts of the daemon.

A session lives as long as the process that the launcher turned into Claude Code. It is held by a
pidfd, so a reused pid is never mistaken for it; across a restart of the daemon the pid is trusted
only with the start time that was stored beside it. The token is stored as its SHA-256.

Threading: all methods may be called from any thread.
"""

import hashlib
import logging
import os
import secrets
import select
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cco.errors import NotFound, RequestError, StoreError
from cco.ledger.rows import SessionRow
from cco.ledger.store import Store

log = logging.getLogger(__name__)

ID_BYTES: Final = 8
TOKEN_BYTES: Final = 32
SAVE_S: Final = 2.0
"""Longest wait until a session is durable; a full disk must not keep anybody from working."""


@dataclass(frozen=True, slots=True)
class Session:
    """One live launch."""

    row: SessionRow
    pidfd: int

    @property
    def id(self) -> str:
        """Name in the gateway's prefix and in statistics; no secret."""
        return self.row.id

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of agents that it chose to see; none: as the settings say."""
        return tuple(self.row.agents.splitlines())

    def is_alive(self) -> bool:
        """Say whether the process is still there."""
        poller = select.poll()
        poller.register(self.pidfd, select.POLLIN)
        return not poller.poll(0)


class Sessions:
    """The registry.

    Args:
        store: where sessions are kept over a restart.
        now_ns: the clock, Unix time in nanoseconds.
    """

    def __init__(self, store: Store, *, now_ns: Callable[[], int]) -> None:
        self._store = store
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._by_id: dict[str, Session] = {}
        self._by_token: dict[str, Session] = {}
        try:
            rows = store.load_sessions()
        except StoreError as error:
            log.warning(
                "earlier sessions cannot be restored: %s", error.message, extra={"CODE": error.code}
            )
            rows = ()
        for row in rows:
            self._restore(row)

    def register(
        self, *, pid: int, cwd: str, project: str, upstream: str, groups: Sequence[str] = ()
    ) -> tuple[Session, str]:
        """Begin a session for a running process; return it with its token.

        Raises:
            RequestError: there is no such process.
        """
        pidfd = _open_pidfd(pid)
        ticks = start_ticks(pid)
        if pidfd is None or ticks is None:
            if pidfd is not None:
                os.close(pidfd)
            raise RequestError(
                "no-such-process",
                f"there is no process {pid} of yours",
                hint="Register a process that runs",
            )
        token = secrets.token_urlsafe(TOKEN_BYTES)
        row = SessionRow(
            id=secrets.token_hex(ID_BYTES),
            token_hash=_hash(token),
            pid=pid,
            start_ticks=ticks,
            project=project,
            cwd=cwd,
            upstream=upstream,
            created_ns=self._now_ns(),
            ended_ns=None,
            agents="\n".join(groups),
        )
        session = Session(row, pidfd)
        # A session that is not durable yet is better than none: only a restart could lose it.
        wait([self._store.save_session(row)], timeout=SAVE_S)
        with self._lock:
            self._by_id[row.id] = session
            self._by_token[row.token_hash] = session
        log.info("a session begins in %s", project, extra=_fields(row))
        return session, token

    def by_id(self, session_id: str) -> Session | None:
        """Return the live session of this id."""
        return self._alive(self._by_id.get(session_id))

    def by_token(self, token: str) -> Session | None:
        """Return the live session that this token opens."""
        return self._alive(self._by_token.get(_hash(token))) if token else None

    def live(self) -> list[Session]:
        """Return all live sessions, oldest first."""
        with self._lock:
            known = sorted(self._by_id.values(), key=lambda session: session.row.created_ns)
        return [session for session in known if self._alive(session)]

    def end(self, session_id: str) -> None:
        """End a session before its process ends.

        Raises:
            NotFound: there is none of this id.
        """
        session = self._by_id.get(session_id)
        if session is None:
            raise NotFound(
                "unknown-session",
                f"there is no session '{session_id}'",
                hint="List them: cco sessions",
            )
        self._forget(session)

    def close(self) -> None:
        """Let go of the processes; the sessions stay in the store."""
        with self._lock:
            for session in self._by_id.values():
                os.close(session.pidfd)
            self._by_id.clear()
            self._by_token.clear()

    def _alive(self, session: Session | None) -> Session | None:
        if session is None:
            return None
        with self._lock:
            if session.id not in self._by_id or session.is_alive():
                return session if session.id in self._by_id else None
        self._forget(session)
        return None

    def _forget(self, session: Session) -> None:
        with self._lock:
            if self._by_id.pop(session.id, None) is None:
                return
            del self._by_token[session.row.token_hash]
            os.close(session.pidfd)
        log.info("a session ends in %s", session.row.project, extra=_fields(session.row))
        self._store.end_session(session.id, self._now_ns())

    def _restore(self, row: SessionRow) -> None:
        pidfd = _open_pidfd(row.pid)
        if pidfd is not None and start_ticks(row.pid) == row.start_ticks:
            session = Session(row, pidfd)
            self._by_id[row.id] = session
            self._by_token[row.token_hash] = session
            return
        if pidfd is not None:
            os.close(pidfd)
        self._store.end_session(row.id, self._now_ns())


def start_ticks(pid: int) -> int | None:
    """Return when a process began, in clock ticks since boot; None if it is gone.

    Source: `proc(5)`, field 22 of ``/proc/PID/stat``; the name before it may hold anything.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def _fields(row: SessionRow) -> dict[str, str]:
    return {"SESSION": row.id, "PROJECT": row.project}


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (OSError, OverflowError):
        return None


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
