# SPDX-License-Identifier: Apache-2.0
"""The daemon's object graph: built once in the worker, partly again at a reload.

Threading: requests read the attributes while `reload` replaces them; each is replaced as a whole.
"""

import logging
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from cco import __version__, build
from cco.api.access import Guard
from cco.api.mounts import MountLine
from cco.api.published import Published, publish
from cco.catalog import loader
from cco.catalog.loader import Catalog
from cco.config import Knowledge as KnowledgeSettings
from cco.config import Settings
from cco.configfile import Loaded, load, load_project
from cco.errors import CcoError, ConfigError, NotFound
from cco.gateway import credentials
from cco.gateway.balance import Bindings
from cco.gateway.credentials import Credentials
from cco.gateway.limits import PlanLimits
from cco.gateway.places import Places
from cco.gateway.proxy import Gateway
from cco.gateway.reuse import Reuse
from cco.ledger.budgets import Budgets
from cco.ledger.pots import State
from cco.ledger.prices import Prices
from cco.ledger.retention import Retention
from cco.ledger.store import Store
from cco.orchestration.attribution import AgentRuns
from cco.orchestration.hooks import Hooks
from cco.orchestration.invoke import Invoker, Sharing
from cco.orchestration.knowledge import Knowledge
from cco.orchestration.load import Load
from cco.orchestration.recall import Recall
from cco.orchestration.sessions import Session, Sessions
from cco.orchestration.slots import Slots
from cco.orchestration.teams import Team, Teams
from cco.paths import Paths
from cco.sealing.custody import protect_process
from cco.sealing.vault import Vault

log = logging.getLogger(__name__)

DRAIN_S: Final = 8.0
"""Seconds that answers have to end by themselves at a stop; less than Gunicorn's patience."""
HOUSEKEEPING_S: Final = 30.0
NO_URL: Final = "http://127.0.0.1:3000"
"""What hooks would be posted to while there is no HTTP listener: nobody can launch then."""


