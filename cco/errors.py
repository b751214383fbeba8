# SPDX-License-Identifier: Apache-2.0
"""The errors that CCO raises, and nothing that translates them.

::

    CcoError
    ├── ConfigError          settings, agent definitions or rules that cannot be used
    ├── RequestError         the caller's fault: malformed or impossible input
    │   └── NotFound         names something that is not there
    ├── Denied               the caller may not do this
    ├── BudgetExceeded       a budget of the user's is spent
    ├── UpstreamError        the model provider did not answer as it should
    │   ├── UpstreamRefused  no connection
    │   └── UpstreamTimeout  connected, then silence
    ├── StoreError           the state database or its directory
    ├── SealError            a sealed file that cannot be opened
    ├── Unavailable          daemon, mount, port or device is not to be had
    └── LaunchError          Claude Code cannot be found or started

A new case is a new ``code``, not a new class. Four tables translate them: ``api.errors`` (HTTP
status), ``cli.main`` (exit status), ``vfs.mount`` (errno), ``tui`` (status line).
"""


class CcoError(Exception):
    """Base of all errors that a user may see.

    Args:
        code: stable, kebab-case; documented in the manual.
        message: one sentence without a full stop; never a secret.
        hint: what to do next, or None where there is nothing to do.
    """

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class ConfigError(CcoError):
    """Settings, agent definitions or rules cannot be used."""


class RequestError(CcoError):
    """The caller asked for something malformed or impossible."""


class NotFound(RequestError):
    """The caller named something that is not there."""


class Denied(CcoError):
    """The caller may not do this."""


class BudgetExceeded(CcoError):
    """A budget of the user's is spent."""


class UpstreamError(CcoError):
    """The model provider did not answer as it should."""


class UpstreamRefused(UpstreamError):
    """No connection to the model provider."""


class UpstreamTimeout(UpstreamError):
    """The model provider fell silent."""


class StoreError(CcoError):
    """The state database or its directory cannot be used."""


class SealError(CcoError):
    """A sealed file cannot be opened."""


class Unavailable(CcoError):
    """The daemon, the mount, a port or a device is not to be had."""


class LaunchError(CcoError):
    """Claude Code cannot be found or started."""
