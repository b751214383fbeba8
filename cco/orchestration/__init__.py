# SPDX-License-Identifier: Apache-2.0
"""Sessions, hooks, attribution and agents that CCO runs itself."""