class Services:
    """Everything that routes need; made in the process that serves.

    Args:
        environ: of the daemon.
        paths: of the daemon.
        http_url: base URL of the HTTP listener, None where there is none.
        uid: of the only user who may call.

    Raises:
        CcoError: settings, catalogue or database cannot be used.
    """

    settings: Settings
    catalog: Catalog
    published: Published
    credentials: Credentials
    prices: Prices
    gateway: Gateway
    invoker: Invoker
    teams: Teams

    def __init__(
        self, environ: Mapping[str, str], *, paths: Paths, http_url: str | None, uid: int
    ) -> None:
        self.environ = environ
        self.paths = paths
        self.http_url = http_url
        self.uid = uid
        self.guard = Guard(uid=uid)
        self._started_s = time.monotonic()
        self.started_ns = time.time_ns()
        self.build = build.read()
        self.mounts = MountLine()
        self._reload_lock = threading.Lock()
        self.reload_error: CcoError | None = None
        """Why the last reload has changed nothing; None where it has."""
        self._retired: list[Gateway] = []
        """Gateways of former settings, as long as answers of theirs are under way."""
        self._bindings = Bindings(time.monotonic)
        self.limits = PlanLimits(time.time_ns)
        self.shortfalls = protect_process()
        self.vault = Vault.create()
        settings = load(environ, config=paths.config).settings
        self._lasting = _lasting(settings)
        self.places = Places(settings.server.threads)
        self._reuse = Reuse(settings.cache, monotonic=time.monotonic)
        self.database = Path(settings.ledger.database or paths.state / "cco.db")
        self.store = Store.open(
            self.database,
            retention=Retention(
                days=settings.ledger.retention_days,
                max_bytes=settings.ledger.max_bytes,
                now_ns=time.time_ns,
            ),
        )
        self.budgets = Budgets(self.store, now=datetime.now)
        self.sessions = Sessions(self.store, now_ns=time.time_ns)
        self.load = Load(time.time_ns)
        self.runs = AgentRuns(
            self.store, now_ns=time.time_ns, name_of=self.agent_name, load=self.load
        )
        self.slots = Slots(monotonic=time.monotonic)
        self.knowledge = Knowledge(self.database.with_name("knowledge.db"), now_ns=time.time_ns)
        self.recall = Recall(
            self.knowledge,
            settings=self.knowledge_settings,
            is_sharing=lambda: self.catalog.rules.knowledge_sharing,
            uid=uid,
        )
        self.hooks = Hooks(
            self.runs,
            self.recall,
            suggest=lambda session, prompt: self.team(session).router.suggest(prompt),
        )
        try:
            self._apply(settings)
        except BaseException:
            self.store.close()
            self.sessions.close()
            self.vault.close()
            raise
        self._preparing: list[threading.Thread] = []
        self._is_closing = threading.Event()
        threading.Thread(target=self._keep_house, name="housekeeping", daemon=True).start()

    def uptime_s(self) -> float:
        """Return how long the worker has been up, in seconds."""
        return time.monotonic() - self._started_s

    @property
    def running(self) -> int:
        """Requests under way, those of former settings too."""
        return sum(one.running for one in (self.gateway, *self._retired))

    @property
    def mount_path(self) -> str:
        """Where the mount is, or would be."""
        return self.settings.vfs.mount or str(self.paths.mount)

    @property
    def needs_restart(self) -> bool:
        """Settings have changed that hold from the next start only."""
        return _lasting(self.settings) != self._lasting

    def reload(self) -> None:
        """Read settings and catalogue again and seal anew; what is broken changes nothing."""
        with self._reload_lock:
            try:
                self._apply(load(self.environ, config=self.paths.config).settings)
            except CcoError as error:
                log.warning("nothing was reloaded: %s", error.message, extra={"CODE": error.code})
                self.reload_error = error
            else:
                self.reload_error = None
                log.info("reloaded: %d agents", len(self.catalog.agents))

    def stop(self) -> None:
        """Let requests that are there be answered for a while, then end them.

        Whoever serves them calls `close` when they are, which ends the wait.
        """
        log.info("stopping")
        self.mounts.stop()
        if not self._is_closing.wait(DRAIN_S):
            for one in (self.gateway, *self._retired):
                one.stop()

    def close(self) -> None:
        """Let go of everything."""
        self._is_closing.set()
        for thread in self._preparing:
            thread.join()
        self.gateway.close()
        self.store.close()
        self.knowledge.close()
        self.sessions.close()
        self.vault.close()

    def _keep_house(self) -> None:
        """Close idle upstream connections and forget sessions that have ended."""
        while not self._is_closing.wait(HOUSEKEEPING_S):
            self.gateway.reap()
            self.sessions.live()

    def prepare(self, session: Session) -> None:
        """Make what a session's first prompt waits for else, beside everything else."""
        self._preparing = [thread for thread in self._preparing if thread.is_alive()]
        prepare = self.team(session).router.prepare
        self._preparing.append(threading.Thread(target=prepare, name="prepare", daemon=True))
        self._preparing[-1].start()

    def team(self, session: Session | None) -> Team:
        """Return what a session sees of the catalogue."""
        return self.teams.of_session(session)

    def agent_name(self, agent_type: str) -> str:
        """Return the catalogue's name for a client's agent type, or the type itself."""
        try:
            return self.catalog.find(agent_type.removeprefix("cco:")).name
        except NotFound:
            return agent_type

    def knowledge_settings(self, project: str) -> KnowledgeSettings:
        """Return what holds in a project; nothing is kept where its own file is broken."""
        try:
            return load_project(Path(project), base=Loaded(self.settings, {})).settings.knowledge
        except ConfigError as error:
            log.debug("no knowledge for a project: %s", error.message)
            return KnowledgeSettings(enabled=False)

    def spent_budgets(self) -> list[State]:
        """Return the budgets of which nothing is left; of sessions, those that are alive."""
        live = {session.id for session in self.sessions.live()}
        return [
            state
            for state in self.budgets.states()
            if state.is_spent and (state.budget.scope != "session" or state.key in live)
        ]

    def health(self) -> str:
        """Return the text of the mount's ``health``: what keeps the daemon from serving, or OK."""
        if not self.catalog.agents:
            return "ERROR: the catalogue is empty. Run: cco agents check"
        return "OK"

    def _apply(self, settings: Settings) -> None:
        catalog = loader.load(loader.BUILTIN, user=self.paths.config)
        override = Path(settings.ledger.prices) if settings.ledger.prices else None
        prices = Prices.load(override)
        keys = credentials.load(
            settings.upstream,
            environ=self.environ,
            uid=self.uid,
            is_system=self.paths.is_system,
        )
        # Before anything is replaced: of a reload that fails nothing may remain.
        teams = Teams(catalog, settings.agents.groups, self.load.of)
        published = publish(
            catalog,
            self.vault,
            version=__version__,
            build=self.build,
            api_url=self.http_url or NO_URL,
            now_ns=time.time_ns(),
            team_of=lambda session: teams.of_session(session).catalog,
            at_start=self.recall.at_start,
            after_compaction=self.recall.after_compaction,
        )
        reuse = self._reuse
        if settings.cache != reuse.settings:  # else what is kept outlives the reload
            reuse = Reuse(settings.cache, monotonic=time.monotonic)
        gateway = Gateway(
            settings.upstream,
            store=self.store,
            prices=prices,
            environ=self.environ,
            keys=keys.keys,
            bindings=self._bindings,
            budgets=self.budgets,
            limits=self.limits,
            reuse=reuse,
        )
        before = self.gateway if hasattr(self, "gateway") else None
        self.settings, self.catalog, self.gateway = settings, catalog, gateway
        self.credentials, self.prices, self._reuse = keys, prices, reuse
        self.budgets.configure(settings.budget, prices)
        if before is not None:
            before.close()
            self._retired = [one for one in (*self._retired, before) if one.running]
        limit, rules = settings.agents.max_concurrent, catalog.rules
        self.slots.configure(min(limit, rules.max_concurrent_agents))
        self.invoker = Invoker(
            settings,
            gateway,
            prices,
            slots=self.slots,
            load=self.load,
            now_ns=time.time_ns,
            sharing=Sharing(self.recall.remembered, self.recall.learned)
            if catalog.rules.knowledge_sharing
            else None,
        )
        self.teams = teams
        self.published = published
        self.mounts.show(
            generation=self.published.generation,
            health=self.health(),
            entries=self.published.entries(),
        )


def _lasting(settings: Settings) -> tuple[object, ...]:
    """Return what a reload cannot change: sockets, mount and database are open."""
    ledger = settings.ledger
    return (
        settings.server,
        settings.vfs.mount,
        (ledger.database, ledger.retention_days, ledger.max_bytes),
    )
