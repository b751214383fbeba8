# SPDX-License-Identifier: Apache-2.0
"""The seven views: what each asks the daemon, what it shows, what its lines are in detail."""
