# SPDX-License-Identifier: Apache-2.0
"""The gateway: stands between Claude Code and the model provider and changes nothing."""
