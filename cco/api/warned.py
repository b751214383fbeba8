# SPDX-License-Identifier: Apache-2.0
"""What a user should mend although everything is served."""

from dataclasses import dataclass
from pathlib import Path

from cco import units
from cco.api.services import Services
from cco.ledger.writer import Health


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that a user should mend although everything is served."""

    code: str
    message: str
    hint: str | None = None


def of_daemon(services: Services) -> list[Warned]:
    """Return everything that a user should mend."""
    found = [
        Warned("agent-refused", str(problem), "Correct it and run: cco daemon reload")
        for problem in services.catalog.problems
    ]
    shortfalls = (*services.shortfalls, *services.vault.shortfalls)
    found += [Warned(lack.code, lack.message, lack.hint) for lack in shortfalls]
    found += [
        Warned("no-credential", lack.message, lack.hint) for lack in services.credentials.missing
    ]
    found += of_settings(services)
    found += [
        Warned("budget-spent", state.sentence(), "Raise it in [[budget]], then: cco daemon reload")
        for state in services.spent_budgets()
    ]
    found += of_ledger(services.store.health(), services.database)
    if services.http_url is None:
        edit = units.edit_command(units.SOCKETS[1], is_system=services.paths.is_system)
        found.append(
            Warned(
                "no-http",
                "there is no HTTP listener, so Claude Code cannot be launched",
                f"Free its port or set another one ({edit}), then: cco daemon restart",
            )
        )
    return found


def of_settings(services: Services) -> list[Warned]:
    """Return what of the settings as they are written does not hold."""
    found = []
    if error := services.reload_error:
        message = f"nothing was reloaded: {error.message}"
        hint = f"{error.hint or 'Correct it'}, then: cco daemon reload"
        found.append(Warned("reload-failed", message, hint))
    if services.needs_restart:
        found.append(
            Warned(
                "restart-needed",
                "settings have changed that hold from the next start only"
                " ([server], [vfs] mount or [ledger])",
                "Run: cco daemon restart",
            )
        )
    return found


def of_ledger(health: Health, database: Path) -> list[Warned]:
    """Return what is wrong with the ledger, now or since the daemon began.

    Args:
        health: as the ledger says.
        database: its file.
    """
    found = []
    if reason := health["reason"]:
        found.append(
            Warned(
                "ledger-degraded",
                f"the ledger cannot be written, requests go on without it ({reason})",
                f"Make room on the disk and {database.parent} writable for you",
            )
        )
    if lost := health["lost"]:
        found.append(
            Warned(
                "ledger-lost",
                f"{lost} records did not fit in memory while the ledger could not be written;"
                " statistics and budgets are too low by that",
                "See when it was: cco daemon logs",
            )
        )
    return found
