# SPDX-License-Identifier: Apache-2.0
"""The team: agent definitions, routing rules and hooks, and what Claude Code is shown of them."""
