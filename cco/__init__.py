# SPDX-License-Identifier: Apache-2.0
"""CCO: a team of agents, an honest gateway and a ledger for Claude Code on Linux."""

from typing import Final

__version__: Final = "2026.11.22"
