# SPDX-License-Identifier: Apache-2.0
"""Which agent a request belongs to.

Claude Code marks a subagent's requests with a fresh id and awaits our SubagentStart hook, which
carries the same id with the agent's type, before the first of them. What was never announced is
`UNATTRIBUTED`, never guessed.

Threading: all methods may be called from any thread.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from cco.errors import StoreError
from cco.ledger.rows import AgentRun
from cco.ledger.store import Store
from cco.orchestration.load import Load

log = logging.getLogger(__name__)

MAIN: Final = "main"
"""The session itself, not one of its subagents."""
UNATTRIBUTED: Final = "unattributed"
MAX_REMEMBERED: Final = 10_000
"""Runs kept in memory; older ones are read from the store."""


class AgentRuns:
    """Joins hook events with request headers.

    Args:
        store: keeps the runs, so that a restart of the daemon loses none.
        now_ns: the clock, Unix time in nanoseconds.
        name_of: turns a plugin agent's type (``cco:chief-architect``) into its catalogue name.
        load: told of the runs under way.
    """

    def __init__(
        self,
        store: Store,
        *,
        now_ns: Callable[[], int],
        name_of: Callable[[str], str],
        load: Load,
    ) -> None:
        self._store = store
        self._now_ns = now_ns
        self._name_of = name_of
        self._load = load
        self._lock = threading.Lock()
        self._names: OrderedDict[tuple[str, str], str] = OrderedDict()

    def started(self, client_session: str, agent_id: str, agent_type: str) -> None:
        """Note that a subagent begins; its requests follow."""
        run = self._run(client_session, agent_id, agent_type)
        self._remember((client_session, agent_id), run.agent)
        self._load.begin((client_session, agent_id), run.agent)
        self._store.save_agent_run(run)

    def ended(self, client_session: str, agent_id: str, agent_type: str) -> str:
        """Note that a subagent has ended; return its name, announced or not."""
        self._load.end((client_session, agent_id))
        run = self._run(client_session, agent_id, agent_type)
        self._store.save_agent_run(replace(run, ended_ns=run.started_ns))
        return run.agent

    def _run(self, client_session: str, agent_id: str, agent_type: str) -> AgentRun:
        """Return a run as of now; the store keeps the earlier of two starts."""
        return AgentRun(
            client_session=client_session,
            agent_id=agent_id,
            agent=self._name_of(agent_type),
            started_ns=self._now_ns(),
        )

    def name(self, client_session: str, agent_id: str) -> str:
        """Return the agent's name for a request's headers; an empty id is the session itself."""
        if not agent_id:
            return MAIN
        key = (client_session, agent_id)
        with self._lock:
            known = self._names.get(key)
        if known is not None:
            return known
        try:
            run = self._store.find_agent_run(client_session, agent_id)
        except StoreError as error:  # a request goes on whatever has become of the ledger
            log.debug("the runs of agents cannot be read: %s", error.message)
            return UNATTRIBUTED
        if run is None:
            return UNATTRIBUTED
        self._remember(key, run.agent)
        return run.agent

    def _remember(self, key: tuple[str, str], name: str) -> None:
        with self._lock:
            self._names[key] = name
            while len(self._names) > MAX_REMEMBERED:
                self._names.popitem(last=False)
