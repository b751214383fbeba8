# SPDX-License-Identifier: Apache-2.0
"""The part of the catalogue that a session sees, and who is chosen from it.

Threading: all methods may be called from any thread.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cco.catalog.catalog import Catalog
from cco.errors import ConfigError
from cco.orchestration.router import Router
from cco.orchestration.sessions import Session

MAX_KEPT: Final = 32
"""Teams kept at once; each has an index of its own once it was asked."""


@dataclass(frozen=True, slots=True)
class Team:
    """Some groups of the catalogue."""

    catalog: Catalog
    router: Router


class Teams:
    """Makes a team of each choice of groups, once.

    Args:
        catalog: everybody there is.
        groups: what a session sees that chooses nothing.
        load: tells how busy the agent of a name is.

    Raises:
        ConfigError: `unknown-group`.
    """

    def __init__(self, catalog: Catalog, groups: Sequence[str], load: Callable[[str], int]) -> None:
        self._catalog = catalog
        self._load = load
        self._lock = threading.Lock()
        self._made: dict[tuple[str, ...], Team] = {}
        self.default = self.of(groups)

    def of(self, groups: Sequence[str]) -> Team:
        """Return the team of some groups.

        Raises:
            ConfigError: `unknown-group`.
        """
        key = tuple(groups)
        with self._lock:
            if key not in self._made:
                chosen = self._catalog.in_groups(key)
                if len(self._made) >= MAX_KEPT:
                    self._made.clear()
                self._made[key] = Team(chosen, Router(chosen, self._load))
            return self._made[key]

    def of_session(self, session: Session | None) -> Team:
        """Return the team of a session, the default one where it chose none.

        So it is also where a reload took a group away that the session had chosen.
        """
        if session is None or not session.groups:
            return self.default
        try:
            return self.of(session.groups)
        except ConfigError:
            return self.default
